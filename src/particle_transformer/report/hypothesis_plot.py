"""AUC against the parameter of the signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.report.style import escaped, new_figure, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["hypothesis_plot"]


def hypothesis_plot(hypotheses: Sequence[Mapping[str, Any]]) -> Figure:
    """AUC with its error at each value of the only parameter.

    Parameters
    ----------
    hypotheses
        The block of ``metrics.json``; those whose AUC is undefined are left out.
    """
    figure = new_figure(height=4.2)
    axes: Axes = figure.add_subplot()
    (name,) = hypotheses[0]["parameters"]
    known = sorted(
        (found["parameters"][name], found["auc"]["value"], found["auc"]["error"] or 0.0)
        for found in hypotheses
        if found["auc"]["value"] is not None
    )
    axes.errorbar(
        [point for point, _, _ in known],
        [value for _, value, _ in known],
        [error for _, _, error in known],
        fmt="o-", color="black", capsize=3, markersize=5, linewidth=1.3,
    )  # fmt: skip
    axes.margins(x=0.08, y=0.3)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel(escaped(name))
    axes.set_ylabel("AUC")
    stamp(axes, "Simulation, out-of-fold", "")
    return figure
