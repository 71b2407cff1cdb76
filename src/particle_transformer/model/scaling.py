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

    from particle_transformer.model.transformer import AnalysisObjectTransformer

__all__ = ["Standardise", "fit_scaling"]


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

    def fit(self, values: NDArray[np.floating], name: str) -> None:
        """Set mean and scale from `values` (rows, features); `name` is for error messages.

        Nothing changes where there is no row.

        Raises
        ------
        ModelInputError
            If `values` has another shape.
        SampleError
            If a value is NaN or infinite.
        """
        features = self.mean.shape[0]
        if values.ndim != 2 or values.shape[1] != features:
            message = f"{name}: got an array {values.shape}, expected (rows, {features})"
            raise ModelInputError(message)
        if len(values) == 0:
            return
        columns = values.astype(np.float64)
        broken = np.flatnonzero(~np.isfinite(columns).all(axis=0))
        if broken.size:
            message = (
                f"{name}: feature {broken[0]} has NaN or infinite values among the training "
                "events; expected finite numbers"
            )
            raise SampleError(message)
        mean, deviation = columns.mean(axis=0), columns.std(axis=0)
        # The deviation of equal numbers is only nearly zero: compare the numbers themselves.
        constant = columns.min(axis=0) == columns.max(axis=0)
        scale = np.where(constant, 1.0, deviation).astype(np.float32)
        scale[scale == 0] = 1.0
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))


def fit_scaling(
    model: AnalysisObjectTransformer,
    objects: Mapping[str, NDArray[np.floating]],
    event: NDArray[np.floating],
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

    Raises
    ------
    ModelInputError
        If a collection is missing or unknown, or an array has another width.
    SampleError
        If a value is NaN or infinite.

    Notes
    -----
    A feature that is constant in the training events gets scale 1.
    """
    check_collections("objects", objects, model.collections)
    for name, scaling in zip(model.collections, model.object_scaling, strict=True):
        assert isinstance(scaling, Standardise)
        scaling.fit(objects[name], f"objects[{name!r}]")
    model.event_scaling.fit(event, "event")
