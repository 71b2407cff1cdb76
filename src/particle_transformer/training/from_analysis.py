"""How networks are trained, as an analysis file and the training events say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.config import feature_symmetries
from particle_transformer.errors import SampleError
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.losses.class_prior import class_offsets
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.losses.decorrelation import DisCo, DoubleDisCo
from particle_transformer.losses.focal import Focal
from particle_transformer.losses.regression import Regression
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.objective import Auxiliary, Decorrelation, Objective
from particle_transformer.training.settings import FitSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.training.sample import Sample
    from particle_transformer.training.task import NetworkTask

__all__ = ["conditioning_of", "fit_settings", "objective_of", "offsets_of"]


def objective_of(analysis: Analysis) -> Objective:
    """What the networks of an analysis minimise."""
    settings = analysis.training
    spectators = list(analysis.event.spectators)

    def columns(names: Sequence[str]) -> tuple[int, ...]:
        return tuple(spectators.index(name) for name in names)

    classification: CrossEntropy | Focal | DoubleDisCo = CrossEntropy()
    if settings.double_disco is not None:
        classification = DoubleDisCo(settings.double_disco.strength)
    elif settings.loss.gamma is not None:
        classification = Focal(settings.loss.gamma)
    decorrelation = auxiliary = None
    if (disco := settings.disco) is not None:
        decorrelation = Decorrelation(DisCo(disco.strength), columns(disco.against), disco.classes)
    if (regression := settings.regression) is not None:
        auxiliary = Auxiliary(
            Regression(regression.delta), columns(regression.targets), regression.strength
        )
    return Objective(classification, decorrelation, auxiliary)


def conditioning_of(analysis: Analysis, training: Sample) -> Conditioning | None:
    """The parameters that the network is told; background's are drawn as `training` has them.

    Raises
    ------
    SampleError
        If the signal of some hypothesis has no positive weight.
    """
    names = analysis.training.condition
    if not names:
        return None
    point_of = [
        tuple(process.parameters[name] for name in names) if process.parameters else None
        for process in analysis.processes.values()
    ]
    points = sorted({point for point in point_of if point is not None})
    sums = np.zeros(len(points))
    for point, total in zip(point_of, training.weights.sums, strict=True):
        if point is not None:
            sums[points.index(point)] += total
    for point, total in zip(points, sums, strict=True):
        if total <= 0:
            shown = ", ".join(
                f"{name} = {value:g}" for name, value in zip(names, point, strict=True)
            )
            message = (
                f"the signal with {shown} has total training weight {total:g}, expected a positive "
                "one; add events, or use negative_weights: abs"
            )
            raise SampleError(message)
    return Conditioning(
        tuple(names),
        tuple(points),
        tuple((sums / sums.sum()).tolist()),
        tuple(-1 if point is None else points.index(point) for point in point_of),
    )


def offsets_of(analysis: Analysis, training: Sample) -> tuple[float, ...]:
    """Offsets of the logits of three or more balanced classes in the loss; else none."""
    if len(analysis.classes) < 3 or analysis.training.balance == "none":
        return ()
    return tuple(class_offsets(training.weights, training.target).tolist())


def fit_settings(analysis: Analysis, task: NetworkTask, training: Sample) -> FitSettings:
    """How a network of an analysis is trained with some events."""
    settings = analysis.training
    symmetries = feature_symmetries(analysis)
    return FitSettings(
        **{
            name: getattr(settings, name)
            for name in (
                "epochs", "batch_size", "learning_rate", "weight_decay", "warmup_epochs",
                "patience", "gradient_clip", "sampling", "precision", "ema", "accumulate",
                "compile", "checkpoint_minutes",
            )
        },
        seed=task.seed(settings.seed),
        augmentation=Augmentation(settings.augmentation, symmetries.objects, symmetries.event),
        conditioning=conditioning_of(analysis, training),
        objective=replace(objective_of(analysis), offsets=offsets_of(analysis, training)),
    )  # fmt: skip
