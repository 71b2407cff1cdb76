"""Plots of a comparison: ROC curves of all methods, and how the reference compares with each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.report.style import SIGNAL_COLOUR, escaped, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ratio_plot", "roc_overlay"]

_COLOURS = ("#5790fc", "#f89c20", "#717581", "#7a21dd", "#86c8dd", "#b9ac70")
_LINES: tuple[Any, ...] = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))
_MARKERS = ("o", "s", "^", "v", "D", "P")


def roc_overlay(result: Mapping[str, Any]) -> Figure:
    """Background rejection against signal efficiency of every method, with bands.

    Parameters
    ----------
    result
        The content of ``compare.json``.
    """
    figure = new_figure(height=5.2)
    axes: Axes = figure.add_subplot()
    others = [name for name in result["methods"] if name != result["reference"]]
    for name, method in result["methods"].items():
        if method["roc"] is None:
            continue
        first = name == result["reference"]
        place = 0 if first else others.index(name) % len(_COLOURS)
        colour, line = (SIGNAL_COLOUR, "-") if first else (_COLOURS[place], _LINES[place])
        grid = np.array(method["roc"]["signal_efficiency"])
        kept = np.array(method["roc"]["background_efficiency"])
        error = np.array(method["roc"]["error"])
        # Without simulated background behind a point it has no rejection; the curve starts later.
        shown = (kept > 0) & (kept > error)
        axes.fill_between(
            grid[shown], 1 / (kept + error)[shown], 1 / (kept - error)[shown], color=colour,
            alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.plot(
            grid[shown], 1 / kept[shown], color=colour, linestyle=line,
            linewidth=2.2 if first else 1.5, label=escaped(method["label"]),
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=1)
    axes.set_xlabel("Signal efficiency")
    axes.set_ylabel("Background rejection")
    axes.legend(loc="upper right")
    return figure


def ratio_plot(result: Mapping[str, Any]) -> Figure:
    """Ratio of rejections, the reference's over each method's, at every working point."""
    others = {name: m for name, m in result["methods"].items() if "versus" in m}
    points = result["working_points"]
    figure = new_figure(height=1.6 + 0.75 * len(others))
    axes: Axes = figure.add_subplot()
    for number, point in enumerate(points):
        shift = 0.22 * (number - (len(points) - 1) / 2)
        drawn = [
            (place, method["versus"]["rejection"][point])
            for place, method in enumerate(others.values())
            if method["versus"]["rejection"][point]["value"] is not None
        ]
        axes.errorbar(
            [ratio["value"] for _, ratio in drawn],
            [place + shift for place, _ in drawn],
            xerr=[ratio["error"] or 0.0 for _, ratio in drawn],
            fmt=_MARKERS[number % len(_MARKERS)], color=_COLOURS[number % len(_COLOURS)],
            markeredgecolor="black", markersize=6, capsize=3,
            label=f"at {100 * float(point):g}% signal efficiency",
        )  # fmt: skip
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(others)), [escaped(method["label"]) for method in others.values()])
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_ylim(len(others) - 0.5, -0.5)
    name = result["methods"][result["reference"]]["label"]
    axes.set_xlabel(f"Rejection of {escaped(name)} / rejection of the method")
    axes.legend(loc="best", fontsize=10)
    return figure
