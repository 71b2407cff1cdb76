"""Shapes of the background behind cuts on the score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import effective_events, passing
from particle_transformer.report.histograms import feature_edges, filled
from particle_transformer.report.numbers import with_error
from particle_transformer.report.style import escaped, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.evaluation import ScoredEvents

__all__ = ["ratio_to_all", "sculpting_plot"]

MINIMUM_EFFECTIVE_EVENTS = 20.0
"""Background that a cut must leave for its shape to be drawn."""

_LOOKS = (("#5790fc", "-", "o"), ("#f89c20", "--", "s"), ("#e42536", ":", "^"))


def ratio_to_all(
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    passes: NDArray[np.bool_],
    edges: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shape of the events that pass over the shape of all events, per bin.

    With the sums of weights s of the events in a bin that pass, f of those that fail, and S and A
    of all bins, the ratio is r = (s / S) / ((s + f) / A). Its error is that of s and f, which are
    independent, σ² = (A/S)² (f² σ_s² + s² σ_f²) / (s + f)⁴; that of S and A is common to all bins
    and left out.

    Parameters
    ----------
    values, weight
        float64 (events,).
    passes
        bool (events,).
    edges
        float64 (bins + 1,), rising.

    Returns
    -------
    ratios, errors : float64 (bins,)
        NaN where the sum of all weights in the bin, or of those that pass in all, is not positive.
    """
    s, s_error = filled(values[passes], weight[passes], edges)
    f, f_error = filled(values[~passes], weight[~passes], edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = weight.sum() / weight[passes].sum()
        ratio = scale * s / (s + f)
        error = scale * np.sqrt((f * s_error) ** 2 + (s * f_error) ** 2) / (s + f) ** 2
    undefined = (s + f <= 0) | (weight[passes].sum() <= 0)
    return np.where(undefined, np.nan, ratio), np.where(undefined, np.nan, error)


def sculpting_plot(
    name: str,
    values: NDArray[np.float64],
    runs: Sequence[tuple[str, ScoredEvents, Mapping[str, Any]]],
) -> Figure:
    """The background's shape in a spectator, all of it and behind cuts, a column for each run.

    Parameters
    ----------
    name
        Of the spectator.
    values
        float64 (background events,).
    runs
        Title, the background events of the signal regions with the run's scores, and its block
        ``sculpting`` of the metrics.
    """
    figure = new_figure(5.6 if len(runs) == 1 else 10.8, 5.6)
    grid = figure.subplots(
        2, len(runs), squeeze=False, sharex=True, sharey="row", height_ratios=(2.4, 1)
    )
    drawn = [
        (events, [(cut, passing(events, _thresholds(cuts["cuts"][cut]))) for cut in cuts["cuts"]])
        for _, events, cuts in runs
    ]
    weight = drawn[0][0].weight
    few = min(
        (effective_events(events.weight[mask]) for events, cuts in drawn for _, mask in cuts[:2]),
        default=0.0,
    )
    edges = feature_edges(values, 10 if few < 400 else 20)
    positive: list[float] = []
    highest = 1.5
    for column, (title, events, block) in enumerate(runs):
        axes, below = grid[0, column], grid[1, column]
        positive += _inclusive(axes, values, weight, edges)
        for (cut, mask), look in zip(drawn[column][1], _LOOKS, strict=True):
            if not _enough(events.weight[mask]):
                continue
            positive += _behind(axes, values[mask], events.weight[mask], edges, cut, look)
            ratio, error = ratio_to_all(values, weight, mask, edges)
            _points(below, ratio, error, edges, look)
            known = np.isfinite(ratio) & (error < 0.5)
            highest = max(highest, float(np.max((ratio + error)[known], initial=0.0)))
        below.axhline(1, color="#55555a", linewidth=1)
        below.set_xlabel(escaped(name))
        stamp(axes, title, _dependence(block["spectators"][name]))
        axes.legend(loc="upper right")
    grid[1, 0].set_ylim(0, min(1.1 * highest, 6.0))
    grid[0, 0].set_xlim(edges[0], edges[-1])
    _limits(grid[0, 0], positive)
    grid[0, 0].set_ylabel("Fraction of weighted events / bin")
    grid[1, 0].set_ylabel("Ratio to all")
    return figure


def _thresholds(cut: Mapping[str, Any]) -> dict[int, float]:
    return {int(fold): t for fold, t in cut["thresholds"].items() if t is not None}


def _enough(weight: NDArray[np.float64]) -> bool:
    return float(weight.sum()) > 0 and effective_events(weight) >= MINIMUM_EFFECTIVE_EVENTS


def _dependence(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "dCorr² undefined"
    return f"dCorr² = {with_error(figure['value'], None, digits=2)}"


def _inclusive(
    axes: Axes,
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> list[float]:
    """Draw all events; the positive contents."""
    total = weight.sum()
    contents, errors = (part / total for part in filled(values, weight, edges))
    axes.stairs(
        contents, edges, fill=True, facecolor="#dcdce0", edgecolor="#55555a", linewidth=1.4,
        label="All background",
    )  # fmt: skip
    centres = 0.5 * (edges[1:] + edges[:-1])
    axes.errorbar(centres, contents, errors, fmt="none", ecolor="#55555a", elinewidth=1.0)
    return [float(value) for value in contents if value > 0]


def _behind(
    axes: Axes,
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    edges: NDArray[np.float64],
    cut: str,
    look: tuple[str, str, str],
) -> list[float]:
    """Draw the events behind a cut; the positive contents."""
    colour, line, marker = look
    total = weight.sum()
    contents, errors = (part / total for part in filled(values, weight, edges))
    axes.stairs(contents, edges, color=colour, linestyle=line, linewidth=1.6)
    seen = errors > 0
    centres = 0.5 * (edges[1:] + edges[:-1])
    axes.errorbar(
        centres[seen], contents[seen], errors[seen], fmt=marker, color=colour, markersize=4.5,
        markeredgecolor="black", markeredgewidth=0.5, linewidth=0, elinewidth=1.1,
        label=f"Most signal-like {100 * float(cut):g}%",
    )  # fmt: skip
    return [float(value) for value in contents if value > 0]


def _points(
    axes: Axes,
    ratio: NDArray[np.float64],
    error: NDArray[np.float64],
    edges: NDArray[np.float64],
    look: tuple[str, str, str],
) -> None:
    colour, _, marker = look
    seen = np.isfinite(ratio) & ((error > 0) | (ratio != 0))  # where all pass, there is no error
    axes.errorbar(
        (0.5 * (edges[1:] + edges[:-1]))[seen], ratio[seen], error[seen], fmt=marker, color=colour,
        markersize=4.5, markeredgecolor="black", markeredgewidth=0.5, elinewidth=1.1,
    )  # fmt: skip


def _limits(axes: Axes, positive: Sequence[float]) -> None:
    """A logarithmic scale where the contents span more than a factor of 30, with room above."""
    if not positive:
        return
    highest = max(positive)
    lowest = max(min(positive), 1e-5 * highest)
    if highest / lowest > 30:
        axes.set_yscale("log")
        low = 0.5 * lowest
        axes.set_ylim(low, highest * (highest / low) ** 0.6)
    else:
        axes.set_ylim(0, 1.6 * highest)
