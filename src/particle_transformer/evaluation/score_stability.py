"""How much a systematic variation moves the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Stability", "stability"]


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
