"""Weighted cross-entropy of two or more classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional as F

from particle_transformer.losses.checks import check_classification

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CrossEntropy", "event_cross_entropy"]


def event_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy −ln p of each event, with p the probability of its true class.

    Parameters
    ----------
    logits
        (events, outputs).
    target
        int64 (events,): as in `CrossEntropy`.

    Returns
    -------
    Tensor
        (events,), unweighted.
    """
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(
            logits[:, 0], target.to(logits.dtype), reduction="none"
        )
    return F.cross_entropy(logits, target, reduction="none")


@dataclass(frozen=True)
class CrossEntropy:
    """Weighted cross-entropy Σᵢ wᵢ ℓᵢ / N.

    With one logit x and t = 1 for signal the binary one, ℓ = ln(1 + exp(−(2t − 1) x)); with
    several ℓ = −ln softmax(x)[t].

    Divided by the number of events and not by the sum of the batch's weights: that sum may vanish
    or change sign where weights are negative, and it would weigh an event by the company it keeps.
    The weights are normalised beforehand, over the whole training set (`TrainingWeights`).

    Examples
    --------
    >>> import torch
    >>> from particle_transformer.losses.cross_entropy import CrossEntropy
    >>> loss = CrossEntropy()(torch.zeros(4, 1), torch.tensor([0, 1, 0, 1]), torch.ones(4))
    >>> round(loss.item(), 4)  # ln 2
    0.6931
    """

    def __call__(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss of a batch.

        Parameters
        ----------
        logits
            (events, outputs).
        target
            int64 (events,): with one output 1 signal, 0 background; else the index of the class.
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
        check_classification(logits, target, weight)
        return (weight.to(logits.dtype) * event_cross_entropy(logits, target)).mean()
