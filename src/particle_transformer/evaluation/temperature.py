"""Temperature scaling of the score and the calibration error that remains.

With the logit z = ln[p/(1 − p)] of a score p, the scaled score is 1/(1 + exp(−z/T)); T is fitted
on validation events by maximum likelihood (C. Guo et al., "On calibration of modern neural
networks", ICML 2017, arXiv:1706.04599, sect. 4.2; for two classes this is Platt's scaling without
its offset). Signal and background are given the same total weight, as in `calibration`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.bootstrap import poisson_bootstrap
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = [
    "CalibrationError",
    "calibration_error",
    "fit_temperature",
    "fold_temperatures",
    "with_temperatures",
]

WIDEST = 2.0**20
"""Inverse temperatures beyond this, and below its inverse, count as none."""


def fit_temperature(
    score: NDArray[np.float64], weight: NDArray[np.float64], is_signal: NDArray[np.bool_]
) -> tuple[float | None, str | None]:
    """Temperature of greatest likelihood under a balanced prior.

    The derivative of −ln L with respect to β = 1/T, Σ w z (σ(βz) − y), is brought to zero by
    bisection. With positive weights it rises everywhere and the zero is the only one; with
    negative ones it is the one that the halving of brackets from β = 1 finds.

    Parameters
    ----------
    score
        float64 (events,): probabilities; exactly 0 and 1, to which a saturated network rounds,
        count as the nearest numbers inside.
    weight
        float64 (events,): signed weights.
    is_signal
        bool (events,).

    Returns
    -------
    temperature : float or None
    reason : str or None
        Why there is none.
    """
    balanced, defect = _balanced(weight, is_signal)
    if defect:
        return None, defect
    logit = _logit(score)
    if np.all((logit * np.where(is_signal, 1, -1) >= 0)[weight != 0]):
        return None, "no event is on the wrong side of 0.5, so that no temperature is too low"

    def slope(inverse: float) -> float:
        return float(np.sum(balanced * logit * (_sigmoid(inverse * logit) - is_signal)))

    low = high = 1.0
    while low > 1 / WIDEST and slope(low) > 0:
        low /= 2
    while high < WIDEST and slope(high) < 0:
        high *= 2
    if slope(low) > 0:
        return None, "the score does not rank signal above background"
    if slope(high) < 0:
        return None, f"the likelihood still grows at a temperature of {1 / high:.2g}"
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high), None


def fold_temperatures(validation: ScoredEvents, folds: int) -> tuple[dict[int, float], str | None]:
    """Temperature of each fold's network from its validation events.

    Parameters
    ----------
    validation
        Validation events; ``validation.fold`` is the network that scored them.
    folds
        How many networks there are.

    Returns
    -------
    temperatures : dict
        By fold, where the events define it.
    reason : str or None
        Why a fold has none.
    """
    found: dict[int, float] = {}
    reason: str | None = None
    for fold in range(folds):
        own = validation.select(validation.fold == fold)
        temperature, defect = fit_temperature(own.score, own.weight, own.is_signal)
        if temperature is None:
            reason = reason or f"fold {fold}, validation events: {defect}"
        else:
            found[fold] = temperature
    return found, reason


def with_temperatures(events: ScoredEvents, temperatures: Mapping[int, float]) -> ScoredEvents:
    """Events with their scores scaled by the temperature of their fold's network.

    Raises
    ------
    SampleError
        If a fold of the events has no temperature.
    """
    by_fold = np.ones(int(events.fold.max(initial=0)) + 1)
    for fold in np.unique(events.fold):
        if int(fold) not in temperatures:
            known = ", ".join(str(number) for number in sorted(temperatures)) or "none"
            message = f"fold {fold} has no temperature (folds that have one: {known}); "
            message += "fit one on validation events of its network"
            raise SampleError(message)
        by_fold[fold] = temperatures[int(fold)]
    scaled = _sigmoid(_logit(events.score) / by_fold[events.fold])
    return dataclasses.replace(events, score=scaled)


@dataclass(frozen=True)
class CalibrationError:
    """How far scores are from the observed signal fraction.

    Attributes
    ----------
    figure
        Σ_bins W |signal fraction − mean score| / Σ W, with the standard deviation over bootstrap
        replicas.
    noise
        What a perfectly calibrated score would show on average with these statistical errors σ
        of the bins, Σ W σ √(2/π) / Σ W: an error of this size is none. None if undefined.
    """

    figure: Figure
    noise: float | None


def calibration_error(
    events: ScoredEvents, bins: int = 15, *, replicas: int = 200, seed: int = 1
) -> CalibrationError:
    """Expected calibration error under a balanced prior, in bins of equally many events.

    (M. Naeini, G. Cooper, M. Hauskrecht, AAAI 2015; with the bins of `reliability`, weighted.)

    Parameters
    ----------
    events
        Test events of all folds.
    bins
        How many bins.
    replicas, seed
        Of the Poisson bootstrap; the bins stay as they are.

    Returns
    -------
    CalibrationError
        Undefined if a class has no event or no positive total weight, or a bin has no positive
        total weight.
    """
    signal = events.is_signal
    effective = min(effective_events(events.weight[own]) for own in (signal, ~signal))
    _, defect = _balanced(events.weight, signal)
    if defect:
        return CalibrationError(Figure(None, effective_events=effective, reason=defect), None)
    order = np.argsort(events.score, kind="stable")
    index = np.empty(len(events), dtype=np.int64)
    for number, members in enumerate(np.array_split(order, bins)):
        index[members] = number

    def distances(multiplicity: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, problem = _balanced(multiplicity * events.weight, signal)
        if problem:
            return float("nan"), np.full(bins, np.nan)
        total = np.bincount(index, weight, minlength=bins).astype(np.float64)
        # Σ w (y − p) of a bin is its weight times (fraction − mean score).
        off = np.bincount(index, weight * (signal - events.score), minlength=bins)
        if not np.all(total > 0):
            return float("nan"), total
        return float(np.sum(np.abs(off)) / np.sum(total)), total

    value, total = distances(np.ones(len(events)))
    if np.isnan(value):
        place = int(np.argmin(total))
        reason = f"bin {place} of the score has the total weight {total[place]:.4g}, not positive"
        return CalibrationError(Figure(None, effective_events=effective, reason=reason), None)
    figure = Figure(value, effective_events=effective)
    drawn = poisson_bootstrap(
        lambda multiplicity: {"error": distances(multiplicity)[0]},
        len(events),
        replicas=replicas,
        seed=seed,
    )
    if drawn:
        figure = figure.with_replicas(drawn["error"])
    weight, _ = _balanced(events.weight, signal)
    residual = weight * (signal - events.score)
    spread = np.sqrt(np.bincount(index, residual**2, minlength=bins))
    noise = float(np.sqrt(2 / np.pi) * np.sum(spread) / np.sum(total))
    return CalibrationError(figure, noise)


def _balanced(
    weight: NDArray[np.float64], is_signal: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], str | None]:
    """Weights with the same total for both classes, or why there are none."""
    balanced = weight.astype(np.float64)
    for own, name in ((is_signal, "signal"), (~is_signal, "background")):
        defect = weight_defect(weight[own], name)
        if defect:
            return balanced, defect
        balanced[own] /= np.sum(weight[own])
    return balanced, None


def _logit(score: NDArray[np.float64]) -> NDArray[np.float64]:
    tiny = np.finfo(np.float64)
    inside = np.clip(score, tiny.tiny, 1 - tiny.epsneg)
    logit: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return logit


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(z))
    result: NDArray[np.float64] = np.where(z >= 0, 1, small) / (1 + small)
    return result
