"""ROC curve, AUC by fold, training history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import roc_curve
from particle_transformer.report.numbers import figure_text
from particle_transformer.report.style import SIGNAL_COLOUR, escaped, looks, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from particle_transformer.evaluation import RocBand, ScoredEvents

__all__ = ["auc_by_fold", "best_epoch", "roc_plot", "training_curves"]


def roc_plot(events: ScoredEvents, band: RocBand, metrics: Mapping[str, Any]) -> Figure:
    """Background rejection against signal efficiency, with band, processes and working points.

    Parameters
    ----------
    events
        Test events of the signal regions.
    band
        ROC curve of the same events.
    metrics
        For the AUC and the working points.
    """
    figure = new_figure(height=5.0)
    axes: Axes = figure.add_subplot()
    grid = band.signal_efficiency
    # A point without simulated background behind it has no rejection; the curve starts later.
    shown = band.background_efficiency > 0
    banded = shown & (band.low > 0) & (band.high > 0)
    axes.fill_between(
        grid[banded], 1 / band.high[banded], 1 / band.low[banded], color="black", alpha=0.25,
        linewidth=0, label="68% bootstrap interval",
    )  # fmt: skip
    axes.plot(
        grid[shown], 1 / band.background_efficiency[shown], color="black", linewidth=2.0,
        label=f"All backgrounds, AUC {figure_text(metrics['auc'])}",
    )  # fmt: skip
    tops = [(grid[shown], 1 / band.background_efficiency[shown])]
    for index in events.backgrounds:
        members = (events.process == index) | events.is_signal
        curve = roc_curve(events.score[members], events.weight[members], events.is_signal[members])
        if curve is None:
            continue
        background = curve.background_at(grid)
        seen = background > 0
        tops.append((grid[seen], 1 / background[seen]))
        look, name = looks(events)[index], events.processes[index]
        axes.plot(
            grid[seen], 1 / background[seen], color=look.colour, linestyle=look.line,
            label=f"{escaped(name)}, AUC {figure_text(metrics['processes'][name]['auc'])}",
        )  # fmt: skip
    points = [point for point in metrics["rejection"].values() if point["value"] is not None]
    if points:
        axes.errorbar(
            [point["signal_efficiency"] for point in points],
            [point["value"] for point in points],
            [point["error"] or 0.0 for point in points],
            fmt="o", color=SIGNAL_COLOUR, markeredgecolor="black", markersize=7, capsize=3,
            zorder=5, label="Working points (validation thresholds)",
        )  # fmt: skip
    axes.plot(grid, 1 / grid, color="#55555a", linewidth=1, linestyle=(0, (1, 1)), label="Guessing")
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    # All curves stay below the legend where it stands, right of 25 % signal efficiency, and inside
    # the axes from 10 % on; further left, rejection is a matter of a handful of simulated events.
    share = min(0.6, 0.07 + 0.052 * (len(tops) + 3))
    right = max((float(np.max(y[x >= 0.25], initial=10.0)) for x, y in tops), default=10.0)
    left = max((float(np.max(y[x >= 0.1], initial=10.0)) for x, y in tops), default=10.0)
    axes.set_ylim(1, max(1.2 * left, right ** (1 / (1 - share))))
    axes.set_xlabel("Signal efficiency")
    axes.set_ylabel("Background rejection 1/(background efficiency)")
    axes.legend(loc="upper right", fontsize=10)
    stamp(axes, "Simulation, out-of-fold", "")
    return figure


def auc_by_fold(metrics: Mapping[str, Any]) -> Figure:
    """AUC of each fold with its error, and that of all events as a band."""
    figure = new_figure(height=5.0)
    axes: Axes = figure.add_subplot()
    total = metrics["auc"]
    if total["value"] is not None:
        axes.axhline(total["value"], color=SIGNAL_COLOUR, label=f"All folds: {figure_text(total)}")
        if total["error"]:
            low, high = total["value"] - total["error"], total["value"] + total["error"]
            axes.axhspan(low, high, color=SIGNAL_COLOUR, alpha=0.2, linewidth=0)
    known = {fold: part["auc"] for fold, part in metrics["folds"].items() if part["auc"]["value"]}
    axes.errorbar(
        [int(fold) for fold in known],
        [part["value"] for part in known.values()],
        [part["error"] or 0.0 for part in known.values()],
        fmt="o", color="black", capsize=3, markersize=5, linewidth=1.3, label="One fold each",
    )  # fmt: skip
    folds = len(metrics["folds"])
    axes.set_xlim(-0.5, folds - 0.5)
    axes.set_xticks(range(folds))
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.margins(y=0.3)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("Fold (its network never saw these events)")
    axes.set_ylabel("AUC")
    axes.legend(loc="upper right")
    stamp(axes, "Simulation, out-of-fold", "")
    return figure


def best_epoch(history: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The epoch with the lowest validation loss; the first of them."""
    return min(history, key=lambda row: row["val_loss"])


def training_curves(history: Mapping[int, Sequence[Mapping[str, float]]]) -> Figure:
    """Loss of training and validation events by epoch, a panel for each fold."""
    columns = min(3, len(history))
    rows = math.ceil(len(history) / columns)
    figure = new_figure(3.6 * columns, 2.7 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, (fold, epochs) in zip(grid.flat, sorted(history.items()), strict=False):
        x = [row["epoch"] for row in epochs]
        mark = "." if len(epochs) < 40 else ""
        axes.plot(
            x, [row["train_loss"] for row in epochs], color="#5790fc", marker=mark, label="Training"
        )
        axes.plot(
            x, [row["val_loss"] for row in epochs], color="black", linestyle="--", marker=mark,
            label="Validation",
        )  # fmt: skip
        best = best_epoch(epochs)
        axes.plot(
            best["epoch"], best["val_loss"], marker="*", markersize=13, color=SIGNAL_COLOUR,
            markeredgecolor="black", linestyle="", label="Best epoch (network used)",
        )  # fmt: skip
        axes.set_title(f"Fold {fold}", loc="left", fontsize=11)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    hidden = list(grid.flat)[len(history) :]
    for axes in hidden:
        axes.set_visible(False)
    for position, axes in enumerate(grid.flat):
        below = position + columns
        if below >= len(history) and axes not in hidden:
            axes.tick_params(axis="x", labelbottom=True)
            axes.set_xlabel("Epoch")
    for axes in grid[:, 0]:
        axes.set_ylabel("Loss")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3)
    return figure
