"""The learning rate by a range test."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Callback, Trainer
from numpy.lib.stride_tricks import sliding_window_view

from particle_transformer.errors import SampleError
from particle_transformer.training.module import EventClassifier

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from numpy.typing import ArrayLike

    from particle_transformer.model import EventNetwork
    from particle_transformer.training.datamodule import EventDataModule
    from particle_transformer.training.settings import FitSettings

__all__ = ["find_learning_rate", "steepest"]

_STEPS = 100
_LOWEST, _HIGHEST = 1e-6, 0.3
_WINDOW = 30
"""Steps on which a line is laid, over which the rate rises by a factor of 40: the loss of a batch
scatters more than it falls in a few steps."""
_RECENT, _DIVERGED = 10, 4.0  # stop when the mean of the last losses is this multiple of the first


def steepest(rates: ArrayLike, losses: ArrayLike) -> float:
    """Give the rate about which the loss falls fastest with the logarithm of the rate.

    Of all straight lines by least squares on thirty steps in succession the one that falls
    steepest is taken, and the rate in its middle.

    Parameters
    ----------
    rates, losses
        (steps,): rates that rise exponentially, and the loss of the step with each.

    Raises
    ------
    SampleError
        If the loss falls nowhere, or there are too few steps.
    """
    x, y = np.log(np.asarray(rates)), np.asarray(losses)
    slope = np.empty(0)
    if len(x) >= _WINDOW:
        windows = sliding_window_view(x, _WINDOW)  # (windows, steps)
        apart = windows - windows.mean(1, keepdims=True)
        changes = sliding_window_view(y - y[0], _WINDOW)  # (windows, steps)
        slope = (apart * changes).sum(1) / (apart**2).sum(1)  # (windows,)
    if not len(slope) or not slope.min() < 0:
        message = (
            f"learning_rate: got auto, but the loss falls nowhere between {_LOWEST:g} and "
            f"{_HIGHEST:g}; give a number, as 0.001"
        )
        raise SampleError(message)
    return float(np.exp(windows[slope.argmin()].mean()))


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
        first, last = np.mean(self.losses[:_RECENT]), np.mean(self.losses[-_RECENT:])
        if last > _DIVERGED * abs(first):
            trainer.should_stop = True


def find_learning_rate(
    model: EventNetwork,
    data: EventDataModule,
    settings: FitSettings,
    **trainer: Any,
) -> float:
    """Find a learning rate by the range test of L. N. Smith (arXiv:1506.01186).

    The rate rises exponentially over a hundred steps of training, from 1e-6 to 0.3, or until the
    loss diverges; the one about which the loss falls fastest is taken (`steepest`). The model is left as it is, and only
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
    return steepest(test.rates, test.losses)
