"""Weighted loss of regressed event quantities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from particle_transformer.errors import ModelInputError
from particle_transformer.losses.checks import check_column

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Regression"]


@dataclass(frozen=True)
class Regression:
    """Weighted Huber loss Σᵢ wᵢ ℓᵢ / N with ℓᵢ = Σₖ h(yᵢₖ − tᵢₖ) / K over the K targets.

    h(r) = r² / 2 for |r| ≤ δ, δ (|r| − δ / 2) beyond

    (P. J. Huber, Ann. Math. Stat. 35 (1964) 73): a mean for the core and a median for the tails,
    so that a few badly measured events do not decide the fit. Added to a classification loss
    with a factor of the user's choice, both heads are trained at once. See `CrossEntropy` for the
    division by N.

    Parameters
    ----------
    delta
        δ, in standard deviations of the target.

    Raises
    ------
    ModelInputError
        If `delta` is not positive.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            message = f"delta: got {self.delta!r}, expected a positive number"
            raise ModelInputError(message)

    def __call__(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss of a batch.

        Parameters
        ----------
        prediction
            (events, targets) in units of the target scaling: `Outputs.scaled_regression`.
        target
            (events, targets) in the same units: ``model.target_scaling(target)``.
        weight
            (events,): signed training weights.

        Returns
        -------
        Tensor
            Scalar; float32 at least, whatever autocast made of `prediction`.

        Raises
        ------
        ModelInputError
            If a shape or dtype is another one, or a target is NaN or infinite; nothing is ever
            broadcast.
        """
        if prediction.ndim != 2:
            message = f"prediction: got shape {tuple(prediction.shape)}, expected (events, targets)"
            raise ModelInputError(message)
        if target.shape != prediction.shape:
            message = f"target: got shape {tuple(target.shape)}, expected {tuple(prediction.shape)}"
            raise ModelInputError(message)
        if not target.is_floating_point():
            message = f"target: got dtype {target.dtype}, expected a floating-point one"
            raise ModelInputError(message)
        check_column("weight", weight, len(prediction))
        finite = torch.isfinite(target)  # (events, targets)
        if not finite.all():
            row, column = (~finite).nonzero()[0].tolist()
            message = (
                f"target: got {target[row, column].item()} for event {row}, target {column}, "
                "expected finite numbers"
            )
            raise ModelInputError(message)
        dtype = torch.promote_types(prediction.dtype, torch.float32)
        losses = F.huber_loss(
            prediction.to(dtype), target.to(dtype), reduction="none", delta=self.delta
        )  # (events, targets)
        return (weight.to(dtype) * losses.mean(1)).mean()
