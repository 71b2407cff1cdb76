"""The learning rate by a range test."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Callback, Trainer

from particle_transformer.errors import SampleError
from particle_transformer.training.module import EventClassifier

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from numpy.typing import ArrayLike, NDArray

    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.datamodule import EventDataModule
    from particle_transformer.training.settings import FitSettings

__all__ = ["find_learning_rate", "smoothed", "steepest"]

_STEPS = 100
_LOWEST, _HIGHEST = 1e-6, 0.3
_MEMORY = 0.9  # of the smoothed loss, per step: it lags by ten steps, half a decade of rates
_SKIPPED = 10  # the smoothed loss is an average of a few steps until then
_DIVERGED = 3.0  # rise above the lowest smoothed loss, in units of the first loss


def smoothed(losses: ArrayLike) -> NDArray[np.float64]:
    """Exponential moving average, float64 (steps,), without a bias to zero (arXiv:1412.6980).

    Parameters
    ----------
    losses
        (steps,).
    """
    mean, averages = 0.0, []
    for step, loss in enumerate(np.asarray(losses, dtype=np.float64), start=1):
        mean = _MEMORY * mean + (1 - _MEMORY) * loss
        averages.append(mean / (1 - _MEMORY**step))
    return np.array(averages)


def steepest(rates: ArrayLike, losses: ArrayLike) -> float:
    """Give the rate at which the loss falls fastest with the logarithm of the rate.

    Parameters
    ----------
    rates, losses
        (steps,): rising rates, and the smoothed loss after a step with each.

    Raises
    ------
    SampleError
        If the loss falls nowhere, or there are too few steps.
    """
    rates, losses = np.asarray(rates)[_SKIPPED:], np.asarray(losses)[_SKIPPED:]
    slope = np.gradient(losses, np.log(rates)) if len(rates) > 1 else np.zeros(0)
    if not len(slope) or not slope.min() < 0:
        message = (
            f"learning_rate: got auto, but the loss falls nowhere between {_LOWEST:g} and "
            f"{_HIGHEST:g}; give a number, as 0.001"
        )
        raise SampleError(message)
    return float(rates[slope.argmin()])


class _RangeTest(Callback):
    """Raise the learning rate from step to step, and keep the loss of each, until it diverges."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the rate of the step, after the schedule has set another one."""
        del pl_module, batch, batch_idx
        step = trainer.global_step
        if step == len(self.rates):  # and not a further part of the same step
            self.rates.append(_LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1)))
            self.losses.append(0.0)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.rates[-1]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add the loss of a part of the step, the mean over the ranks: they stop together."""
        del pl_module, batch, batch_idx
        loss = trainer.strategy.reduce(outputs["loss"], reduce_op="mean")
        self.losses[-1] += float(loss)
        averages = smoothed(self.losses)
        if averages[-1] > averages.min() + _DIVERGED * abs(averages[0]):
            trainer.should_stop = True


def find_learning_rate(
    model: AnalysisObjectTransformer,
    data: EventDataModule,
    settings: FitSettings,
    **trainer: Any,
) -> float:
    """Find a learning rate by the range test of L. N. Smith (arXiv:1506.01186).

    The rate rises exponentially over a hundred steps of training, from 1e-6 to 0.3; the one at
    which the loss falls fastest with its logarithm is taken. The model is left as it is, and only
    training events are read.

    Parameters
    ----------
    model
        The network that is to be trained, its scaling fitted.
    data
        Its batches.
    settings
        Everything but the learning rate.
    **trainer
        Of Lightning's Trainer: devices, strategy.

    Raises
    ------
    SampleError
        If the loss falls nowhere.
    """
    test = _RangeTest()
    probe = Trainer(
        max_epochs=-1,
        max_steps=_STEPS,
        limit_val_batches=0,
        gradient_clip_val=settings.gradient_clip,
        accumulate_grad_batches=settings.accumulate,
        use_distributed_sampler=False,
        callbacks=[test],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **trainer,
    )
    # Compiling takes longer than a hundred steps.
    changed = replace(settings, learning_rate=_LOWEST, compile=False)
    probe.fit(EventClassifier(copy.deepcopy(model), changed), datamodule=data)
    return steepest(test.rates, smoothed(test.losses))
