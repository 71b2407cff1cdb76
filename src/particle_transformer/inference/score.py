"""Score events with the network of their fold, and with no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from particle_transformer.events.packed import PackedBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["score_events", "signal_probability"]

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


def signal_probability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probability of the class signal: float64 (events,), in double precision near 0 and 1.

    One output: the sigmoid of the logit. Several: the softmax of the first class, signal.
    """
    double = logits.astype(np.float64)
    if double.shape[1] == 1:
        log_probability = -np.logaddexp(0, -double[:, 0])
    else:
        log_probability = double[:, 0] - np.logaddexp.reduce(double, axis=1)
    probability: NDArray[np.float64] = np.exp(log_probability)
    return probability
