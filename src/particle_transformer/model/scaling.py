"""Standardisation that lives inside the model, so that it travels with the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from particle_transformer.errors import ModelInputError, SampleError
from particle_transformer.model.checks import check_collections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from particle_transformer.model.event_network import EventNetwork

__all__ = ["ScalingFit", "Standardise", "fit_scaling"]


class Standardise(nn.Module):
    """(x − mean) / scale for each feature; the identity until fitted.

    Parameters
    ----------
    features
        Number of features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))  # (features,)
        self.register_buffer("scale", torch.ones(features))  # (features,)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `x` (rows, features)."""
        return (x - self.mean) / self.scale

    def inverse(self, standardised: Tensor) -> Tensor:
        """Physical units (rows, features) of `standardised` (rows, features)."""
        return standardised * self.scale + self.mean


class _Moments:
    """Count, mean, sum of squared deviations and extremes of each column, batch by batch.

    Batches are merged as in Chan, Golub and LeVeque, Am. Stat. 37 (1983) 242, equation 1.5: no
    difference of large sums is taken. `column` is what error messages call one.
    """

    def __init__(self, features: int, column: str = "feature") -> None:
        self.column = column
        self.count = 0
        self.mean = np.zeros(features)
        self.squares = np.zeros(features)
        self.low = np.full(features, np.inf)
        self.high = np.full(features, -np.inf)

    def add(self, values: NDArray[np.floating], name: str) -> None:
        """Take `values` (rows, features); `name` is for error messages."""
        features = len(self.mean)
        if values.ndim != 2 or values.shape[1] != features:
            message = f"{name}: got an array {values.shape}, expected (rows, {features})"
            raise ModelInputError(message)
        rows = len(values)
        if rows == 0:
            return
        columns = values.astype(np.float64)
        broken = np.flatnonzero(~np.isfinite(columns).all(axis=0))
        if broken.size:
            message = (
                f"{name}: {self.column} {broken[0]} has NaN or infinite values among the training "
                "events; expected finite numbers"
            )
            raise SampleError(message)
        mean = columns.mean(axis=0)
        squares = np.square(columns - mean).sum(axis=0)
        shift = mean - self.mean
        total = self.count + rows
        self.squares += squares + shift**2 * (self.count * rows / total)
        self.mean += shift * (rows / total)
        self.count = total
        np.minimum(self.low, columns.min(axis=0), out=self.low)
        np.maximum(self.high, columns.max(axis=0), out=self.high)

    def set(self, scaling: Standardise) -> None:
        """Set mean and deviation; nothing changes where there was no row."""
        if self.count == 0:
            return
        # The deviation of equal numbers is only nearly zero: compare the numbers themselves.
        constant = self.low == self.high
        deviation = np.sqrt(self.squares / self.count)
        scale = np.where(constant, 1.0, deviation).astype(np.float32)
        scale[scale == 0] = 1.0
        scaling.mean.copy_(torch.from_numpy(self.mean))
        scaling.scale.copy_(torch.from_numpy(scale))


class ScalingFit:
    """The standardisation of a model from training events that come piece by piece.

    A feature that is constant in the training events gets scale 1. How the events are cut
    changes the result by rounding in float64 only.

    Parameters
    ----------
    model
        Its buffers are overwritten by `finish`.
    """

    def __init__(self, model: EventNetwork) -> None:
        self._model = model
        scalings = zip(model.collections, model.object_scaling, strict=True)
        self._objects = {name: _Moments(len(_standardise(part).mean)) for name, part in scalings}
        self._event = _Moments(len(model.event_scaling.mean))
        targets = model.target_scaling
        self._targets = None if targets is None else _Moments(len(targets.mean), "target")

    def add(
        self,
        objects: Mapping[str, NDArray[np.floating]],
        event: NDArray[np.floating],
        targets: NDArray[np.floating] | None = None,
    ) -> None:
        """Take some events.

        Parameters
        ----------
        objects
            (objects, features) by collection: real objects only, of training events only.
        event
            (events, event features).
        targets
            (events, regression targets) in their own units, for a model that has some; None
            leaves the target scaling as these events find it.

        Raises
        ------
        ModelInputError
            If a collection is missing or unknown, an array has another width, or there are
            targets and the model has none.
        SampleError
            If a value is NaN or infinite.
        """
        check_collections("objects", objects, self._model.collections)
        if targets is not None:
            self._add_targets(targets, events=len(event))
        for name, moments in self._objects.items():
            moments.add(objects[name], f"objects[{name!r}]")
        self._event.add(event, "event")

    def _add_targets(self, targets: NDArray[np.floating], events: int) -> None:
        if self._targets is None:
            message = (
                f"targets: got an array {targets.shape}, expected None, because the model was "
                "built with regression_targets=0"
            )
            raise ModelInputError(message)
        if targets.shape[:1] != (events,):
            message = (
                f"targets: got an array {targets.shape}, expected a row for each of {events} events"
            )
            raise ModelInputError(message)
        self._targets.add(targets, "targets")

    def finish(self) -> None:
        """Set the model's standardisation.

        A collection without any object, and targets of which none came, keep what they have.
        """
        for moments, scaling in zip(
            self._objects.values(), self._model.object_scaling, strict=True
        ):
            moments.set(_standardise(scaling))
        self._event.set(self._model.event_scaling)
        if self._targets is not None and self._model.target_scaling is not None:
            self._targets.set(self._model.target_scaling)


def fit_scaling(
    model: EventNetwork,
    objects: Mapping[str, NDArray[np.floating]],
    event: NDArray[np.floating],
    targets: NDArray[np.floating] | None = None,
) -> None:
    """Set the model's standardisation from training events, in float64.

    Parameters
    ----------
    model
        Its buffers are overwritten.
    objects
        (objects, features) by collection: real objects only, of training events only. A
        collection without any object keeps the scaling it has.
    event
        (events, event features).
    targets
        (events, regression targets) in their own units, for a model that has some; None leaves
        the target scaling alone.

    Raises
    ------
    ModelInputError
        If a collection is missing or unknown, an array has another width, or there are targets
        and the model has none.
    SampleError
        If a value is NaN or infinite.

    Notes
    -----
    `ScalingFit` takes events that do not fit into memory.
    """
    fit = ScalingFit(model)
    fit.add(objects, event, targets)
    fit.finish()


def _standardise(module: nn.Module) -> Standardise:
    assert isinstance(module, Standardise)
    return module
