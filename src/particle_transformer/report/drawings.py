"""All plots of a report, rendered."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import roc_band
from particle_transformer.report.curves import auc_by_fold, roc_plot, training_curves
from particle_transformer.report.hypothesis_plot import hypothesis_plot
from particle_transformer.report.score_plots import (
    feature_shapes,
    score_shapes,
    score_stack,
)
from particle_transformer.report.sculpting_plot import MINIMUM_EFFECTIVE_EVENTS, sculpting_plot
from particle_transformer.report.style import styled
from particle_transformer.report.yield_plot import yield_plot

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.evaluation import ScoredEvents
    from particle_transformer.report.content import ReportContent

__all__ = ["Drawing", "draw", "rendered"]


@dataclass(frozen=True)
class Drawing:
    """One plot: its name, how to read it, and its two renderings."""

    name: str
    caption: str
    alternative: str
    wide: bool
    inches: float
    svg: bytes
    pdf: bytes

    @property
    def source(self) -> str:
        """The plot as a data URI."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


def rendered(
    name: str, caption: str, figure: Figure, alternative: str, *, wide: bool = False
) -> Drawing:
    """Render a figure, within `styled`; it is not to be drawn again."""
    svg, pdf = io.BytesIO(), io.BytesIO()
    # No date inside, so that equal content gives equal files.
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.set_layout_engine("none")  # the layout found for the first holds for the second
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return Drawing(
        name, caption, alternative, wide, figure.get_figwidth(), svg.getvalue(), pdf.getvalue()
    )


def draw(content: ReportContent, members: NDArray[np.bool_]) -> dict[str, Drawing]:
    """Draw what the content allows.

    Parameters
    ----------
    content
        The report's content.
    members
        bool (events,): the events in the signal regions.

    Returns
    -------
    dict
        Drawings by name, in reading order.
    """
    events: ScoredEvents = content.test.select(members)
    found: dict[str, Drawing] = {}

    def add(
        name: str, caption: str, make: Callable[[], Figure], alternative: str, wide: bool = False
    ) -> None:
        found[name] = rendered(name, caption, make(), alternative, wide=wide)

    with styled():
        if len(events):
            add(
                "score",
                "What one would expect to see: yields at the luminosity stated above the plot against the score, "
                "backgrounds stacked, the signal overlaid and scaled by the factor in the legend. "
                "The dark band is the statistical uncertainty of the simulation. "
                "Bins with negative sums of weights cannot be shown on the logarithmic scale.",
                lambda: score_stack(events, content.luminosity),
                "Stacked score distributions",
            )
            add(
                "score_shapes",
                "The same scores, every process normalised to one: the further a process lies to "
                "the left of the signal, the better it is rejected. Error bars are statistical.",
                lambda: score_shapes(events),
                "Normalised score distributions",
            )
        band = roc_band(
            events,
            np.linspace(0.01, 1, 100),
            replicas=content.metrics["bootstrap"]["replicas"],
            seed=content.metrics["bootstrap"]["seed"],
        )
        if band is not None:
            add(
                "roc",
                "Higher is better. For each signal efficiency, how many weighted background events "
                "it takes to let one pass. The points are the working points as an analysis would "
                "use them: thresholds from validation events, both coordinates measured on test "
                "events; they need not lie exactly on the curve, which cuts all folds at one score.",
                lambda: roc_plot(events, band, content.metrics),
                "ROC curve",
            )
        add(
            "auc_by_fold",
            "The networks of the folds are independent trainings on overlapping events. A fold "
            "far from the others, in units of its error bar, is a training that failed.",
            lambda: auc_by_fold(content.metrics),
            "AUC by fold",
        )
        hypotheses = content.metrics.get("hypotheses", ())
        if hypotheses and len(hypotheses[0]["parameters"]) == 1:
            add(
                "hypotheses",
                "AUC of the signal of each hypothesis against all backgrounds, all of them scored "
                "under it. A point far below the line of its neighbours is a hypothesis that the "
                "networks did not learn.",
                lambda: hypothesis_plot(hypotheses),
                "AUC by hypothesis",
            )
        if any(content.history.values()):
            history = {fold: rows for fold, rows in content.history.items() if rows}
            add(
                "training",
                "Validation loss that rises while training loss falls is overtraining; the network "
                "kept is that of the starred epoch, chosen by validation loss alone. "
                + ("" if content.ensemble == 1 else "Shown is network 0 of each fold. ")
                + "Training loss is a running mean with dropout on and need not start above the other.",
                lambda: training_curves(history),
                "Training curves",
                wide=True,
            )
        if len(events):
            add(
                "yields",
                "Expected events, all of them and those behind the score "
                "cut of the counting experiment, with the statistical error of the simulation "
                "(often smaller than the marker). A process whose sum of weights is not positive "
                "cannot be shown on the logarithmic scale.",
                lambda: yield_plot(events, content.metrics, content.luminosity),
                "Yields per process",
            )
        if content.features and len(events):
            features = {name: column[members] for name, column in content.features.items()}
            add(
                "features",
                "Event features of signal (line) and all backgrounds (filled), as fractions "
                "of all events; momenta and masses in GeV, angles in radians. The axes span the "
                "central 99 % of the simulated events.",
                lambda: feature_shapes(events, features),
                "Event features",
                wide=True,
            )
        background = members & ~content.test.is_signal
        if content.test.weight[background].sum() > 0:
            for number, (name, column) in enumerate(content.spectators.items()):
                add(
                    f"sculpting_{number}",
                    "Simulated background in the signal regions, each shape normalised to one, with "
                    "statistical errors: all of it, and what the network takes most for signal. "
                    "Thresholds come from validation events of each network. If the score knows "
                    "nothing of the quantity, all shapes are the same, and the ratios one. Cuts "
                    f"that leave fewer than {MINIMUM_EFFECTIVE_EVENTS:g} effective events are left "
                    "out. Momenta and masses in GeV, angles in radians.",
                    partial(_sculpting, content, background, name, column),
                    f"Background shape of {name} behind cuts on the score",
                    wide=content.before is not None,
                )
    return found


def _sculpting(
    content: ReportContent,
    background: NDArray[np.bool_],
    name: str,
    column: NDArray[np.floating[Any]],
) -> Figure:
    runs = [("", content.test.select(background), content.metrics["sculpting"])]
    if content.before is not None:
        other = content.metrics["before"]
        runs = [
            ("Before", content.before.select(background), other["sculpting"]),
            ("After", *runs[0][1:]),
        ]
    return sculpting_plot(name, column[background].astype(np.float64), runs)
