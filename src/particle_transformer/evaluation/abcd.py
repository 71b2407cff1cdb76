"""The ABCD method with two scores: how well it predicts the background where the signal is.

Cuts f ≥ a and g ≥ b on two scores make four regions: A passes both, B the first only, C the second
only, D neither. Where f and g are independent in background, its expected events are

    N_A = N_B N_C / N_D

(G. Kasieczka, B. Nachman, M. Schwartz, D. Shih, arXiv:2007.14400, section 2). The simulated
background says whether they are: the *closure* is the observed over the predicted N_A.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.distance_correlation import distance_correlation_squared
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.rejection import fold_thresholds
from particle_transformer.evaluation.roc import auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["abcd_regions", "closure", "evaluate_abcd", "predicted_yield"]

EFFICIENCIES = (0.1, 0.3)
"""Background efficiencies of the cuts on each score."""

REGIONS = "ABCD"


def abcd_regions(passes: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Which events are in A, B, C and D: bool (events,) each, for `passes` bool (events, 2)."""
    first, second = passes.T
    return {
        "A": first & second,
        "B": first & ~second,
        "C": ~first & second,
        "D": ~first & ~second,
    }


def predicted_yield(yields: dict[str, Figure]) -> Figure:
    """N_B N_C / N_D with the error that those of the three yields, which are independent, give.

    Returns
    -------
    Figure
        Its effective events are those of the three that has fewest. Undefined if one of the three
        yields is not positive.
    """
    effective = min(yields[region].effective_events for region in "BCD")
    values, errors = {}, {}
    for region in "BCD":
        found = yields[region]
        if found.value is None or found.value <= 0:
            total = "undefined" if found.value is None else f"{found.value:.4g}"
            reason = f"the background yield in region {region} is {total}, not positive"
            return Figure(None, effective_events=effective, reason=reason)
        values[region], errors[region] = found.value, found.error or 0.0
    value = values["B"] * values["C"] / values["D"]
    relative = math.hypot(*(errors[region] / values[region] for region in "BCD"))
    return Figure(value, value * relative, effective)


def closure(observed: Figure, predicted: Figure) -> Figure:
    """Observed over predicted yield of A; their errors are independent.

    Returns
    -------
    Figure
        Undefined where the prediction is.
    """
    effective = min(observed.effective_events, predicted.effective_events)
    if predicted.value is None or observed.value is None:
        reason = predicted.reason or observed.reason
        return Figure(None, effective_events=effective, reason=reason)
    ratio = observed.value / predicted.value
    error = math.hypot(observed.error or 0.0, ratio * (predicted.error or 0.0)) / predicted.value
    return Figure(ratio, error, effective)


def evaluate_abcd(
    test: ScoredEvents,
    validation: ScoredEvents,
    test_scores: NDArray[np.float64],
    validation_scores: NDArray[np.float64],
    *,
    folds: int,
    efficiencies: Sequence[float] = EFFICIENCIES,
) -> dict[str, Any]:
    """Closure of the ABCD method for every pair of cuts, ready for JSON.

    Parameters
    ----------
    test, validation
        The events, for weights, classes and folds: `validation` as in `evaluate`.
    test_scores, validation_scores
        float64 (events, 2): the two scores.
    folds
        Number of folds. Each has its own thresholds, from its validation events.
    efficiencies
        Background efficiencies of the cut on each score, in (0, 1).

    Returns
    -------
    dict
        ``distance_correlation``: bias-corrected dCorr² of the two scores in background,
        ``auc``, a list: that of each score by fold, without error, and
        ``cuts``, a list: ``background_efficiency`` (two), ``thresholds`` by fold (two each),
        ``background`` by region and ``signal`` by region (yields), ``predicted`` and ``closure``
        of the background in A, and ``contamination`` by region (signal over background). Errors
        are those of the simulation.

    Raises
    ------
    SampleError
        If scores and events disagree in number, or an efficiency is not between 0 and 1.
    """
    for name, scores, events in (
        ("test", test_scores, test),
        ("validation", validation_scores, validation),
    ):
        if scores.shape != (len(events), 2):
            message = f"{name} scores: got shape {scores.shape}, expected ({len(events)}, 2)"
            raise SampleError(message)
    background = ~test.is_signal
    dependence = distance_correlation_squared(
        test_scores[background, 0], test_scores[background, 1], test.weight[background]
    )
    cuts = [
        _pair(test, validation, test_scores, validation_scores, folds, pair)
        for pair in product(efficiencies, repeat=2)
    ]
    areas = [
        {
            str(fold): auc(column[own], test.weight[own], test.is_signal[own]).to_json()
            for fold in range(folds)
            for own in [test.fold == fold]
        }
        for column in test_scores.T
    ]
    return {"distance_correlation": dependence.to_json(), "auc": areas, "cuts": cuts}


def _pair(
    test: ScoredEvents,
    validation: ScoredEvents,
    test_scores: NDArray[np.float64],
    validation_scores: NDArray[np.float64],
    folds: int,
    efficiencies: tuple[float, ...],
) -> dict[str, Any]:
    """Closure of one pair of cuts."""
    thresholds, defect = _thresholds(validation, validation_scores, folds, efficiencies)
    inside = abcd_regions(test_scores >= thresholds[test.fold])
    yields = {
        name: {region: _yield(test.weight[flags & chosen]) for region, flags in inside.items()}
        for name, chosen in (("signal", test.is_signal), ("background", ~test.is_signal))
    }
    if defect:  # events of a fold without thresholds are in no region
        nothing = Figure(None, reason=defect)
        yields = {name: dict.fromkeys(REGIONS, nothing) for name in yields}
    predicted = Figure(None, reason=defect) if defect else predicted_yield(yields["background"])
    return {
        "background_efficiency": list(efficiencies),
        "thresholds": {
            str(fold): None if np.isnan(pair).any() else pair.tolist()
            for fold, pair in enumerate(thresholds)
        },
        **{
            name: {region: figure.to_json() for region, figure in found.items()}
            for name, found in yields.items()
        },
        "predicted": predicted.to_json(),
        "closure": closure(yields["background"]["A"], predicted).to_json(),
        "contamination": {
            region: _contamination(
                yields["signal"][region], yields["background"][region], region
            ).to_json()
            for region in REGIONS
        },
    }


def _thresholds(
    validation: ScoredEvents,
    scores: NDArray[np.float64],
    folds: int,
    efficiencies: tuple[float, ...],
) -> tuple[NDArray[np.float64], str | None]:
    """Thresholds float64 (folds, 2), NaN where undefined, and the reason of the first of those."""
    found = np.full((folds, 2), np.nan)
    reason: str | None = None
    for column, efficiency in enumerate(efficiencies):
        events = replace(validation, score=scores[:, column])
        thresholds, reason = fold_thresholds(events, efficiency, folds, of="background")
        for fold, threshold in thresholds.items():
            found[fold, column] = threshold
    return found, reason  # that of the weights, the same for both scores


def _yield(weight: NDArray[np.float64]) -> Figure:
    error = float(np.sqrt(np.sum(weight**2)))
    return Figure(float(np.sum(weight)), error, effective_events(weight))


def _contamination(signal: Figure, background: Figure, region: str) -> Figure:
    """Signal yield in units of the background yield."""
    if background.value is None or signal.value is None:
        return Figure(None, reason=background.reason or signal.reason)
    if background.value <= 0:
        reason = f"the background yield in region {region} is {background.value:.4g}, not positive"
        return Figure(None, effective_events=signal.effective_events, reason=reason)
    ratio = signal.value / background.value
    error = math.hypot(signal.error or 0.0, ratio * (background.error or 0.0)) / background.value
    effective = min(signal.effective_events, background.effective_events)
    return Figure(ratio, error, effective)
