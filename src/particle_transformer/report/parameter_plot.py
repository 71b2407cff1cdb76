"""Ranking of the parameters of the fit by their impact on the signal strength, with pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.report.style import escaped, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

__all__ = ["SHOWN", "parameter_plot"]

SHOWN = 20
"""Parameters that are shown, those of the greatest impact."""


def parameter_plot(parameters: Sequence[Mapping[str, Any]]) -> Figure:
    """Pull with constraint, and impact up and down, of the parameters of the greatest impact.

    Parameters
    ----------
    parameters
        ``parameters`` of the block ``limit`` of the metrics, in the order of their impact.
    """
    rows = parameters[:SHOWN]
    figure = new_figure(8.4, 1.6 + 0.3 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 3])
    left.axvspan(-1, 1, color="#dcdce0", linewidth=0, label="Before the fit, ±1 σ")
    left.axvline(0, color="#717581", linewidth=1)
    right.axvline(0, color="#717581", linewidth=1)
    for position, row in enumerate(rows):
        if row["pull"] is None:
            text = f"{row['value']:.2f} ± {row['error']:.2f}"
            left.text(0, position, text, ha="center", va="center", fontsize=10)
        else:
            left.errorbar(
                row["pull"], position, xerr=row["constraint"], fmt="o", color="black",
                markersize=4.5, capsize=2.5, linewidth=1.3,
            )  # fmt: skip
    places = range(len(rows))
    right.barh(
        places, [row["impact_up"] for row in rows], height=0.36, align="edge", color="#5790fc",
        edgecolor="black", linewidth=0.6, label="Parameter at +1 σ (after the fit)",
    )  # fmt: skip
    right.barh(
        places, [row["impact_down"] for row in rows], height=-0.36, align="edge", color="white",
        edgecolor="black", linewidth=0.6, hatch="////", label="Parameter at −1 σ",
    )  # fmt: skip
    left.set_yticks(places, [escaped(row["name"]) for row in rows], fontsize=10)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlim(-1.6, 1.6)
    left.set_xlabel("Pull and constraint")
    right.set_xlabel("Impact on the signal strength")
    widest = max(max(abs(row["impact_up"]), abs(row["impact_down"])) for row in rows)
    right.set_xlim(-1.1 * widest, 1.1 * widest)
    for axes in (left, right):
        axes.tick_params(axis="y", which="both", left=False, right=False)
    figure.legend(loc="outside upper right", ncols=3, fontsize=10)
    stamp(left, "Background-only Asimov data", "")
    return figure
