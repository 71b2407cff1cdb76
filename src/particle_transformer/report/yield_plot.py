"""Expected yields of the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import passing
from particle_transformer.report.style import escaped, looks, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from particle_transformer.evaluation import ScoredEvents

__all__ = ["yield_plot"]


def yield_plot(events: ScoredEvents, metrics: Mapping[str, Any], luminosity: str) -> Figure:
    """Yield of each process, of all events and behind the counting experiment's cut.

    Parameters
    ----------
    events
        Test events of the signal regions.
    metrics
        For the thresholds of the cut.
    luminosity
        Text of luminosity and energy.
    """
    figure = new_figure(height=5.0)
    axes: Axes = figure.add_subplot()
    thresholds = metrics["significance"]["thresholds"]
    cut = {int(fold): float(t) for fold, t in thresholds.items() if t is not None}
    every = np.ones(len(events), dtype=bool)
    steps = [(every, "full", "o", "All events", 0.14)]
    if metrics["significance"]["signal_yield"] is not None:
        steps.append((passing(events, cut), "none", "s", "Behind the score cut", -0.14))
    appearance = looks(events)
    order = [*events.backgrounds[::-1], *events.signals[::-1]]
    for mask, filling, marker, label, shift in steps:
        for position, index in enumerate(order):
            weight = events.weight[mask & (events.process == index)]
            total = float(weight.sum())
            if total <= 0:
                continue
            axes.errorbar(
                total, position + shift, xerr=float(np.sqrt(np.sum(weight**2))), fmt=marker,
                color=appearance[index].colour, markeredgecolor="black", fillstyle=filling,
                ecolor="black", markersize=8, capsize=3, elinewidth=1.2,
            )  # fmt: skip
        axes.plot([], [], marker, color="black", fillstyle=filling, markersize=8, label=label)
    axes.set_xscale("log")
    axes.set_ylim(-0.6, len(order) - 0.4 + 0.12 * len(order) + 0.4)
    axes.set_yticks(range(len(order)), [escaped(events.processes[index]) for index in order])
    axes.tick_params(axis="y", which="both", left=False, right=False)
    axes.grid(axis="x", which="major", linestyle=":", color="#9c9ca1")
    axes.set_axisbelow(True)
    axes.set_xlabel("Expected events")
    axes.legend(loc="upper center", ncols=2)
    stamp(axes, "Simulation, out-of-fold", luminosity)
    return figure
