"""Score events with the network of their fold, and with no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from particle_transformer.events.packed import PackedBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["mean_logits", "score_events", "signal_probability"]

BATCH_EVENTS = 4096


def score_events(
    model: AnalysisObjectTransformer,
    events: Events,
    *,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Logits of events, in their order.

    Parameters
    ----------
    model
        The network; it is put into evaluation mode.
    events
        The events.
    progress
        Called with the number of events scored since the last call.

    Returns
    -------
    float32 (events, outputs)
    """
    model.eval()
    logits = []
    with torch.inference_mode():
        for start in range(0, len(events), BATCH_EVENTS):
            index = np.arange(start, min(start + BATCH_EVENTS, len(events)))
            batch = PackedBatch.from_events(events.take(index))
            logits.append(model.forward_packed(batch).float().numpy())
            if progress is not None:
                progress(len(index))
    if not logits:
        return np.empty((0, int(model.arguments["num_outputs"])), dtype=np.float32)
    return np.concatenate(logits)


def mean_logits(
    logits: Sequence[NDArray[np.floating]], *, two_scores: bool = False
) -> NDArray[np.float64]:
    """Logits of the mean of the probabilities of several networks (arXiv:1612.01474).

    Parameters
    ----------
    logits
        (events, outputs) of each network, at least one.
    two_scores
        Whether two outputs are two scores of signal, not those of two classes.

    Returns
    -------
    float64 (events, outputs)
        Of several classes the logarithms of the probabilities.
    """
    members = np.stack(logits).astype(np.float64)  # (networks, events, outputs)
    if len(members) == 1:
        return np.asarray(members[0])
    if members.shape[2] == 1 or two_scores:
        signal = np.logaddexp.reduce(-np.logaddexp(0, -members), axis=0)
        background = np.logaddexp.reduce(-np.logaddexp(0, members), axis=0)
        return np.asarray(signal - background)
    members -= np.logaddexp.reduce(members, axis=2, keepdims=True)
    return np.asarray(np.logaddexp.reduce(members, axis=0) - np.log(len(members)))


def signal_probability(
    logits: NDArray[np.floating], *, two_scores: bool = False
) -> NDArray[np.float64]:
    """Probability of the class signal: float64 (events,), in double precision near 0 and 1.

    One output: the sigmoid of the logit. Several: the softmax of the first class, signal. Two
    scores: the sigmoid of the sum of their logits, as in
    `particle_transformer.training.objective.Objective.score`.
    """
    double = logits.astype(np.float64)
    if two_scores:
        double = double.sum(axis=1, keepdims=True)
    if double.shape[1] == 1:
        log_probability = -np.logaddexp(0, -double[:, 0])
    else:
        log_probability = double[:, 0] - np.logaddexp.reduce(double, axis=1)
    probability: NDArray[np.float64] = np.exp(log_probability)
    return probability
