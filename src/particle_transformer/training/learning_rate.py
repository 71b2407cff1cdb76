"""The learning rate by a range test."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.tuner.tuning import Tuner

from particle_transformer.errors import SampleError
from particle_transformer.training.module import EventClassifier

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.datamodule import EventDataModule
    from particle_transformer.training.settings import FitSettings

__all__ = ["find_learning_rate", "steepest"]

_STEPS = 100
_LOWEST, _HIGHEST = 1e-6, 0.3
_SKIPPED = 10  # the smoothed loss has forgotten its start by then


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
    probe = EventClassifier(copy.deepcopy(model), replace(settings, learning_rate=_LOWEST))
    with tempfile.TemporaryDirectory() as folder:
        tuner = Tuner(
            Trainer(
                max_epochs=-1,
                default_root_dir=folder,
                gradient_clip_val=settings.gradient_clip,
                accumulate_grad_batches=settings.accumulate,
                use_distributed_sampler=False,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                **trainer,
            )
        )
        finder = tuner.lr_find(
            probe, datamodule=data, min_lr=_LOWEST, max_lr=_HIGHEST, num_training=_STEPS
        )
    assert finder is not None, "only a fast_dev_run finds none"
    return steepest(finder.results["lr"], finder.results["loss"])
