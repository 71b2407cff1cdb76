"""The one number that is explained: the logit of the score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["signal_logit", "signal_logits"]


def signal_logit(logits: Sequence[Tensor], *, two_scores: bool) -> Tensor:
    """ln[p / (1 − p)] of the score p that several networks have together, differentiable.

    The score is that of `particle_transformer.inference.score`: the mean of the networks'
    probabilities of signal.

    Parameters
    ----------
    logits
        (events, outputs) of each network, at least one.
    two_scores
        Whether two outputs are two scores of signal, not those of two classes.

    Returns
    -------
    Tensor
        (events,).
    """
    members = torch.stack(list(logits))  # (networks, events, outputs)
    if members.shape[2] == 1 or two_scores:
        if len(members) == 1:
            return members[0].sum(1)  # (events,)
        signal = torch.logsumexp(logsigmoid(members), 0)  # (events, outputs)
        background = torch.logsumexp(logsigmoid(-members), 0)  # (events, outputs)
        return (signal - background).sum(1)  # (events,)
    classes = torch.logsumexp(members.log_softmax(2), 0) - math.log(len(members))
    return classes[:, 0] - torch.logsumexp(classes[:, 1:], 1)  # (events,)


def signal_logits(logits: NDArray[np.floating[Any]], *, two_scores: bool) -> NDArray[np.float64]:
    """The same of logits (events, outputs) in numpy; float64 (events,)."""
    double = torch.from_numpy(np.asarray(logits, dtype=np.float64))
    return np.asarray(signal_logit([double], two_scores=two_scores).numpy())
