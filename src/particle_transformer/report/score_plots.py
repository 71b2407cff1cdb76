"""Distributions of the score and of event features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import require
from particle_transformer.evaluation import effective_events
from particle_transformer.report.histograms import feature_edges, filled, shape
from particle_transformer.report.style import SIGNAL_COLOUR, escaped, looks, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.evaluation import ScoredEvents

__all__ = [
    "SCORE_LABEL",
    "feature_shapes",
    "overlay_factor",
    "score_edges",
    "score_shapes",
    "score_stack",
]

SCORE_LABEL = "Network score (probability of signal)"


def overlay_factor(signal: float, background: float) -> int:
    """Largest power of ten by which the signal may be scaled without exceeding the background."""
    if signal <= 0 or background <= signal:
        return 1
    return int(10 ** math.floor(math.log10(background / signal)))


def score_edges(events: ScoredEvents) -> NDArray[np.float64]:
    """Bin edges of the score: 25 bins, or 10 where the background would fill them with noise."""
    few = effective_events(events.weight[~events.is_signal]) < 1000
    return np.linspace(0, 1, 11 if few else 26)


def score_stack(events: ScoredEvents, luminosity: str) -> Figure:
    """Expected yields against the score: stacked backgrounds, signal overlaid, log scale."""
    figure = new_figure(height=5.0)
    axes: Axes = figure.add_subplot()
    appearance, edges = looks(events), score_edges(events)
    by_yield = sorted(
        events.backgrounds, key=lambda index: events.weight[events.process == index].sum()
    )
    base = np.zeros(len(edges) - 1)
    handles: list[Any] = []
    for index in by_yield:
        own = events.process == index
        contents, _ = filled(events.score[own], events.weight[own], edges)
        handles.append(
            axes.stairs(
                base + contents,
                edges,
                baseline=base,
                fill=True,
                facecolor=appearance[index].colour,
                edgecolor="black",
                linewidth=0.6,
                hatch=appearance[index].hatch,
                label=escaped(events.processes[index]),
            )
        )
        base = base + contents
    total, error = filled(events.score[~events.is_signal], events.weight[~events.is_signal], edges)
    axes.stairs(total, edges, color="black", linewidth=1.0)
    band = axes.stairs(
        total + error,
        edges,
        baseline=total - error,
        fill=True,
        facecolor="black",
        alpha=0.35,
        linewidth=0,
        label="Stat. uncertainty of simulation",
    )
    factor = overlay_factor(
        float(events.weight[events.is_signal].sum()), float(np.sum(np.maximum(total, 0)))
    )
    signals: list[Any] = []
    # A white outline keeps the line visible on dark fills, in print too.
    effects = require("matplotlib.patheffects", "report")
    outline = effects.withStroke(linewidth=4.2, foreground="white")
    tops = [total + error]
    for index in events.signals:
        own = events.process == index
        contents, signal_error = filled(events.score[own], factor * events.weight[own], edges)
        scaled = f" × {factor:,}".replace(",", "\u202f") if factor > 1 else ""
        signals.append(
            axes.stairs(
                contents,
                edges,
                color=SIGNAL_COLOUR,
                linewidth=2.2,
                linestyle=appearance[index].line,
                path_effects=[outline],
                label=f"{escaped(events.processes[index])}{scaled}",
            )
        )
        _error_bars(axes, contents, signal_error, edges, SIGNAL_COLOUR)
        tops.append(contents + signal_error)
    axes.set_xlim(0, 1)
    _logarithmic(axes, np.concatenate([*tops, total]), len(events.processes) + 1)
    axes.set_xlabel(SCORE_LABEL)
    axes.set_ylabel(f"Events / {edges[1] - edges[0]:.3g}")
    axes.legend(handles=[*signals, *handles[::-1], band], ncols=2, loc="upper center")
    stamp(axes, "Simulation, out-of-fold", luminosity)
    return figure


def score_shapes(events: ScoredEvents) -> Figure:
    """Normalised score distributions of every process with statistical errors."""
    figure = new_figure(height=5.0)
    axes: Axes = figure.add_subplot()
    appearance, edges = looks(events), score_edges(events)
    highest = 0.0
    for index in (*events.backgrounds, *events.signals):
        own = events.process == index
        contents, errors = shape(events.score[own], events.weight[own], edges)
        if not np.isfinite(contents).all():
            continue
        look = appearance[index]
        axes.stairs(
            contents,
            edges,
            color=look.colour,
            linestyle=look.line,
            linewidth=2.2 if index in events.signals else 1.6,
            label=escaped(events.processes[index]),
        )
        _error_bars(axes, contents, errors, edges, look.colour, look.marker)
        highest = max(highest, float(np.max(contents + errors)))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, highest / (1 - _legend_share(len(events.processes))) or 1.0)
    axes.set_xlabel(SCORE_LABEL)
    axes.set_ylabel(f"Fraction of weighted events / {edges[1] - edges[0]:.3g}")
    axes.legend(ncols=2, loc="upper center")
    stamp(axes, "Simulation, out-of-fold", "each process normalised to 1")
    return figure


def feature_shapes(events: ScoredEvents, features: Mapping[str, NDArray[Any]]) -> Figure:
    """Normalised distributions of event features, signal against all backgrounds.

    Parameters
    ----------
    events
        The events.
    features
        By label: float (events,); NaN where an event has none.
    """
    columns = 2 if len(features) in {2, 4} else min(3, len(features))
    rows = math.ceil(len(features) / columns)
    figure = new_figure(10.8 if columns > 1 else 5.4, 2.9 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    few = min(effective_events(events.weight[m]) for m in (events.is_signal, ~events.is_signal))
    bins = 15 if few < 1000 else 30
    for axes, (name, raw) in zip(grid.flat, features.items(), strict=False):
        column = np.asarray(raw, dtype=np.float64)
        known = np.isfinite(column)
        edges = feature_edges(column[known], bins)
        for chosen, colour, label, filling in (
            (~events.is_signal & known, "#9c9ca1", "Background", True),
            (events.is_signal & known, SIGNAL_COLOUR, "Signal", False),
        ):
            contents, errors = shape(column[chosen], events.weight[chosen], edges)
            if not np.isfinite(contents).all():
                continue
            axes.stairs(
                contents, edges, fill=filling, color=colour, linewidth=1.8, label=label,
                alpha=0.55 if filling else 1,
            )  # fmt: skip
            _error_bars(axes, contents, errors, edges, "#55555a" if filling else colour)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        axes.margins(y=0.12)
        axes.set_xlabel(escaped(name))
    for axes in grid[:, 0]:
        axes.set_ylabel("Fraction / bin")
    for axes in list(grid.flat)[len(features) :]:
        axes.set_visible(False)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def _error_bars(
    axes: Axes,
    contents: NDArray[np.float64],
    errors: NDArray[np.float64],
    edges: NDArray[np.float64],
    colour: str,
    marker: str = "",
) -> None:
    shown = errors > 0
    axes.errorbar(
        (0.5 * (edges[1:] + edges[:-1]))[shown], contents[shown], errors[shown],
        fmt=marker or "none", color=colour, ecolor=colour, markersize=3, linewidth=0, elinewidth=1.1,
    )  # fmt: skip


def _legend_share(entries: int) -> float:
    """Share of the axes' height that a legend of two columns takes."""
    return 0.06 + 0.062 * math.ceil(entries / 2)


def _logarithmic(axes: Axes, contents: NDArray[np.float64], entries: int) -> None:
    """Log scale from below the smallest positive bin to room for the legend above the highest."""
    positive = contents[contents > 0]
    if positive.size == 0:
        return
    highest = float(positive.max())
    lowest = max(0.5 * float(positive.min()), 1e-5 * highest)
    axes.set_yscale("log")
    share = _legend_share(entries)
    axes.set_ylim(lowest, highest * (highest / lowest) ** (share / (1 - share)))
