"""Focal loss: cross-entropy that looks away from what is classified well already."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from particle_transformer.errors import ModelInputError
from particle_transformer.losses.checks import check_classification
from particle_transformer.losses.cross_entropy import event_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Focal"]


@dataclass(frozen=True)
class Focal:
    """Weighted focal loss Σᵢ wᵢ ℓᵢ / N with ℓ = (1 − p)^γ (−ln p).

    p is the probability that the network gives the true class of the event, signal or background
    (T.-Y. Lin et al., arXiv:1708.02002, eq. 4). The paper's factor α, which balances the classes,
    is left to the training weights. γ = 0 is the cross-entropy.

    Parameters
    ----------
    gamma
        γ: how little an event counts that is classified well. Not negative.

    Raises
    ------
    ModelInputError
        If `gamma` is negative, NaN or infinite.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not (self.gamma >= 0 and math.isfinite(self.gamma)):
            message = f"gamma: got {self.gamma!r}, expected a number >= 0"
            raise ModelInputError(message)

    def __call__(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss of a batch; arguments, result and errors as in `CrossEntropy`."""
        check_classification(logits, target, weight)
        # 1 − p as exp(ln(1 − p)): a power of 1 − p has no finite gradient at p = 1 for γ < 1.
        factor = (self.gamma * F.logsigmoid(-_log_odds(logits, target))).exp()  # (events,)
        losses = factor * event_cross_entropy(logits, target)  # (events,)
        return (weight.to(logits.dtype) * losses).mean()


def _log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """ln(p / (1 − p)) of the true class, (events,)."""
    if logits.shape[1] == 1:
        return logits[:, 0] * (2 * target - 1)
    true = F.one_hot(target, logits.shape[1]).bool()  # (events, classes)
    others = logits.masked_fill(true, -torch.inf).logsumexp(1)  # (events,)
    return logits[true] - others
