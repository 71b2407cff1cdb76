"""The fit behind the expected limit: templates of its regions, and the limit with its bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import require
from particle_transformer.report.numbers import with_error
from particle_transformer.report.style import SIGNAL_COLOUR, escaped, looks, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.evaluation import ScoredEvents

__all__ = ["limit_plot", "template_plot"]

ONE_SIGMA, TWO_SIGMA = "#607641", "#f5bb54"
"""Colours of the bands; the inner one is also the darker one in print."""


def template_plot(events: ScoredEvents, limit: Mapping[str, Any], luminosity: str) -> Figure:
    """Expected yields in the bins of the fit, with the error before and after it.

    Each signal region has a panel, and the control regions have one together. Below: the relative
    error of the total background.

    Parameters
    ----------
    events
        Any with the processes of the fit, for their looks.
    limit
        The block ``limit`` of the metrics, where the limit is defined.
    luminosity
        Text of luminosity and energy.
    """
    regions: Mapping[str, Any] = limit["regions"]
    signal = [[name] for name, region in regions.items() if region["role"] == "signal"]
    control = [name for name, region in regions.items() if region["role"] == "control"]
    panels = [*signal, control] if control else signal
    widths = [
        max(2.0, sum(len(regions[name]["effective_events"]) for name in names)) for names in panels
    ]
    figure = new_figure(5.2 + 0.42 * sum(widths), 5.4)
    grid = figure.subplots(
        2, len(panels), squeeze=False, sharex="col", sharey="row",
        gridspec_kw={"height_ratios": [3, 1], "width_ratios": widths},
    )  # fmt: skip
    handles: dict[str, Any] = {}
    tops, bottoms = [], []
    for column, names in enumerate(panels):
        top, bottom = _panel(grid[0, column], events, limit, names, handles)
        tops.append(top)
        bottoms.append(bottom)
        shown = _errors(grid[1, column], [regions[name]["background"] for name in names])
        labels = _labels(regions, names)
        turned = {"rotation": 30, "ha": "right"} if names == control and len(control) > 1 else {}
        grid[1, column].set_xticks(np.arange(len(labels)) + 0.5, labels, **turned)
        grid[1, column].set_xlabel(
            f"Bin of the score, region {escaped(names[0])}"
            if regions[names[0]]["role"] == "signal"
            else "Control regions",
            loc="center",
        )
        for axes in grid[:, column]:
            axes.tick_params(axis="x", which="both", bottom=False, top=False)
            axes.set_xlim(0, len(labels))
    grid[0, 0].set_yscale("log")
    grid[0, 0].set_ylim(min(bottoms), 2 * max(tops))
    grid[0, 0].set_ylabel("Events")
    grid[1, 0].set_ylabel("Rel. error")
    stamp(grid[0, 0], "Simulation, out-of-fold", luminosity if len(panels) == 1 else "")
    if len(panels) > 1:
        stamp(grid[0, -1], "", luminosity)
    handles |= shown
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=10)
    return figure


def _panel(
    axes: Axes,
    events: ScoredEvents,
    limit: Mapping[str, Any],
    names: Sequence[str],
    handles: dict[str, Any],
) -> tuple[float, float]:
    """Draw the yields of the regions side by side; give the highest and a low value."""
    appearance = looks(events)
    yields = {
        process: np.concatenate(
            [limit["regions"][name]["processes"][process]["yields"] for name in names]
        )
        for process in events.processes
    }
    # What the model has: bins with a negative sum of weights are set to 0 there.
    yields = {process: np.maximum(values, 0) for process, values in yields.items()}
    edges = np.arange(len(next(iter(yields.values()))) + 1)
    backgrounds = sorted(
        events.backgrounds, key=lambda index: float(yields[events.processes[index]].sum())
    )
    base, top = np.zeros(len(edges) - 1), 0.0
    stack = []
    for index in backgrounds:
        name, look = events.processes[index], appearance[index]
        patch = axes.stairs(
            base + yields[name], edges, baseline=base, fill=True, facecolor=look.colour,
            edgecolor="black", linewidth=0.6, hatch=look.hatch,
        )  # fmt: skip
        stack.append((escaped(name), patch))
        base = base + yields[name]
    for key in ("errors_before_fit", "errors_after_fit"):
        error = np.concatenate([limit["regions"][name]["background"][key] for name in names])
        axes.stairs(
            base + error, edges, baseline=np.maximum(base - error, 1e-9), fill=True,
            facecolor="black", alpha=0.35, linewidth=0,
        )  # fmt: skip
        top = max(top, float(np.max(base + error)))
    strength = float(limit["median"])
    total = strength * np.sum([yields[events.processes[i]] for i in events.signals], axis=0)
    effects = require("matplotlib.patheffects", "report")
    line = axes.stairs(
        total, edges, color=SIGNAL_COLOUR, linewidth=2.2,
        path_effects=[effects.withStroke(linewidth=4.2, foreground="white")],
    )  # fmt: skip
    handles[f"Signal × {with_error(strength, None, 3)} (the median limit)"] = line
    handles.update(reversed(stack))
    positive = np.concatenate([base[base > 0], total[total > 0]])
    return top, max(0.4 * float(positive.min()), 1e-4 * float(base.max()))


def _errors(axes: Axes, backgrounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Relative errors of the background before (light, hatched) and after the fit (dark)."""
    total = np.concatenate([part["yields"] for part in backgrounds])
    edges, shown = np.arange(len(total) + 1), {}
    for key, label, colour, hatch in (
        ("errors_before_fit", "Error before the fit", "#c9c9ce", "////"),
        ("errors_after_fit", "Error after the fit", "#3f3f44", ""),
    ):
        relative: NDArray[np.float64] = np.concatenate([part[key] for part in backgrounds]) / total
        shown[label] = axes.stairs(
            relative, edges, baseline=-relative, fill=True, linewidth=0.5, facecolor=colour,
            hatch=hatch, edgecolor="#717581",
        )  # fmt: skip
    axes.axhline(0, color="white", linewidth=1)
    return shown


def _labels(regions: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    if regions[names[0]]["role"] == "control":
        return [escaped(name) for name in names]
    return [str(number) for number in range(1, len(regions[names[0]]["effective_events"]) + 1)]


def limit_plot(limit: Mapping[str, Any]) -> Figure:
    """The expected limit with its bands of one and two standard deviations.

    Parameters
    ----------
    limit
        The block ``limit`` of the metrics, where the limit is defined.
    """
    low2, low1, median, high1, high2 = limit["band"]
    figure = new_figure(6.4, 2.3)
    axes: Axes = figure.add_subplot()
    bands: tuple[tuple[float, float, str, str], ...] = (
        (low2, high2, TWO_SIGMA, "±2 σ"),
        (low1, high1, ONE_SIGMA, "±1 σ"),
    )
    for low, high, colour, label in bands:
        axes.barh(
            0, high - low, left=low, height=0.5, color=colour, edgecolor="black", linewidth=0.6,
            label=f"{label}: {with_error(low, None, 3)} to {with_error(high, None, 3)}",
        )  # fmt: skip
    axes.plot(
        [median, median], [-0.25, 0.25], color="black", linestyle="--", linewidth=2,
        label=f"Median: {with_error(median, None, 3)}",
    )  # fmt: skip
    axes.axvline(1, color=SIGNAL_COLOUR, linewidth=1.4, linestyle=":", label="Strength 1")
    axes.set_xlim(0, 1.1 * max(high2, 1))
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([])
    axes.set_xlabel(f"Expected {100 * limit['level']:g} % CL upper limit on the signal strength")
    figure.legend(loc="outside right center", fontsize=10)
    stamp(axes, "Simulation, out-of-fold", "CLs, asymptotic")
    return figure
