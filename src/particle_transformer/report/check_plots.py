"""Checks of the score: overtraining and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.events.classes import SIGNAL
from particle_transformer.report.histograms import shape
from particle_transformer.report.score_plots import SCORE_LABEL, score_edges
from particle_transformer.report.style import CLASS_COLOURS, escaped, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from particle_transformer.evaluation import Reliability, ScoredEvents

__all__ = ["overtraining_plot", "reliability_plot"]


def overtraining_plot(
    test: ScoredEvents, training: ScoredEvents, overtraining: Mapping[str, Any]
) -> Figure:
    """Normalised scores of training and test events by class, with the Kolmogorov-Smirnov p-values.

    Parameters
    ----------
    test, training
        In the signal regions; scores of networks that have never seen the event, and of those that
        were trained with it.
    overtraining
        The block ``overtraining`` of the metrics.
    """
    figure = new_figure(height=5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = score_edges(test)
    centres, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (edges[1] - edges[0])
    highest, classes = 0.0, len(overtraining["classes"])
    for number, (name, folds) in enumerate(overtraining["classes"].items()):
        colour, line, marker = CLASS_COLOURS[number % len(CLASS_COLOURS)]
        own = [index for index, kind in enumerate(test.process_class) if kind == name]
        (contents, error), (seen, seen_error) = (
            shape(events.score[chosen], events.weight[chosen], edges)
            for events in (test, training)
            for chosen in [np.isin(events.process, own)]
        )
        if not (np.isfinite(contents).all() and np.isfinite(seen).all()):
            continue
        title = "Signal" if name == SIGNAL else escaped(name).capitalize()
        p_values = ", ".join(
            "–" if fold["p_value"] is None else f"{fold['p_value']:.2g}" for fold in folds.values()
        )
        upper.stairs(
            contents, edges, color=colour, linestyle=line, fill=False, linewidth=2,
            label=f"{title}, test",
        )  # fmt: skip
        upper.errorbar(
            centres, seen, seen_error, half, fmt=marker, color=colour, markersize=4, linewidth=0,
            elinewidth=1.1, markeredgecolor="black", markeredgewidth=0.5,
            label=f"{title}, training; KS p by fold: {p_values}",
        )  # fmt: skip
        both = (contents > 0) & (seen > 0)
        ratio, spread = (
            seen[both] / contents[both],
            np.hypot(
                seen_error[both] / contents[both], seen[both] * error[both] / contents[both] ** 2
            ),
        )
        # Side by side, and all of them within the bin.
        shift = (number - (classes - 1) / 2) * min(0.3, 1.4 / classes) * half
        lower.errorbar(
            centres[both] + shift, ratio, spread, fmt=marker, color=colour, markersize=4,
            linewidth=0, elinewidth=1.1, markeredgecolor="black", markeredgewidth=0.5,
        )  # fmt: skip
        highest = max(highest, float(np.max(contents + error)), float(np.max(seen + seen_error)))
    upper.set_ylim(0, highest / max(0.94 - 0.11 * classes, 0.2) or 1.0)
    upper.set_ylabel(f"Fraction of events / {edges[1] - edges[0]:.3g}")
    upper.legend(loc="upper center", fontsize=10)
    lower.axhline(1, color="#717581", linewidth=1)
    lower.set_ylim(0.5, 1.5)
    lower.set_ylabel("Training / test")
    lower.set_xlabel(SCORE_LABEL)
    lower.set_xlim(0, 1)
    stamp(upper, "Simulation", "each class normalised to 1")
    return figure


def reliability_plot(
    before: Reliability,
    after: Reliability | None = None,
    labels: tuple[str, str] = ("Test events", "Scaled by temperatures"),
) -> Figure:
    """Observed signal fraction against the mean score, under a balanced prior.

    Parameters
    ----------
    before
        Of the scores as they are.
    after
        Of the scores as scaled by the temperatures of the networks.
    labels
        Of the two in the legend.
    """
    figure = new_figure(height=5.0)
    axes: Axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#55555a", linestyle="--", linewidth=1.2, label="Calibrated")
    tables = [(before, "o", "black", "full"), (after, "s", "#5790fc", "none")]
    for (table, marker, colour, filling), label in zip(tables, labels, strict=True):
        if table is not None:
            axes.errorbar(
                table.mean_score, table.signal_fraction, table.error, fmt=marker, color=colour,
                fillstyle=filling, markersize=5, capsize=2, linewidth=1.2, label=label,
            )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("Mean score")
    axes.set_ylabel("Signal fraction (balanced prior)")
    axes.legend(loc="upper left", fontsize=10)
    stamp(axes, "Simulation, out-of-fold", "")
    return figure
