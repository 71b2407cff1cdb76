"""The Lightning module round the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn

from particle_transformer.errors import AnalysisFileError, SampleError
from particle_transformer.evaluation import auc
from particle_transformer.model import AnalysisObjectTransformer
from particle_transformer.model.compiled import compiled
from particle_transformer.training.diagnosis import Names, cause
from particle_transformer.training.means import EpochMeans
from particle_transformer.training.ranks import gather_objects
from particle_transformer.training.scores import Scores
from particle_transformer.training.settings import FitSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch
    from particle_transformer.model import EventNetwork
    from particle_transformer.training.batch import Batch

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
    """Train a network with weighted events, in any Lightning ``Trainer``.

    The features' scaling must have been fitted (`particle_transformer.training.standardise`). The
    trainer decides on epochs, gradient clipping, accumulation and callbacks; of the settings the
    loss, the optimiser and its schedule, the seed, the precision and ``compile`` count here.

    Batches are `Batch`. Logs per epoch ``train_loss`` and ``val_loss``, each Σ w ℓ / N over all
    events of the epoch and all ranks, their terms where there are several, ``val_auc``, with
    signed physics weights, and ``learning_rate``, that of the epoch's last step.

    What is random in a step (dropout) depends on the seed, the epoch, the batch and the rank, and
    on nothing before it.

    Attributes
    ----------
    validation
        Scores of the validation events of all ranks, from the end of a validation to that of the
        next; None before the first. Callbacks find them there in ``on_validation_end``.

    Parameters
    ----------
    model
        The network.
    settings
        What is minimised, and how; None: the defaults.
    names
        What features and processes are called in messages.

    Raises
    ------
    AnalysisFileError
        In a training without an end, which the learning rate's schedule needs, or with
        ``learning_rate="auto"``.
    SampleError
        In training or validation, if a batch's loss is NaN or infinite; the message says what of
        the batch or the network caused it.

    Notes
    -----
    With a ``Trainer`` of one's own: docs/training.md, and ``examples/lightning_trainer.py``.
    """

    def __init__(
        self,
        model: EventNetwork,
        settings: FitSettings | None = None,
        names: Names | None = None,
    ) -> None:
        super().__init__()
        settings = settings or FitSettings()
        self.model = model
        self.settings = settings
        self.names = names or Names()
        self._means = {"train": EpochMeans(), "val": EpochMeans()}
        self.validation: Scores | None = None
        self._scored: list[Scores] = []
        regression = settings.objective.regression is not None
        self._network: Callable[[PackedBatch], Any] = (
            model.predict_packed if regression else model.forward_packed
        )
        if settings.compile:
            if not isinstance(model, AnalysisObjectTransformer):
                message = (
                    f"training.compile: {type(model).__name__} has no form for torch.compile; "
                    "expected false"
                )
                raise AnalysisFileError(message)
            self._network = compiled(model, regression=regression)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs) of a packed batch."""
        return self.model.forward_packed(batch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what is random in the step."""
        del batch
        key = [self.settings.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one training batch."""
        loss, _ = self._loss(batch, batch_index, "train")
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        """Loss and scores of one validation batch; callbacks get the columns of its `Scores`."""
        _, logits = self._loss(batch, batch_index, "val")
        self._scored.append(self._scores(batch, logits))
        return self._scored[-1]._asdict()

    def score(self, batch: Batch) -> Scores:
        """Scores of a batch by the network as it is; without gradient."""
        with torch.no_grad():
            logits, _ = self._outputs(batch)
        return self._scores(batch, logits)

    def on_validation_epoch_end(self) -> None:
        """Log the means of the epoch, and the AUC."""
        for stage, means in self._means.items():
            terms = means.finish(self._sum_over_ranks)
            for name, mean in terms.items():
                self.log(f"{stage}_{name}", mean)
        scored = [part for rank in gather_objects(self._scored) for part in rank]
        self._scored = []
        self.validation = Scores.concatenate(scored)
        figure = auc(*self.validation)
        if figure.value is not None:
            self.log("val_auc", figure.value)
        if self.trainer.optimizers:  # not where a trained network is validated alone
            self.log("learning_rate", self._last_rate())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a warm-up and cosine schedule over all steps of the fit."""
        rate = self.settings.learning_rate
        if rate == "auto":
            message = (
                "learning_rate: got auto, expected a number, as 0.001: only fit_network finds one "
                "before it trains"
            )
            raise AnalysisFileError(message)
        decayed, free = decay_groups(self.model)
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.settings.weight_decay},
                {"params": free, "weight_decay": 0.0},
            ],
            lr=rate,
            fused=self.device.type in ("cpu", "cuda"),
        )
        total = self.trainer.estimated_stepping_batches
        if total == math.inf:
            message = (
                "the learning rate's schedule ends with the training, which has no end; give the "
                "Trainer max_epochs or max_steps"
            )
            raise AnalysisFileError(message)
        self.trainer.fit_loop.setup_data()  # where an endless epoch has not asked for it
        parts = self.trainer.accumulate_grad_batches
        warmup = round(self.settings.warmup_epochs * -(-self.trainer.num_training_batches // parts))
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, warmup, int(total))
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the means of the epoch so far."""
        checkpoint["epoch_means"] = self._means["train"].state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the means of the epoch so far."""
        self._means["train"].load_state_dict(checkpoint["epoch_means"], self.device)

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        total: Tensor = self.trainer.strategy.reduce(value, reduce_op="sum")
        return total

    def _last_rate(self) -> float:
        """Learning rate of the last step: the schedule stands at the next one's."""
        schedule = self.trainer.lr_scheduler_configs[0].scheduler
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR), "as configured"
        return float(schedule.base_lrs[0] * schedule.lr_lambdas[0](schedule.last_epoch - 1))

    def _outputs(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits (events, num_outputs) and, where there is regression, (events, targets)."""
        # Not in validation: the epoch is chosen by the numbers that the network will give.
        half = self.training and self.settings.precision == "bfloat16"
        # Here and not in the Trainer: Lightning's mixed precision refuses fused optimisers.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            outputs = self._network(batch.events)
        logits, regressed = outputs, None
        if self.settings.objective.regression is not None:
            logits, regressed = outputs.logits, outputs.scaled_regression
        return logits.float() if half else logits, regressed

    def _scores(self, batch: Batch, logits: Tensor) -> Scores:
        objective = self.settings.objective
        is_signal = objective.is_signal(batch.target, logits.shape[1])
        columns = objective.score(logits.double()), batch.physics_weight.double(), is_signal
        return Scores(*(column.cpu().numpy() for column in columns))

    def _loss(self, batch: Batch, batch_index: int, stage: str) -> tuple[Tensor, Tensor]:
        """The loss of a batch, scalar, and its logits (events, num_outputs)."""
        logits, regressed = self._outputs(batch)
        objective = self.settings.objective
        terms = objective.terms(logits, regressed, batch, self.model.target_scaling)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            which = {"train": "training", "val": "validation"}[stage]
            message = (
                f"the {which} loss is {loss.item()} in epoch {self.current_epoch}, batch "
                f"{batch_index}: {cause(self.model, batch, self.names)}"
            )
            raise SampleError(message)
        logged = {"loss": loss, **(terms if len(terms) > 1 else {})}
        self._means[stage].add(logged, len(batch.events) / batch.share)
        return loss, logits.detach()
