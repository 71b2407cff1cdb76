"""Reliability of the scores as probabilities, under a balanced prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["Reliability", "reliability"]


@dataclass(frozen=True)
class Reliability:
    """Observed signal fraction against mean score.

    Attributes
    ----------
    mean_score
        float64 (bins,): weighted mean score of the bin's events; NaN where the weight of the bin
        is not positive.
    signal_fraction
        float64 (bins,): weighted signal fraction; NaN likewise.
    error
        float64 (bins,): its statistical error.
    """

    mean_score: NDArray[np.float64]
    signal_fraction: NDArray[np.float64]
    error: NDArray[np.float64]


def reliability(events: ScoredEvents, bins: int = 15) -> Reliability | None:
    """Signal fraction in bins of equally many events, both classes given the same total weight.

    The prior is balanced because the physical one (signal is a part in thousands) would put
    every probability into the first bin.

    Parameters
    ----------
    events
        Test events.
    bins
        How many bins.

    Returns
    -------
    Reliability or None
        None where a class has no event or no positive total weight.
    """
    weight = events.weight.copy()
    for chosen in (events.is_signal, ~events.is_signal):
        if weight_defect(weight[chosen], "class"):
            return None
        weight[chosen] /= np.sum(weight[chosen])
    order = np.argsort(events.score, kind="stable")
    mean, fraction, error = (np.full(bins, np.nan) for _ in range(3))
    for position, members in enumerate(np.array_split(order, bins)):
        w = weight[members]
        total = np.sum(w)
        if members.size == 0 or total <= 0:
            continue
        signal = events.is_signal[members]
        mean[position] = np.sum(w * events.score[members]) / total
        fraction[position] = np.sum(w[signal]) / total
        # Error propagation of a ratio of two correlated weighted sums.
        error[position] = np.sqrt(np.sum((w * (signal - fraction[position])) ** 2)) / total
    return Reliability(mean, fraction, error)
