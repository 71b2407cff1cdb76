"""One event: what it looks like, where attention goes, and what makes its score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import require
from particle_transformer.report.style import SIGNAL_COLOUR, escaped, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["event_display"]

_MARKERS = ("o", "s", "^", "D", "P", "X")
_AREA = 2.2  # points² per GeV
_BETWEEN = 14.0  # points of a line for all of the attention
_TOKEN = 16.0
_FAINT = 0.02
"""Attention below which no line is drawn."""


def event_display(example: Mapping[str, Any]) -> Figure:
    """Draw an event in the η-φ plane with attention, beside the contributions to its logit.

    Parameters
    ----------
    example
        One of ``examples`` of ``explain.json``.
    """
    placed = [
        each
        for objects in example["objects"].values()
        for each in objects
        if each["pt"] is not None
    ]
    if not placed:
        figure = new_figure(6.4, 4.8)
        _contributions(figure.add_subplot(), example)
        return figure
    figure = new_figure(12.4, 5.6)
    plane, bars = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _plane(plane, example)
    _contributions(bars, example)
    handles, labels = _legend(example)
    figure.legend(
        handles, labels, loc="outside lower left", ncols=4, fontsize=10, handletextpad=0.8,
        columnspacing=1.6,
    )  # fmt: skip
    return figure


def _plane(axes: Axes, example: Mapping[str, Any]) -> None:
    rows = [  # in the order of the attention's labels
        (number, each)
        for number, objects in enumerate(example["objects"].values())
        for each in objects
    ]
    between = np.array(example["attention"]["between"])
    eta = [each["eta"] for _, each in rows if each["eta"] is not None]
    limit = max(2.6, 1.15 * max(map(abs, eta)))
    for first, (_, one) in enumerate(rows):
        for second, (_, other) in enumerate(rows[:first]):
            weight = (between[first, second] + between[second, first]) / 2
            if weight >= _FAINT and one["pt"] is not None and other["pt"] is not None:
                _line(axes, one, other, weight)
    for number, each in rows:
        if each["pt"] is None:
            continue
        axes.scatter(
            each["eta"], each["phi"], s=_AREA * each["pt"], marker=_MARKERS[number % len(_MARKERS)],
            facecolor="#dfe6ee", edgecolor="black", linewidth=_TOKEN * each["attention"], zorder=3,
            clip_on=False,  # at the end of φ there is more of it
        )  # fmt: skip
        axes.annotate(
            f"{100 * each['attention']:.0f}%", (each["eta"], each["phi"]), fontsize=9, zorder=4,
            xytext=(0.5 * np.sqrt(_AREA * each["pt"]) + 3, 4), textcoords="offset points",
        )  # fmt: skip
    for direction in example["directions"]:
        size = "" if direction["pt"] is None else f" {direction['pt']:.0f} GeV"
        axes.axhline(direction["phi"], color=SIGNAL_COLOUR, linestyle="--", linewidth=1.8, zorder=2)
        axes.annotate(
            f"{escaped(direction['name'])}{size}", (-limit, direction["phi"]), color=SIGNAL_COLOUR,
            xytext=(4, 4 if direction["phi"] < 2.7 else -13), textcoords="offset points", fontsize=10, zorder=4,
        )  # fmt: skip
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-np.pi, np.pi)
    axes.set_yticks(np.linspace(-np.pi, np.pi, 5), ["−π", "−π/2", "0", "π/2", "π"])
    axes.set_xlabel("η")
    origin = example["phi_origin"]
    axes.set_ylabel("φ" if origin is None else f"φ − {escaped(origin)}")
    token = example["attention"]["class_token"]
    rest = f"to itself {100 * token['itself']:.0f}%"
    if token["event_features"] is not None:
        rest += f", to the event features {100 * token['event_features']:.0f}%"
    axes.set_title(f"Attention of the class token: {rest}", loc="left", fontsize=10.5, pad=16)


def _line(axes: Axes, one: Mapping[str, Any], other: Mapping[str, Any], weight: float) -> None:
    """A line between two objects, the short way round in φ."""
    turn = 2 * np.pi * np.rint((one["phi"] - other["phi"]) / (2 * np.pi))
    for ends in ((one["phi"], other["phi"] + turn), (one["phi"] - turn, other["phi"])):
        axes.plot(
            [one["eta"], other["eta"]], ends, color="#717581", alpha=0.65,
            linewidth=_BETWEEN * weight, solid_capstyle="butt", zorder=1,
        )  # fmt: skip
        if not turn:
            return


def _legend(example: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    line = require("matplotlib.lines", "report").Line2D
    handles, labels = [], []
    for number, (name, objects) in enumerate(example["objects"].items()):
        if any(each["pt"] is not None for each in objects):
            handles.append(_symbol(line, _MARKERS[number % len(_MARKERS)], 60.0))
            labels.append(escaped(name))
    for pt in (50, 200):
        handles.append(_symbol(line, "o", pt))
        labels.append(f"pt = {pt} GeV")
    for weight in (0.05, 0.2):
        handles.append(line([], [], color="#717581", linewidth=_BETWEEN * weight))
        labels.append(f"{100 * weight:.0f}% between two objects")
        handles.append(_symbol(line, "o", 60.0, _TOKEN * weight))
        labels.append(f"{100 * weight:.0f}% from the class token")
    return handles, labels


def _symbol(line: Any, marker: str, pt: float, edge: float = 0.8) -> Any:
    return line(
        [], [], linestyle="", marker=marker, markersize=np.sqrt(_AREA * pt), markeredgewidth=edge,
        markerfacecolor="#dfe6ee", markeredgecolor="black",
    )  # fmt: skip


def _contributions(axes: Axes, example: Mapping[str, Any]) -> None:
    """How the logit comes about, from the baseline's, largest contributions first."""
    found: dict[str, float] = {}
    for name, objects in example["objects"].items():
        for each in objects:
            for text, value in each["attributions"].items():
                found[f"{name}: {text}"] = found.get(f"{name}: {text}", 0.0) + value
    found |= example["event"]["attributions"]
    ordered = sorted(found, key=lambda name: -abs(found[name]))
    steps: NDArray[np.float64] = np.array([found[name] for name in ordered])
    ends = example["baseline_logit"] + np.cumsum(steps)
    for row, (step, end) in enumerate(zip(steps, ends, strict=True), 1):
        axes.barh(
            row, step, left=end - step, height=0.65, color=SIGNAL_COLOUR if step > 0 else "white",
            edgecolor="black", linewidth=0.8, hatch="" if step > 0 else "////",
        )  # fmt: skip
    axes.axvline(example["baseline_logit"], color="#717581", linestyle=":", linewidth=1.4)
    axes.axvline(example["logit"], color="black", linewidth=1.4)
    reached = [example["baseline_logit"], *ends]
    middle = (min(reached) + max(reached)) / 2
    names = ["baseline", *ordered, "event"]
    for row, value, marker in (
        (0, example["baseline_logit"], "s"), (len(names) - 1, example["logit"], "o")
    ):  # fmt: skip
        axes.plot(value, row, marker=marker, color="black", markersize=6, linestyle="")
        inwards = -1 if value > middle else 1
        axes.annotate(
            f"{value:.2f}".replace("-", "−"), (value, row), xytext=(7 * inwards, -4),
            ha="left" if inwards > 0 else "right", textcoords="offset points", fontsize=10,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [escaped(name) for name in names], fontsize=10)
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.use_sticky_edges = False  # else bars end at the frame
    axes.margins(x=0.12)
    axes.autoscale_view(scaley=False)
    axes.set_xlabel("Logit of the score")
