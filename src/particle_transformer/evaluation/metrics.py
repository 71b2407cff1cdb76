"""All figures of merit of a run: the content of ``evaluation/metrics.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.bootstrap import poisson_bootstrap
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.rejection import (
    efficiency,
    fold_thresholds,
    passing,
    rejection,
)
from particle_transformer.evaluation.replicas import Replicated
from particle_transformer.evaluation.roc import auc, auc_unweighted
from particle_transformer.evaluation.significance import asimov_significance, optimal_threshold
from particle_transformer.events.folds import VALIDATION_DENOMINATOR, validation_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["SCHEMA_VERSION", "evaluate"]

SCHEMA_VERSION = 1


def evaluate(
    test: ScoredEvents,
    validation: ScoredEvents,
    *,
    working_points: Sequence[float],
    background_uncertainty: float,
    folds: int,
    signal_regions: Sequence[str] | None = None,
    validation_share: float = 1 / VALIDATION_DENOMINATOR,
    bootstrap: int = 200,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Figures of merit with errors, ready for JSON.

    Parameters
    ----------
    test
        All simulated events, each scored by the network of its own fold.
    validation
        Validation events; ``validation.fold`` is the network that scored them, and an event may
        occur once for each network. Only thresholds are taken from them.
    working_points
        Signal efficiencies in (0, 1).
    background_uncertainty
        Relative systematic uncertainty of the total background.
    folds
        Number of folds.
    signal_regions
        The regions of role signal: everything but the block `regions` is about the events in any
        of them, in test and validation alike. None: about all events.
    validation_share
        Share of the events outside a fold that are the validation set of its network.
    bootstrap, seed
        Replicas of the Poisson bootstrap behind the errors, and its seed. Thresholds are those
        of the validation events in every replica.
    progress
        Called after each replica with how many are done and how many there are.

    Returns
    -------
    dict
        The layout of ``metrics.json``: ``schema_version``, ``events``, ``yields``, ``auc``,
        ``auc_unweighted``, ``rejection`` (by working point), ``significance``, ``processes``,
        ``regions``, ``folds``. A figure is ``{value, error, effective_events, reason}``; value
        is None where undefined. No NaN or infinity is in it.

    Raises
    ------
    SampleError
        If an argument is out of its range, test and validation disagree about the processes, or
        a region or fold is unknown.
    """
    _check(test, validation, background_uncertainty, folds, validation_share)
    primary = np.ones(len(test), dtype=bool)
    if signal_regions is not None:
        primary = test.in_any(signal_regions)
        validation = validation.select(validation.in_any(signal_regions))
    events = test.select(primary)

    cuts, defects = {}, {}
    for point in working_points:
        cuts[f"{point:g}"], defects[f"{point:g}"] = fold_thresholds(validation, point, folds)
    scale = validation_scale(folds, validation_share)
    best, best_defect = _best_cuts(validation, folds, scale, background_uncertainty)
    masks = {key: passing(events, cut) for key, cut in cuts.items()}
    counted = passing(events, best)

    drawn: dict[str, NDArray[np.float64]] = {}
    if bootstrap:
        replicated = Replicated(test, primary, {**masks, "best": counted}, folds=folds)
        drawn = poisson_bootstrap(
            replicated, len(test), replicas=bootstrap, seed=seed, progress=progress
        )

    def error_of(figure: Figure, name: str, part: int | None = None) -> Figure:
        if name not in drawn:
            return figure
        return figure.with_replicas(drawn[name] if part is None else drawn[name][:, part])

    total = _auc(events)
    if drawn:
        total = total.with_replicas(drawn["auc"], interval=True)
    flat = error_of(auc_unweighted(events.score, events.is_signal), "auc_unweighted")

    points: dict[str, Any] = {}
    background = ~events.is_signal
    for key, mask in masks.items():
        figure = rejection(events.weight[background], mask[background])
        kept = efficiency(events.weight[~background], mask[~background])
        reason = defects[key]
        if reason:
            figure = kept = Figure(None, reason=reason)
        kept = error_of(kept, f"efficiency {key}")
        points[key] = error_of(figure, f"rejection {key}").to_json() | {
            "signal_efficiency": kept.value,
            "signal_efficiency_error": kept.error,
            "thresholds": _by_fold(cuts[key], folds),
        }

    significance = _significance(events, counted, background_uncertainty, best_defect, drawn)
    significance["thresholds"] = _by_fold(best, folds)

    processes: dict[str, Any] = {}
    for index, name in enumerate(events.processes):
        own = events.process == index
        processes[name] = {"class": events.process_class[index], **_yield(events.weight[own])}
        if index in events.signals:
            continue
        against = _auc(events.select(own | events.is_signal))
        processes[name]["auc"] = error_of(against, "auc by process", index).to_json()
        processes[name]["rejection"] = {}
        for key, mask in masks.items():
            figure = rejection(events.weight[own], mask[own], name)
            reason = defects[key]
            if reason:
                figure = Figure(None, reason=reason)
            figure = error_of(figure, f"rejection {key} by process", index)
            processes[name]["rejection"][key] = figure.to_json()

    regions: dict[str, Any] = {}
    for position, (name, inside) in enumerate(test.regions.items()):
        regional = test.select(inside)
        figure = error_of(_auc(regional), "auc by region", position)
        regions[name] = {"auc": figure.to_json(), **_classes(regional)}

    by_fold: dict[str, Any] = {}
    for fold in range(folds):
        own_fold = events.select(events.fold == fold)
        figure = error_of(_auc(own_fold), "auc by fold", fold)
        by_fold[str(fold)] = {"auc": figure.to_json(), **_classes(own_fold)}

    return {
        "schema_version": SCHEMA_VERSION,
        "bootstrap": {"replicas": bootstrap, "seed": seed},
        **_classes(events),
        "auc": total.to_json(),
        "auc_unweighted": flat.to_json(),
        "rejection": points,
        "significance": significance,
        "processes": processes,
        "regions": regions,
        "folds": by_fold,
    }


def _check(
    test: ScoredEvents,
    validation: ScoredEvents,
    background_uncertainty: float,
    folds: int,
    validation_share: float,
) -> None:
    if background_uncertainty < 0:
        message = f"background_uncertainty is {background_uncertainty:g}, expected 0 or more"
        raise SampleError(message)
    if folds < 2 or not 0 < validation_share <= 1:
        message = (
            f"folds is {folds} and validation_share {validation_share:g}, "
            "expected at least 2 and a share in (0, 1]"
        )
        raise SampleError(message)
    if (test.processes, test.process_class) != (validation.processes, validation.process_class):
        message = (
            f"processes of the test events are {', '.join(test.processes)}, "
            f"those of the validation events {', '.join(validation.processes)}: expected the same"
        )
        raise SampleError(message)
    for name, events in (("test", test), ("validation", validation)):
        if len(events) and not 0 <= events.fold.min() <= events.fold.max() < folds:
            message = (
                f"{name} events have folds {events.fold.min()} to {events.fold.max()}, "
                f"expected 0 to {folds - 1}"
            )
            raise SampleError(message)


def _best_cuts(
    validation: ScoredEvents, folds: int, scale: float, uncertainty: float
) -> tuple[dict[int, float], str | None]:
    cuts: dict[int, float] = {}
    reason: str | None = None
    for fold in range(folds):
        threshold, defect = optimal_threshold(
            validation.select(validation.fold == fold),
            scale=scale,
            background_uncertainty=uncertainty,
        )
        if threshold is not None:
            cuts[fold] = threshold
        reason = reason or (f"fold {fold}, {defect}" if defect else None)
    return cuts, reason


def _significance(
    events: ScoredEvents,
    counted: NDArray[np.bool_],
    uncertainty: float,
    defect: str | None,
    drawn: Mapping[str, NDArray[np.float64]],
) -> dict[str, Any]:
    if defect:  # yields of the other folds alone would be taken for those of all
        yields = ["signal_yield", "signal_yield_error", "background_yield"]
        yields += ["background_yield_error", "background_uncertainty"]
        yields += ["background_uncertainty_statistical"]
        content = Figure(None, reason=defect).to_json() | dict.fromkeys(yields)
        return content | {"background_uncertainty_configured": float(uncertainty)}
    signal = events.weight[counted & events.is_signal]
    background = events.weight[counted & ~events.is_signal]
    b, squares = float(np.sum(background)), float(np.sum(background**2))
    statistical = np.sqrt(squares) / b if b > 0 else None
    effective = effective_events(background)
    if b <= 0:
        defect = f"the background yield behind the cut is {b:.4g}, not positive"
    elif np.sum(signal) <= 0:
        defect = f"the signal yield behind the cut is {np.sum(signal):.4g}, not positive"
    if defect:
        figure = Figure(None, effective_events=effective, reason=defect)
    else:
        error = np.hypot(uncertainty * b, np.sqrt(squares))
        figure = Figure(
            float(asimov_significance(np.sum(signal), b, error)), effective_events=effective
        )
    if drawn:
        s_drawn, b_drawn = drawn["signal yield"], drawn["background yield"]
        error = np.hypot(uncertainty * b_drawn, np.sqrt(drawn["background squares"]))
        figure = figure.with_replicas(asimov_significance(s_drawn, b_drawn, error))
    return figure.to_json() | {
        "signal_yield": float(np.sum(signal)),
        "signal_yield_error": float(np.sqrt(np.sum(signal**2))),
        "background_yield": b,
        "background_yield_error": float(np.sqrt(squares)),
        "background_uncertainty": (
            None if statistical is None else float(np.hypot(uncertainty, statistical))
        ),
        "background_uncertainty_configured": float(uncertainty),
        "background_uncertainty_statistical": (None if statistical is None else float(statistical)),
    }


def _auc(events: ScoredEvents) -> Figure:
    return auc(events.score, events.weight, events.is_signal)


def _by_fold(thresholds: Mapping[int, float], folds: int) -> dict[str, float | None]:
    return {str(fold): thresholds.get(fold) for fold in range(folds)}


def _yield(weight: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "events": int(weight.size),
        "yield": float(np.sum(weight)),
        "yield_error": float(np.sqrt(np.sum(weight**2))),
        "effective_events": effective_events(weight),
    }


def _classes(events: ScoredEvents) -> dict[str, Any]:
    return {
        "events": len(events),
        "yields": {
            "signal": _yield(events.weight[events.is_signal]),
            "background": _yield(events.weight[~events.is_signal]),
        },
    }
