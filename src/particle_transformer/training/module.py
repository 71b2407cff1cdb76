"""The Lightning module round the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import nn

from particle_transformer.errors import SampleError
from particle_transformer.losses.functions import classification_loss

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch
    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.datamodule import Batch
    from particle_transformer.training.settings import FitSettings

__all__ = ["EventClassifier", "decay_groups", "learning_rate_factor"]


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split parameters into those with and those without weight decay.

    Matrices of linear layers decay. Biases, norms, LayerScale, the class token and the
    collection embeddings do not: zero is no natural value for them.

    Returns
    -------
    decayed, free : lists of parameters
        Disjoint, together all parameters.
    """
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    decayed = [parameter for parameter in model.parameters() if id(parameter) in matrices]
    free = [parameter for parameter in model.parameters() if id(parameter) not in matrices]
    return decayed, free


def learning_rate_factor(step: int, warmup_steps: int, total_steps: int) -> float:
    """Learning rate of a step in units of the highest one.

    Rises linearly over the warm-up, then falls to zero as half a cosine (arXiv:1608.03983).
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class EventClassifier(LightningModule):
    """Train an AnalysisObjectTransformer with a weighted cross-entropy.

    Batches are ``(PackedBatch, target int64 (events,), weight float32 (events,))``. Logs
    ``train_loss`` and ``val_loss`` per epoch, each Σ w ℓ / N over all events of the epoch.

    Parameters
    ----------
    model
        The network.
    settings
        Learning rate, weight decay, warm-up.

    Raises
    ------
    SampleError
        In training or validation, if a batch's loss is NaN or infinite.
    """

    def __init__(self, model: AnalysisObjectTransformer, settings: FitSettings) -> None:
        super().__init__()
        self.model = model
        self.settings = settings

    def forward(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs) of a packed batch."""
        return self.model.forward_packed(batch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one training batch."""
        return self._loss(batch, batch_index, "train")

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one validation batch."""
        return self._loss(batch, batch_index, "val")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a warm-up and cosine schedule over all steps of the fit."""
        decayed, free = decay_groups(self.model)
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.settings.weight_decay},
                {"params": free, "weight_decay": 0.0},
            ],
            lr=self.settings.learning_rate,
            fused=self.device.type in ("cpu", "cuda"),
        )
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(self.settings.warmup_epochs * total / self.settings.epochs)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, warmup, total)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _loss(self, batch: Batch, batch_index: int, stage: str) -> Tensor:
        packed, target, weight = batch
        half = self.settings.precision == "bfloat16"
        # Here and not in the Trainer: Lightning's mixed precision refuses fused optimisers.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            logits = self.model.forward_packed(packed)
        loss = classification_loss(logits.float() if half else logits, target, weight)
        if not torch.isfinite(loss):
            message = (
                f"the {stage} loss is {loss.item()} in epoch {self.current_epoch}, batch "
                f"{batch_index}; look for extreme feature values or lower the learning rate"
            )
            raise SampleError(message)
        options: dict[str, Any] = {
            "on_step": False, "on_epoch": True, "batch_size": len(packed), "sync_dist": True
        }  # fmt: skip
        self.log(f"{stage}_loss", loss, **options)
        return loss
