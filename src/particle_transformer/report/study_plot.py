"""The plot of a study: how the loss fell from trial to trial, and what it depends on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from particle_transformer.atomic import replacing
from particle_transformer.errors import require
from particle_transformer.report.style import SIGNAL_COLOUR, escaped, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Trial", "study_plot", "write_study_plot"]

_COLUMNS = 3

_COMPLETE, _PRUNED = "#5790fc", "#717581"


class Trial(Protocol):
    """What is drawn of a trial, as `particle_transformer.studies.TrialRecord` has it."""

    @property
    def number(self) -> int:
        """From 0."""

    @property
    def state(self) -> str:
        """``complete``, ``pruned``, or anything else, which is not drawn."""

    @property
    def loss(self) -> float | None:
        """Validation loss."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What was tried, by key."""


def study_plot(
    trials: Sequence[Trial],
    importance: Mapping[str, float],
    ranges: Mapping[str, bool],
) -> Figure:
    """Validation loss against the trial's number, and against each of its settings.

    Pruned trials have the loss at which they were given up. Losses far above the others are drawn
    at the upper edge, by triangles: else they would squeeze the rest.

    Parameters
    ----------
    trials
        The trials, of which at least one is complete.
    importance
        Share of each setting in the variance of the loss; empty: not told.
    ranges
        Settings that are drawn on an axis of numbers, and whether it is logarithmic; the others
        are choices.
    """
    drawn = [trial for trial in trials if trial.state in ("complete", "pruned")]
    names = dict.fromkeys(key for trial in drawn for key in trial.values)
    keys = sorted(names, key=lambda key: -importance.get(key, 0.0))
    rows = math.ceil(len(keys) / _COLUMNS)
    ticker = require("matplotlib.ticker", "report")
    figure = new_figure(3.9 * _COLUMNS, 3.4 + 2.9 * rows)
    grid = figure.add_gridspec(rows + 1, _COLUMNS, height_ratios=[1.15, *[1.0] * rows])
    history: Axes = figure.add_subplot(grid[0, :])
    low, top = _limits(drawn)
    _draw(history, drawn, [float(trial.number) for trial in drawn], top)
    complete = [trial for trial in drawn if trial.state == "complete"]
    losses = np.array([trial.loss for trial in complete], dtype=float)
    running = np.minimum.accumulate(losses)
    history.step(
        [trial.number for trial in complete], running, where="post", color="black",
        label="Best so far",
    )  # fmt: skip
    history.set_xlabel("Trial")
    history.set_ylabel("Validation loss")
    history.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    history.tick_params(axis="x", which="minor", bottom=False, top=False)
    history.set_xlim(-0.5, max(trial.number for trial in drawn) + 0.5)
    history.set_ylim(low, top)
    history.legend(loc="upper right", ncols=2, fontsize=10)
    first: Axes | None = None
    for position, key in enumerate(keys):
        axes = figure.add_subplot(grid[1 + position // _COLUMNS, position % _COLUMNS], sharey=first)
        first = first or axes
        _slice(axes, key, [trial for trial in drawn if key in trial.values], ranges, top)
        axes.set_ylim(low, top)
        if key in importance:
            axes.set_title(f"importance {100 * importance[key]:.0f}%", loc="right", fontsize=11)
        if position % _COLUMNS:
            axes.tick_params(axis="y", labelleft=False)
        else:
            axes.set_ylabel("Validation loss")
    return figure


def write_study_plot(path: Path, figure: Figure) -> None:
    """Write a plot as an image.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with styled(), replacing(path) as partial:
        # No version and no date inside, so that equal content gives equal files.
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})


def _limits(trials: Sequence[Trial]) -> tuple[float, float]:
    """Ends of the loss axis: all complete trials but those far above the better half."""
    losses = np.array(
        [trial.loss for trial in trials if trial.state == "complete" and trial.loss is not None]
    )
    best, middle, worst = float(losses.min()), float(np.median(losses)), float(losses.max())
    top = min(worst, best + 4 * (middle - best)) if middle > best else worst
    span = top - best or 0.1 * abs(best) or 1.0
    # Room above for the legend.
    return best - 0.08 * span, top + 0.3 * span


def _draw(axes: Axes, trials: Sequence[Trial], x: Sequence[float], top: float) -> None:
    # A trial that was given up before its first epoch came to an end has no loss: above all.
    loss = np.array([math.inf if trial.loss is None else trial.loss for trial in trials])
    place, above = np.array(x), ~(loss <= top)
    states = np.array([trial.state for trial in trials])
    for state, colour, marker in (("complete", _COMPLETE, "o"), ("pruned", _PRUNED, "x")):
        shown = (states == state) & ~above
        if shown.any():
            axes.scatter(
                place[shown], loss[shown], color=colour, marker=marker, s=26, linewidths=1.2,
                label=state.capitalize(),
            )  # fmt: skip
        hidden = (states == state) & above
        if hidden.any():
            axes.scatter(
                place[hidden], np.full(hidden.sum(), top), color=colour, marker="^", s=34,
                clip_on=False, zorder=4, label=f"{state.capitalize()}, above",
            )  # fmt: skip
    best = int(np.argmin(np.where(states == "complete", loss, math.inf)))
    axes.plot(
        place[best], loss[best], marker="*", markersize=14, color=SIGNAL_COLOUR,
        markeredgecolor="black", linestyle="", zorder=5, label=f"Best: trial {trials[best].number}",
    )  # fmt: skip


def _slice(
    axes: Axes, key: str, trials: Sequence[Trial], ranges: Mapping[str, bool], top: float
) -> None:
    values = [trial.values[key] for trial in trials]
    if key in ranges:
        x = [float(value) for value in values]
        if ranges[key]:
            axes.set_xscale("log")
            if max(x) < 30 * min(x):  # else the labels between the decades overlap
                ticker = require("matplotlib.ticker", "report")
                axes.xaxis.set_minor_formatter(
                    ticker.LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf))
                )
                axes.xaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5)))
    else:
        numbers = all(isinstance(value, int | float) for value in values)
        kinds = sorted(set(values), key=None if numbers else str)
        x = [float(kinds.index(value)) for value in values]
        axes.set_xticks(range(len(kinds)), [escaped(_short(kind)) for kind in kinds])
        axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    _draw(axes, trials, x, top)
    axes.set_xlabel(escaped(key))


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 14 else f"{text[:13]}…"
