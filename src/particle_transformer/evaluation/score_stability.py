"""How much a systematic variation moves the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.rejection import fold_thresholds
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["Stability", "VariedEvents", "evaluate_stability", "stability"]


@dataclass(frozen=True)
class Stability:
    """Change of the score under one side of a variation.

    Attributes
    ----------
    mean_shift
        Mean score as varied minus nominal.
    yield_change
        Relative change of the yield, without any cut on the score.
    efficiency_change
        By cut: relative change (ε' − ε)/ε of the efficiency of ``score >= cut``.
    """

    mean_shift: Figure
    yield_change: Figure
    efficiency_change: dict[str, Figure]


def stability(
    score: NDArray[np.float64],
    weight: NDArray[np.float64],
    varied_score: NDArray[np.float64],
    varied_weight: NDArray[np.float64],
    cuts: Mapping[str, float | NDArray[np.float64]],
    name: str = "chosen",
) -> Stability:
    """Change of the mean score and of efficiencies under a variation.

    The nominal and the varied score belong to the same events, whose statistical fluctuation is
    common to both. The errors take that into account: a change f is linear in small changes of
    the events' multiplicities, f → f + Σ_i u_i δ_i, and its variance is Σ u_i². Events that do
    not react at all contribute nothing.

    Parameters
    ----------
    score, varied_score
        float64 (events,), row by row the same events of one process or class.
    weight, varied_weight
        float64 (events,): signed physics weights, 0 where the event is not selected.
    cuts
        By name, such as the working point: the cut, or the cut of each event's fold (events,).
    name
        What to call the events in a reason.

    Returns
    -------
    Stability
        Figures with statistical errors; `effective_events` is that of the nominal events (behind
        the cut). Undefined where a total weight is not positive.

    Raises
    ------
    SampleError
        If the columns have different shapes.
    """
    columns = (score, weight, varied_score, varied_weight)
    if any(column.shape != (len(score),) for column in columns):
        message = f"scores and weights have shapes {[c.shape for c in columns]}, "
        message += f"expected ({len(score)},) for all: the same events row by row"
        raise SampleError(message)
    effective = effective_events(weight)
    for side, present in (("nominal", weight), ("varied", varied_weight)):
        defect = weight_defect(present, f"{side} {name}")
        if defect:
            undefined = Figure(None, effective_events=effective, reason=defect)
            return Stability(undefined, undefined, dict.fromkeys(cuts, undefined))
    share, varied_share = weight / weight.sum(), varied_weight / varied_weight.sum()
    mean, varied_mean = float(share @ score), float(varied_share @ varied_score)
    move = varied_share * (varied_score - varied_mean) - share * (score - mean)
    shift = Figure(varied_mean - mean, _norm(move), effective)
    ratio = varied_weight.sum() / weight.sum()
    change = Figure(float(ratio - 1), _norm(ratio * (varied_share - share)), effective)
    by_cut = {
        key: _efficiency_change(
            share, varied_share, score >= cut, varied_score >= cut, f"passing {name}"
        )
        for key, cut in cuts.items()
    }
    return Stability(shift, change, by_cut)


@dataclass(frozen=True)
class VariedEvents:
    """Events under one side of a variation.

    Attributes
    ----------
    events
        The simulated events that are in a region then, scored by the networks of their own folds.
    row
        int64 (events,): which of the nominal events each one is; −1 for those that are nominally
        in no region, or of another sample.
    """

    events: ScoredEvents
    row: NDArray[np.int64]


def evaluate_stability(
    test: ScoredEvents,
    validation: ScoredEvents,
    varied: Mapping[str, Mapping[str, VariedEvents]],
    *,
    working_points: Sequence[float],
    folds: int,
    signal_regions: Sequence[str],
) -> dict[str, Any]:
    """Change of scores, yields and efficiencies of every process, ready for JSON.

    Parameters
    ----------
    test
        All simulated events, nominal, each scored by the network of its own fold.
    validation
        Validation events of each network, from which the thresholds come.
    varied
        By variation and side.
    working_points
        Signal efficiencies.
    folds
        How many networks there are.
    signal_regions
        The regions of role signal: the figures are about the events in any of them, nominally or
        as varied.

    Returns
    -------
    dict
        By variation, side and process: ``mean_shift``, ``yield_change`` and, by working point,
        ``efficiency_change`` (`Stability`).
    """
    chosen = validation.select(validation.in_any(signal_regions))
    points = {f"{point:g}": fold_thresholds(chosen, point, folds) for point in working_points}
    return {
        name: {
            side: _by_process(test, other, points, folds, signal_regions)
            for side, other in sides.items()
        }
        for name, sides in varied.items()
    }


def _by_process(
    test: ScoredEvents,
    varied: VariedEvents,
    points: Mapping[str, tuple[Mapping[int, float], str | None]],
    folds: int,
    signal_regions: Sequence[str],
) -> dict[str, Any]:
    shifted, row = varied.events, varied.row
    known, new = row >= 0, np.flatnonzero(row < 0)

    def joined(nominal: NDArray[Any], added: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([nominal, added[new]])

    # One row for each event that is in a region nominally, as varied, or both.
    fold = joined(test.fold, shifted.fold)
    process = joined(test.process, shifted.process)
    score = joined(test.score, shifted.score)
    weight = joined(np.where(test.in_any(signal_regions), test.weight, 0.0), 0 * shifted.weight)
    inside = np.where(shifted.in_any(signal_regions), shifted.weight, 0.0)
    varied_score, varied_weight = score.copy(), joined(np.zeros(len(test)), inside)
    varied_score[row[known]] = shifted.score[known]
    varied_weight[row[known]] = inside[known]
    cuts = {}
    for point, (thresholds, reason) in points.items():
        if reason is None:
            by_fold = np.array([thresholds[number] for number in range(folds)])
            cuts[point] = by_fold[fold]
    found = {}
    for number, name in enumerate(test.processes):
        own = process == number
        columns = (score[own], weight[own], varied_score[own], varied_weight[own])
        changes = stability(*columns, {point: cut[own] for point, cut in cuts.items()}, name)
        undefined = {
            point: Figure(None, effective_events=effective_events(weight[own]), reason=reason)
            for point, (_, reason) in points.items()
            if reason is not None
        }
        efficiencies = changes.efficiency_change | undefined
        found[name] = {
            "mean_shift": changes.mean_shift.to_json(),
            "yield_change": changes.yield_change.to_json(),
            "efficiency_change": {point: efficiencies[point].to_json() for point in points},
        }
    return found


def _efficiency_change(
    share: NDArray[np.float64],
    varied_share: NDArray[np.float64],
    passes: NDArray[np.bool_],
    varied_passes: NDArray[np.bool_],
    name: str,
) -> Figure:
    effective = effective_events(share[passes])
    defect = weight_defect(share[passes], f"nominal {name}")
    if defect:
        return Figure(None, effective_events=effective, reason=defect)
    kept, varied_kept = float(share[passes].sum()), float(varied_share[varied_passes].sum())
    ratio = varied_kept / kept
    moved = varied_share * (varied_passes - varied_kept) / kept
    moved -= ratio * share * (passes - kept) / kept
    return Figure(ratio - 1, _norm(moved), effective)


def _norm(terms: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.sum(terms**2)))
