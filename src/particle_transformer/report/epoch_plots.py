"""What a network does after an epoch of its training: scores, ROC curve, correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation import auc, effective_events, roc_curve
from particle_transformer.report.histograms import shape
from particle_transformer.report.numbers import count
from particle_transformer.report.style import SIGNAL_COLOUR, escaped, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.training.scores import Scores

__all__ = ["correlation_plot", "roc_plot", "score_plot"]

_BACKGROUND = "#55555a"
_NUMBERED = 30
"""Quantities up to which the numbers fit into the cells."""


def score_plot(validation: Scores, training: Scores | None, title: str) -> Figure:
    """Normalised score distributions of signal and background, with statistical errors.

    Parameters
    ----------
    validation, training
        Validation events are steps, training events points; they should agree within their
        errors.
    title
        Whose scores they are.
    """
    figure, axes = _single()
    few = effective_events(validation.weight[~validation.is_signal]) < 1000
    edges = np.linspace(0, 1, 11 if few else 26)
    centres = 0.5 * (edges[1:] + edges[:-1])
    tops, bottoms = [1e-9], [0.0]
    for signal, name, colour, hatch, marker in (
        (False, "Background", _BACKGROUND, "////", "s"),
        (True, "Signal", SIGNAL_COLOUR, "", "o"),
    ):
        own = validation.is_signal == signal
        contents, errors = shape(validation.score[own], validation.weight[own], edges)
        if np.isfinite(contents).all():
            axes.stairs(
                contents, edges, fill=not signal, facecolor="#dcdce0", edgecolor=colour,
                hatch=hatch, linewidth=2.0, label=f"{name}, validation",
            )  # fmt: skip
            seen = errors > 0
            axes.errorbar(
                centres[seen], contents[seen], errors[seen], fmt="none", ecolor=colour,
                elinewidth=1.1,
            )  # fmt: skip
            tops.append(float(np.max(contents + errors)))
            bottoms.append(float(np.min(contents - errors)))
        if training is None:
            continue
        own = training.is_signal == signal
        contents, errors = shape(training.score[own], training.weight[own], edges)
        if np.isfinite(contents).all():
            seen = errors > 0
            axes.errorbar(
                centres[seen], contents[seen], errors[seen], fmt=marker, color=colour, markersize=5,
                markerfacecolor=colour if signal else "white", elinewidth=1.1, capsize=2,
                label=f"{name}, training",
            )  # fmt: skip
            tops.append(float(np.max(contents + errors)))
            bottoms.append(float(np.min(contents - errors)))
    axes.set_xlim(0, 1)
    low = 1.05 * min(bottoms)
    axes.set_ylim(low, low + (max(tops) - low) / 0.8)  # the legend stands above
    axes.set_xlabel("Network score (probability of signal)")
    axes.set_ylabel(f"Fraction of weighted events / {edges[1]:.3g}")
    if axes.get_legend_handles_labels()[0]:  # a class without positive weight has no shape
        axes.legend(ncols=2, loc="upper center")
    stamp(axes, title, "each normalised to 1")
    return figure


def roc_plot(validation: Scores, training: Scores | None, title: str) -> Figure:
    """Background rejection against signal efficiency, with AUC and effective events.

    Parameters
    ----------
    validation, training
        Events; signed physics weights.
    title
        Whose curve it is.
    """
    figure, axes = _single()
    grid = np.linspace(0.01, 1, 100)
    highest = 10.0
    for events, name, colour, line in (
        (validation, "Validation", "black", "-"),
        (training, "Training", "#5790fc", "--"),
    ):
        curve = None if events is None else roc_curve(*events)
        if events is None or curve is None:
            continue
        found = auc(*events)
        background = curve.background_at(grid)
        shown = background > 0  # without simulated background behind it there is no rejection
        axes.plot(
            grid[shown], 1 / background[shown], color=colour, linestyle=line, linewidth=2.0,
            label=f"{name}, AUC {found.value:.4f} ({count(found.effective_events)} effective events)",
        )  # fmt: skip
        highest = max(highest, float(np.max(1 / background[shown & (grid >= 0.1)], initial=1.0)))
    axes.plot(grid, 1 / grid, color=_BACKGROUND, linewidth=1, linestyle=":", label="Guessing")
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(1, highest ** (1 / 0.75))  # the legend stands above
    axes.set_xlabel("Signal efficiency")
    axes.set_ylabel("Background rejection 1/(background efficiency)")
    axes.legend(loc="upper right", fontsize=10)
    stamp(axes, title, "")
    return figure


def correlation_plot(
    correlation: NDArray[np.float64], names: Sequence[str], events: float, title: str
) -> Figure:
    """Linear correlation coefficients in percent; the matrix is symmetric, so half of it.

    Parameters
    ----------
    correlation
        float64 (quantities, quantities): NaN where undefined; such a cell is crossed.
    names
        Of the quantities; the score is the last.
    events
        Effective number of events.
    title
        Whose correlations they are.
    """
    size = len(names)
    font = 9 if size <= 20 else 7
    side = max(3.2, 0.36 * size)
    labels = 0.25 + 0.0067 * (font + 1) * max(map(len, names))  # what the longest one takes
    width, height = labels + side + 1.2, labels + side + 0.4
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((labels / width, labels / height, side / width, side / height))
    lower = np.tri(size, dtype=bool)
    image = axes.imshow(
        np.ma.masked_where(~lower, correlation), cmap="RdBu_r", vmin=-1, vmax=1, aspect="equal"
    )
    for row, column in zip(*np.nonzero(lower), strict=True):
        value = correlation[row, column]
        if np.isnan(value):
            axes.text(column, row, "×", ha="center", va="center", fontsize=font, color=_BACKGROUND)
        elif size <= _NUMBERED:
            text = f"{100 * value:.0f}".replace("-0", "0").replace("-", "−")
            dark = abs(value) > 0.6
            axes.text(
                column, row, text, ha="center", va="center", fontsize=font,
                color="white" if dark else "black",
            )  # fmt: skip
    shown = [escaped(name) for name in names]
    axes.set_xticks(range(size), shown, rotation=90, fontsize=font + 1)
    axes.set_yticks(range(size), shown, fontsize=font + 1)
    axes.tick_params(which="both", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    beside = figure.add_axes(
        (
            (labels + side + 0.15) / width,
            (labels + 0.1 * side) / height,
            0.16 / width,
            0.8 * side / height,
        )
    )
    bar = figure.colorbar(image, cax=beside)
    bar.set_label("Linear correlation coefficient", fontsize=11)
    bar.ax.tick_params(labelsize=10)
    axes.set_title(escaped(title), loc="left", fontsize=11, style="italic")
    axes.text(
        0.98, 0.98, f"Background, validation\n{count(events)} effective events\nnumbers in %",
        transform=axes.transAxes, ha="right", va="top", fontsize=10,
    )  # fmt: skip
    return figure


def _single() -> tuple[Figure, Axes]:
    """A figure with axes in a fixed place: finding the best one takes longer than drawing."""
    figure = new_figure(height=5.0)
    figure.set_layout_engine("none")
    return figure, figure.add_axes((0.125, 0.125, 0.85, 0.8))
