"""Plots of what a run's networks look at: importances and attributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.report.style import SIGNAL_COLOUR, escaped, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["attribution_plot", "importance_plot", "object_plot"]

_GROUPS = ("collection", "event features")
_ROW = 0.32  # inches


def importance_plot(result: Mapping[str, Any]) -> Figure:
    """AUC lost and loss gained where an input is permuted, single ones above groups of them.

    Parameters
    ----------
    result
        The content of ``explain.json``, with a defined AUC.
    """
    single = [part for part in result["permutation"] if part["kind"] not in _GROUPS]
    groups = [part for part in result["permutation"] if part["kind"] in _GROUPS]
    ordered = [
        *sorted(single, key=lambda part: -part["auc"]["value"]),
        *sorted(groups, key=lambda part: -part["auc"]["value"]),
    ]
    figure = new_figure(9.4, 1.5 + _ROW * len(ordered))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, key, label in (
        (left, "auc", "Loss of AUC when permuted"),
        (right, "loss", "Rise of cross-entropy when permuted"),
    ):
        axes.axvline(0, color="black", linewidth=1)
        for rows, marker, filled in (
            (range(len(single)), "o", True),
            (range(len(single), len(ordered)), "s", False),
        ):
            axes.errorbar(
                [ordered[row][key]["value"] for row in rows],
                list(rows),
                xerr=[ordered[row][key]["error"] or 0.0 for row in rows],
                fmt=marker, color="black", markerfacecolor="black" if filled else "white",
                markersize=5, capsize=3, linewidth=1.2,
            )  # fmt: skip
        axes.axhline(len(single) - 0.5, color="#717581", linewidth=1, linestyle=":")
        axes.set_xlabel(label)
    _rows(left, [part["name"] for part in ordered])
    stamp(left, "Simulation, out-of-fold", "")
    return figure


def attribution_plot(features: Sequence[Mapping[str, Any]]) -> Figure:
    """Mean size of each feature's attribution, and its mean in signal and background.

    Parameters
    ----------
    features
        ``gradients.features`` of ``explain.json``, with defined sizes.
    """
    ordered = sorted(features, key=lambda each: -each["size"]["value"])
    figure = new_figure(9.4, 1.7 + _ROW * len(ordered))
    left, right = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(ordered))
    left.barh(
        rows, [each["size"]["value"] for each in ordered], height=0.65, color="#b9c4d0",
        edgecolor="black", linewidth=0.8,
        xerr=[each["size"]["error"] for each in ordered], capsize=2.5,
    )  # fmt: skip
    left.set_xlabel("Mean size of the attribution (logit)")
    right.axvline(0, color="black", linewidth=1)
    for name, marker, colour, face, shift in (
        ("signal", "o", SIGNAL_COLOUR, SIGNAL_COLOUR, -0.14),
        ("background", "s", "black", "white", 0.14),
    ):
        right.errorbar(
            [each[name]["value"] for each in ordered], rows + shift,
            xerr=[each[name]["error"] for each in ordered], fmt=marker, color=colour,
            markerfacecolor=face, markersize=5, capsize=2.5, linewidth=1.2,
            label=name.capitalize(),
        )  # fmt: skip
    right.set_xlabel("Mean attribution (logit)")
    _rows(left, [each["name"] for each in ordered])
    stamp(left, "Simulation, out-of-fold", "")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def object_plot(objects: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Mean size of attributions by position of the object in its collection, as numbers.

    Parameters
    ----------
    objects
        ``gradients.objects`` of ``explain.json``: at least one collection with an object.
    """
    shown = {name: positions for name, positions in objects.items() if positions}
    heights = [len(positions[0]["features"]) for positions in shown.values()]
    figure = new_figure(8.2, 0.9 * len(shown) + 0.4 * sum(heights))
    grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    cells = {
        name: np.array(
            [[figure_["value"] for figure_ in each["features"].values()] for each in positions],
            dtype=float,
        ).T
        for name, positions in shown.items()
    }
    top = max(float(np.nanmax(values, initial=0.0)) for values in cells.values()) or 1.0
    for axes, (name, positions) in zip(grid[:, 0], shown.items(), strict=True):
        values = cells[name]  # (features, positions)
        axes.imshow(values, cmap="Greys", vmin=0, vmax=1.6 * top, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            text = f"{value:.2g}".replace("-", "−") if np.isfinite(value) else "?"
            axes.text(column, row, text, ha="center", va="center", fontsize=10)
        axes.set_xticks(range(len(positions)), [str(each["position"]) for each in positions])
        axes.set_yticks(range(len(values)), [escaped(text) for text in positions[0]["features"]])
        axes.tick_params(which="both", length=0)
        axes.set_xlabel(f"Position among the {escaped(name)} of the event")
    return figure


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [escaped(name) for name in names])
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
