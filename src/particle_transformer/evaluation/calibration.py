"""Reliability of the scores as probabilities, under a balanced prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation.figure import Figure
from particle_transformer.evaluation.roc import weight_defect
from particle_transformer.evaluation.temperature import (
    calibration_error,
    fold_temperatures,
    with_temperatures,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["Reliability", "evaluate_calibration", "reliability"]


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


def evaluate_calibration(
    test: ScoredEvents,
    validation: ScoredEvents,
    *,
    folds: int,
    bootstrap: int = 200,
    seed: int = 1,
) -> dict[str, Any]:
    """Calibration error of the scores as they are and as scaled by temperatures, ready for JSON.

    Parameters
    ----------
    test
        Test events of all folds.
    validation
        Validation events of each network, from which its temperature comes.
    folds
        How many networks there are.
    bootstrap, seed
        As in `evaluate`.

    Returns
    -------
    dict
        ``temperatures`` by fold (None where undefined), ``before`` and ``after``: figures, with
        the ``noise`` that perfect scores would show (`CalibrationError`).
    """
    temperatures, reason = fold_temperatures(validation, folds)

    def error(events: ScoredEvents) -> dict[str, Any]:
        found = calibration_error(events, replicas=bootstrap, seed=seed)
        return found.figure.to_json() | {"noise": found.noise}

    before = error(test)
    if reason is None:
        after = error(with_temperatures(test, temperatures))
    else:
        effective = before["effective_events"]
        undefined = Figure(None, effective_events=effective, reason=reason)
        after = undefined.to_json() | {"noise": None}
    return {
        "temperatures": {str(fold): temperatures.get(fold) for fold in range(folds)},
        "before": before,
        "after": after,
    }
