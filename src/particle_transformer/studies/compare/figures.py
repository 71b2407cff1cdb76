"""Figures of merit of several methods on the same events, with paired errors.

A method's figure is the mean over its seeds. Two errors are combined in quadrature: that of the
mean over the seeds (their spread / √seeds), and the standard deviation over replicas of a Poisson
bootstrap of the test events, at fixed classifiers and thresholds. The replicas are the same for all
methods, so that what the methods have in common cancels in differences and ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import (
    Figure,
    Ranking,
    asimov_significance,
    effective_events,
    evaluate_calibration,
    fold_thresholds,
    optimal_threshold,
    passing,
    poisson_bootstrap,
    roc_band,
)
from particle_transformer.events.folds import validation_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation import ScoredEvents

__all__ = [
    "AUC", "SIGNIFICANCE", "SeedScores", "calibration", "combined", "compare_figures", "roc", "undefined",
    "validation_loss", "with_errors",
]  # fmt: skip

AUC, SIGNIFICANCE = "auc", "significance"

_ROC_REPLICAS = 30


@dataclass(frozen=True)
class SeedScores:
    """The events as the classifiers of one seed, one for each fold, score them."""

    test: ScoredEvents
    validation: ScoredEvents


class _SeedFigures:
    """Figures of one method and seed as a function of the test events' multiplicities.

    Attributes
    ----------
    names
        Of the figures, in the order of the numbers.
    effective
        Effective number of events behind each.
    reasons
        By name of the figure: why it is undefined, whatever the multiplicities.
    """

    def __init__(
        self, scores: SeedScores, points: Sequence[float], folds: int, uncertainty: float
    ) -> None:
        test, validation = scores.test, scores.validation
        self._weight, self._signal = test.weight, test.is_signal
        self._ranking = Ranking(test.score, test.is_signal)
        self._uncertainty = uncertainty
        self.names = [AUC, *(f"{point:g}" for point in points), SIGNIFICANCE]
        self.reasons: dict[str, str] = {}
        cuts = []
        for point in points:
            thresholds, defect = fold_thresholds(validation, point, folds)
            if defect:
                self.reasons[f"{point:g}"] = defect
            cuts.append(passing(test, thresholds))
        best = {}
        for fold in range(folds):
            threshold, defect = optimal_threshold(
                validation.select(validation.fold == fold),
                scale=validation_scale(folds),
                background_uncertainty=uncertainty,
            )
            if threshold is None:
                self.reasons[SIGNIFICANCE] = f"fold {fold}, {defect}"
            else:
                best[fold] = threshold
        self._background = ~test.is_signal
        self._passed = [np.flatnonzero(cut & self._background) for cut in cuts]
        counted = passing(test, best)
        self._best = (
            np.flatnonzero(counted & test.is_signal),
            np.flatnonzero(counted & self._background),
        )
        classes = (test.weight[test.is_signal], test.weight[self._background])
        self.effective = [
            min(effective_events(part) for part in classes),
            *(effective_events(test.weight[rows]) for rows in self._passed),
            effective_events(test.weight[self._best[1]]),
        ]

    def __call__(self, multiplicity: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (figures,); NaN where undefined."""
        weight = multiplicity * self._weight
        total = float(np.sum(weight[self._background]))
        found = [self._ranking.auc(weight)]
        for rows in self._passed:
            kept = float(np.sum(weight[rows]))
            found.append(total / kept if kept > 0 and total > 0 else np.nan)
        signal, background = (float(np.sum(weight[rows])) for rows in self._best)
        rows = self._best[1]
        squares = float(np.sum(multiplicity[rows] * self._weight[rows] ** 2))
        error = np.hypot(self._uncertainty * background, np.sqrt(squares))
        found.append(float(asimov_significance(signal, background, error)))
        for name in self.reasons:
            found[self.names.index(name)] = np.nan
        return np.array(found)


def combined(
    seeds: NDArray[np.float64], replicas: NDArray[np.float64], effective: float, reason: str
) -> dict[str, Any]:
    """A figure with the errors of seeds and of test events, ready for JSON.

    Parameters
    ----------
    seeds
        float64 (seeds,): its value for each; NaN where undefined.
    replicas
        float64 (replicas,): the mean over the seeds in each bootstrap replica.
    effective
        Effective number of events.
    reason
        Why it is undefined, where it is.
    """
    if not np.isfinite(seeds).all():
        return undefined(effective, reason or "undefined")
    plain = Figure(float(np.mean(seeds)), effective_events=effective)
    return with_errors(plain, _error_of_mean(seeds), replicas)


def undefined(effective: float, reason: str) -> dict[str, Any]:
    """A figure that the events do not define, ready for JSON."""
    figure = Figure(None, effective_events=effective, reason=reason)
    return figure.to_json() | {"seed_error": None, "event_error": None}


def with_errors(
    figure: Figure, spread: float | None, replicas: NDArray[np.float64]
) -> dict[str, Any]:
    """A figure with the errors of seeds (`spread`) and of test events, ready for JSON."""
    return _with_parts(figure.with_replicas(replicas), spread)


def _with_parts(figure: Figure, spread: float | None) -> dict[str, Any]:
    """A figure whose error is that of the test events, and the error of the seeds."""
    content = figure.to_json() | {"seed_error": spread, "event_error": figure.error}
    if figure.error is not None and spread is not None:
        content["error"] = float(np.hypot(figure.error, spread))
    return content


def _error_of_mean(seeds: NDArray[np.float64]) -> float | None:
    """Spread of the seeds / √seeds; None of a single one."""
    return float(np.std(seeds, ddof=1) / np.sqrt(len(seeds))) if len(seeds) > 1 else None


def compare_figures(
    scores: Mapping[str, Sequence[SeedScores]],
    *,
    reference: str,
    working_points: Sequence[float],
    background_uncertainty: float,
    folds: int,
    replicas: int,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Figures of every method, and how the reference compares with it.

    Parameters
    ----------
    scores
        By method: each seed's scores of the same events in the same order.
    reference
        The method that the others are compared with.
    working_points
        Signal efficiencies; thresholds are those of the validation events of each fold.
    background_uncertainty
        Relative systematic uncertainty of the background.
    folds
        Number of folds.
    replicas, seed
        Of the bootstrap.
    progress
        Called after each replica with how many are done and how many there are.

    Returns
    -------
    dict
        By method: ``auc``, ``rejection`` (by working point), ``significance``, and under
        ``versus`` the reference's AUC minus the method's (``auc``) and the reference's rejections
        and significance over the method's. Each is a figure with ``seed_error`` and
        ``event_error``, whose quadratic sum is ``error``.
    """
    figures = {
        name: [_SeedFigures(each, working_points, folds, background_uncertainty) for each in seeds]
        for name, seeds in scores.items()
    }
    first = next(iter(scores.values()))[0].test

    def all_figures(multiplicity: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {
            name: np.mean([each(multiplicity) for each in seeds], axis=0)
            for name, seeds in figures.items()
        }

    nominal = {
        name: np.array([each(np.ones(len(first))) for each in seeds])
        for name, seeds in figures.items()
    }
    drawn = poisson_bootstrap(
        all_figures, len(first), replicas=replicas, seed=seed, progress=progress
    )
    found = {}
    for name, seeds in figures.items():
        columns: dict[str, Any] = {}
        versus: dict[str, Any] = {}
        for place, figure in enumerate(seeds[0].names):
            effective = min(each.effective[place] for each in seeds)
            reasons = [each.reasons[figure] for each in seeds if figure in each.reasons]
            reason = reasons[0] if reasons else f"no positive yield left for {figure}"
            columns[figure] = combined(
                nominal[name][:, place], drawn[name][:, place], effective, reason
            )
            if name != reference:
                versus[figure] = _against(
                    nominal[reference][:, place],
                    nominal[name][:, place],
                    drawn[reference][:, place],
                    drawn[name][:, place],
                    effective,
                    reason,
                    difference=figure == AUC,
                )
        found[name] = _sorted(columns) | ({"versus": _sorted(versus)} if versus else {})
    return found


def _sorted(columns: dict[str, Any]) -> dict[str, Any]:
    points = {key: value for key, value in columns.items() if key not in (AUC, SIGNIFICANCE)}
    return {AUC: columns[AUC], "rejection": points, SIGNIFICANCE: columns[SIGNIFICANCE]}


def _against(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    our_replicas: NDArray[np.float64],
    their_replicas: NDArray[np.float64],
    effective: float,
    reason: str,
    *,
    difference: bool,
) -> dict[str, Any]:
    """Difference or ratio of two methods' means over their seeds, with errors."""
    both = np.concatenate([ours, theirs])
    if not np.isfinite(both).all() or (not difference and theirs.mean() == 0):
        return undefined(effective, reason)
    means = float(ours.mean()), float(theirs.mean())
    spread = None
    own, other = _error_of_mean(ours), _error_of_mean(theirs)
    if own is not None and other is not None:
        # First order; the seeds of two methods are independent.
        slopes = (1.0, 1.0) if difference else (1 / means[1], means[0] / means[1] ** 2)
        spread = float(np.hypot(own * slopes[0], other * slopes[1]))
    if difference:
        value, replicas = means[0] - means[1], our_replicas - their_replicas
    else:
        value = means[0] / means[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            replicas = our_replicas / their_replicas
    return with_errors(Figure(value, effective_events=effective), spread, replicas)


def roc(seeds: Sequence[SeedScores], *, replicas: int) -> dict[str, Any] | None:
    """ROC curve, the mean over the seeds, with the band of both errors; None where undefined.

    Returns
    -------
    dict
        ``signal_efficiency``, ``background_efficiency`` and its ``error``: lists of numbers.
    """
    grid = np.linspace(0.02, 1, 99)
    bands = [roc_band(each.test, grid, replicas=min(replicas, _ROC_REPLICAS)) for each in seeds]
    defined = [band for band in bands if band is not None]
    if len(defined) < len(bands):
        return None
    curves = np.array([band.background_efficiency for band in defined])
    events = np.mean([(band.high - band.low) / 2 for band in defined], axis=0)
    spread = np.std(curves, axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else 0.0
    error = np.nan_to_num(np.hypot(events, spread))
    return {
        "signal_efficiency": grid.tolist(),
        "background_efficiency": curves.mean(axis=0).tolist(),
        "error": error.tolist(),
    }


def calibration(seeds: Sequence[SeedScores], *, folds: int, replicas: int) -> dict[str, Any]:
    """Calibration error before and after temperature scaling, the mean over the seeds.

    That of each seed is `particle_transformer.evaluation.evaluate_calibration`. All seeds share
    the test events: the mean of their errors is taken for that of the mean, and is it if they
    fluctuate together, else too large.

    Returns
    -------
    dict
        Figures ``before`` and ``after``, and ``noise``: what a perfectly calibrated score would
        show after scaling, None if unknown.
    """
    each = [
        evaluate_calibration(scores.test, scores.validation, folds=folds, bootstrap=replicas)
        for scores in seeds
    ]
    found: dict[str, Any] = {}
    for name in ("before", "after"):
        figures = [block[name] for block in each]
        effective = min(figure["effective_events"] for figure in figures)
        reasons = [figure["reason"] for figure in figures if figure["value"] is None]
        if reasons:
            found[name] = undefined(effective, reasons[0])
            continue
        values = np.array([figure["value"] for figure in figures])
        errors = [figure["error"] for figure in figures]
        error = None if None in errors else float(np.mean(errors))
        reason = next((figure["reason"] for figure in figures if figure["error"] is None), None)
        mean = Figure(float(np.mean(values)), error, effective, reason)
        found[name] = _with_parts(mean, _error_of_mean(values))
    noises = [block["after"]["noise"] for block in each]
    found["noise"] = None if None in noises else float(np.mean(noises))
    return found


def validation_loss(seeds: Sequence[SeedScores]) -> float | None:
    """Cross-entropy of signal against background in the validation events: what to tune with.

    Both get the same total weight in each fold; the mean over folds and seeds. None where a fold
    lacks one of them.
    """
    found = []
    for each in seeds:
        validation = each.validation
        for fold in np.unique(validation.fold):
            own = validation.select(validation.fold == fold)
            loss = 0.0
            for chosen, score in ((own.is_signal, own.score), (~own.is_signal, 1 - own.score)):
                total = float(np.sum(own.weight[chosen]))
                if total <= 0:
                    return None
                smallest = np.finfo(np.float64).tiny
                logarithm = np.log(np.maximum(score[chosen], smallest))
                loss -= float(np.sum(own.weight[chosen] * logarithm)) / total / 2
            found.append(loss)
    return float(np.mean(found))
