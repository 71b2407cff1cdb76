"""From the logits of several networks to what the exported graph returns, in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from particle_transformer.events.folds import absorbed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["fold_of", "mean_logits", "of_fold", "probabilities"]


def mean_logits(logits: Sequence[Tensor], *, two_scores: bool) -> Tensor:
    """Logits (events, outputs) of the mean of the probabilities of several networks.

    The same as `particle_transformer.inference.score.mean_logits`.
    """
    if len(logits) == 1:
        return logits[0]
    members = torch.stack(list(logits))  # (networks, events, outputs)
    if members.shape[2] == 1 or two_scores:
        return _log_sum(-_softplus(-members)) - _log_sum(-_softplus(members))
    top = members.amax(2, keepdim=True)
    members = members - top - torch.log(torch.exp(members - top).sum(2, keepdim=True))
    return _log_sum(members) - torch.log(torch.full((), float(len(logits)), dtype=members.dtype))


def _log_sum(x: Tensor) -> Tensor:
    """Logarithm of Σ exp over the networks."""
    top = x.amax(0)
    return top + torch.log(torch.exp(x - top).sum(0))


def _softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ)."""
    return torch.where(x > 0, x, torch.zeros_like(x)) + torch.log(1 + torch.exp(-torch.abs(x)))


def probabilities(logits: Tensor, *, two_scores: bool) -> Tensor:
    """Probability of each class, signal first: (events, classes)."""
    if two_scores:
        logits = logits.sum(1, keepdim=True)
    if logits.shape[1] == 1:
        return torch.cat([torch.sigmoid(logits), torch.sigmoid(-logits)], 1)
    return torch.softmax(logits, 1)


def fold_of(identity: Sequence[Tensor], folds: int) -> Tensor:
    """Fold of each event, as `particle_transformer.events.folds.fold_of`; int64 (events,).

    Parameters
    ----------
    identity
        int64 (events,) each: its parts.
    folds
        How many there are.
    """
    state = torch.zeros_like(identity[0])
    for part in identity:
        state = absorbed(state, part)
    return torch.remainder(state, folds)


def of_fold(values: Sequence[Tensor], fold: Tensor) -> Tensor:
    """Of each event the row (columns,) of its own fold, from (events, columns) of every fold."""
    every = torch.stack(list(values), 1)  # (events, folds, columns)
    chosen = fold[:, None, None].expand(-1, 1, every.shape[2])
    return every.gather(1, chosen)[:, 0]
