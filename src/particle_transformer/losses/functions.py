"""Losses with signed event weights: Σ w ℓ / N."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from particle_transformer.errors import ModelInputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["binary_cross_entropy", "classification_loss", "cross_entropy", "regression_loss"]


def _check_weight(weight: Tensor, events: int) -> None:
    if tuple(weight.shape) != (events,):
        message = f"weight: got shape {tuple(weight.shape)}, expected ({events},)"
        raise ModelInputError(message)


def _check(logits: Tensor, target: Tensor, weight: Tensor) -> None:
    events = len(logits)
    if tuple(target.shape) != (events,):
        message = f"target: got shape {tuple(target.shape)}, expected ({events},)"
        raise ModelInputError(message)
    _check_weight(weight, events)
    if target.dtype != torch.int64:
        message = f"target: got dtype {target.dtype}, expected torch.int64 (index of the class)"
        raise ModelInputError(message)


def binary_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted binary cross-entropy of one logit.

    Σᵢ wᵢ ℓᵢ / N with ℓ = ln(1 + exp(−(2t − 1) x)). Divided by the number of events and not by the
    sum of the batch's weights: that sum may vanish or change sign where weights are negative,
    and it would weigh an event by the company it keeps. The weights are normalised beforehand,
    over the whole training set (`training_weights`).

    Parameters
    ----------
    logits
        (events, 1).
    target
        int64 (events,): 1 signal, 0 background.
    weight
        (events,): signed training weights.

    Returns
    -------
    Tensor
        Scalar.

    Raises
    ------
    ModelInputError
        If a shape or dtype is another one; nothing is ever broadcast.
    """
    if logits.ndim != 2 or logits.shape[1] != 1:
        message = f"logits: got shape {tuple(logits.shape)}, expected (events, 1)"
        raise ModelInputError(message)
    _check(logits, target, weight)
    losses = F.binary_cross_entropy_with_logits(
        logits[:, 0], target.to(logits.dtype), reduction="none"
    )  # (events,)
    return (weight.to(logits.dtype) * losses).mean()


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy of several classes: Σᵢ wᵢ (−ln softmax(xᵢ)[tᵢ]) / N.

    Parameters
    ----------
    logits
        (events, classes), at least two classes.
    target
        int64 (events,): index of the class.
    weight
        (events,): signed training weights; see `binary_cross_entropy` for the normalisation.

    Returns
    -------
    Tensor
        Scalar.

    Raises
    ------
    ModelInputError
        If a shape or dtype is another one.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        message = f"logits: got shape {tuple(logits.shape)}, expected (events, 2 or more classes)"
        raise ModelInputError(message)
    _check(logits, target, weight)
    losses = F.cross_entropy(logits, target, reduction="none")  # (events,)
    return (weight.to(logits.dtype) * losses).mean()


def classification_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """`binary_cross_entropy` of one logit, `cross_entropy` of several."""
    if logits.ndim == 2 and logits.shape[1] == 1:
        return binary_cross_entropy(logits, target, weight)
    return cross_entropy(logits, target, weight)


def regression_loss(
    prediction: Tensor, target: Tensor, weight: Tensor, *, delta: float = 1.0
) -> Tensor:
    """Weighted Huber loss of regressed event quantities.

    Σᵢ wᵢ ℓᵢ / N with ℓᵢ = Σₖ h(yᵢₖ − tᵢₖ) / K over the K targets, and

    h(r) = r² / 2 for |r| ≤ δ, δ (|r| − δ / 2) beyond

    (P. J. Huber, Ann. Math. Stat. 35 (1964) 73): a mean for the core and a median for the tails,
    so that a few badly measured events do not decide the fit. Added to a `classification_loss`
    with a factor of the user's choice, both heads are trained at once.

    Parameters
    ----------
    prediction
        (events, targets) in units of the target scaling: `Outputs.scaled_regression`.
    target
        (events, targets) in the same units: ``model.target_scaling(target)``.
    weight
        (events,): signed training weights; see `binary_cross_entropy` for the normalisation.
    delta
        δ, in standard deviations of the target.

    Returns
    -------
    Tensor
        Scalar; float32 at least, whatever autocast made of `prediction`.

    Raises
    ------
    ModelInputError
        If a shape or dtype is another one, `delta` is not positive, or a target is NaN or
        infinite; nothing is ever broadcast.
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
    _check_weight(weight, len(prediction))
    if not delta > 0:
        message = f"delta: got {delta!r}, expected a positive number"
        raise ModelInputError(message)
    finite = torch.isfinite(target)  # (events, targets)
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        message = (
            f"target: got {target[row, column].item()} for event {row}, target {column}, expected "
            "finite numbers"
        )
        raise ModelInputError(message)
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    losses = F.huber_loss(prediction.to(dtype), target.to(dtype), reduction="none", delta=delta)
    return (weight.to(dtype) * losses.mean(1)).mean()
