"""ROC curve and AUC with signed weights.

The AUC is the pairwise one: with the weights w of signal events i and background events j

    AUC = Σ_i Σ_j w_i w_j ([s_i > s_j] + ½ [s_i = s_j]) / (Σ_i w_i Σ_j w_j),

the weighted Mann-Whitney statistic. It is exact with ties and needs no monotone curve, so that
negative weights (of NLO generators) need no special treatment: a single AUC may then even lie
outside [0, 1], which says that the sample is too small, and is reported as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation.figure import Figure, effective_events

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ranking", "RocCurve", "auc", "auc_unweighted", "roc_curve", "weight_defect"]


def weight_defect(weight: NDArray[np.float64], name: str) -> str | None:
    """Why no efficiency of these events is defined, or None where it is.

    Parameters
    ----------
    weight
        float64 (events,): signed weights of one class.
    name
        What to call the class.
    """
    if weight.size == 0:
        return f"no {name} event"
    total = float(np.sum(weight))
    if total <= 0:
        return f"the total weight of the {name} events is {total:.4g}, not positive"
    return None


class Ranking:
    """Events ranked by score once, for AUCs with many sets of weights in O(events) each.

    Parameters
    ----------
    score
        float64 (events,).
    is_signal
        bool (events,).
    """

    def __init__(self, score: NDArray[np.float64], is_signal: NDArray[np.bool_]) -> None:
        order = np.argsort(score, kind="stable")
        ranked = score[order]
        signal = is_signal[order]
        self.signal: NDArray[np.intp] = order[signal]
        """int (signal events,): positions of the signal events, by rising score."""
        self.background: NDArray[np.intp] = order[~signal]
        """int (background events,): positions of the background events, by rising score."""
        # Signal events scored strictly below, and below or equal: how a tie gets its half.
        self._below = np.searchsorted(ranked[signal], ranked[~signal], side="left")
        self._below_or_equal = np.searchsorted(ranked[signal], ranked[~signal], side="right")

    def signal_above(self, weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Signal weight ranked above each background event, half of it where the scores tie.

        Parameters
        ----------
        weight
            float64 (events,): in the order of the events, not of the ranking.

        Returns
        -------
        above : float64 (background events,)
            In the order of `background`.
        total : float
            The whole signal weight.
        """
        cumulative = np.concatenate([[0.0], np.cumsum(weight[self.signal])])
        below = 0.5 * (cumulative[self._below] + cumulative[self._below_or_equal])
        return cumulative[-1] - below, float(cumulative[-1])

    def auc(self, weight: NDArray[np.float64]) -> float:
        """AUC with these weights (in the order of the events); NaN where undefined."""
        above, signal = self.signal_above(weight)
        background_weight = weight[self.background]
        background = float(np.sum(background_weight))
        if signal <= 0 or background <= 0:
            return float("nan")
        return float(background_weight @ above) / (signal * background)


def auc(
    score: NDArray[np.float64], weight: NDArray[np.float64], is_signal: NDArray[np.bool_]
) -> Figure:
    """AUC of signal against background with signed weights, in O(n log n).

    Parameters
    ----------
    score, weight
        float64 (events,).
    is_signal
        bool (events,).

    Returns
    -------
    Figure
        Without error; `effective_events` is that of the class that has fewer. Undefined if a
        class has no event or no positive total weight.

    Examples
    --------
    By hand: pairs in the right order weigh 1·3 + 1·(−1) and 1·(−1), all pairs 2·2.

    >>> import numpy as np
    >>> from particle_transformer.evaluation import auc
    >>> score, weight = np.array([0.9, 0.5, 0.7, 0.3]), np.array([1.0, 1.0, 3.0, -1.0])
    >>> auc(score, weight, np.array([True, True, False, False])).value
    0.25
    """
    classes = {"signal": weight[is_signal], "background": weight[~is_signal]}
    effective = min(effective_events(part) for part in classes.values())
    for name, part in classes.items():
        defect = weight_defect(part, name)
        if defect:
            return Figure(None, effective_events=effective, reason=defect)
    return Figure(Ranking(score, is_signal).auc(weight), effective_events=effective)


def auc_unweighted(score: NDArray[np.float64], is_signal: NDArray[np.bool_]) -> Figure:
    """AUC in which every event counts one: how well the network ranks the events themselves."""
    return auc(score, np.ones(len(score)), is_signal)


@dataclass(frozen=True)
class RocCurve:
    """Efficiencies of the cuts ``score >= threshold``, from the tightest to the loosest.

    Attributes
    ----------
    threshold
        float64 (points,): falling; +inf first, then each distinct score.
    signal_efficiency, background_efficiency
        float64 (points,): from 0 to 1; with negative weights not always monotone.
    """

    threshold: NDArray[np.float64]
    signal_efficiency: NDArray[np.float64]
    background_efficiency: NDArray[np.float64]

    def background_at(self, signal_efficiency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Background efficiency of the tightest cut that reaches each signal efficiency.

        Parameters
        ----------
        signal_efficiency
            float64 (targets,): in [0, 1].

        Returns
        -------
        float64 (targets,)
        """
        reached = np.maximum.accumulate(self.signal_efficiency)
        position = np.searchsorted(reached, signal_efficiency, side="left")
        return self.background_efficiency[np.minimum(position, len(reached) - 1)]


def roc_curve(
    score: NDArray[np.float64], weight: NDArray[np.float64], is_signal: NDArray[np.bool_]
) -> RocCurve | None:
    """ROC curve with signed weights.

    Parameters
    ----------
    score, weight
        float64 (events,).
    is_signal
        bool (events,).

    Returns
    -------
    RocCurve or None
        None where a class has no event or no positive total weight (see `auc` for the reason).
    """
    if weight_defect(weight[is_signal], "signal") or weight_defect(weight[~is_signal], "other"):
        return None
    order = np.argsort(score, kind="stable")[::-1]
    falling = score[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    efficiencies = []
    for chosen in (is_signal, ~is_signal):
        passed = np.cumsum(np.where(chosen, weight, 0.0)[order])
        efficiencies.append(np.concatenate([[0.0], passed[last] / passed[-1]]))
    threshold = np.concatenate([[np.inf], falling[last]])
    return RocCurve(threshold, efficiencies[0], efficiencies[1])
