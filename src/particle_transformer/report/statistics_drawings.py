"""Plots of the limit and of the checks of the score, rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.evaluation import reliability, with_temperatures
from particle_transformer.report.check_plots import overtraining_plot, reliability_plot
from particle_transformer.report.drawings import Drawing, rendered
from particle_transformer.report.limit_plots import limit_plot, template_plot
from particle_transformer.report.parameter_plot import SHOWN, parameter_plot
from particle_transformer.report.statistics_tables import calibration_text
from particle_transformer.report.style import styled

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.report.content import ReportContent

__all__ = ["draw_statistics"]


def draw_statistics(content: ReportContent, members: NDArray[np.bool_]) -> dict[str, Drawing]:
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
    with styled():
        return {**_limit(content), **_checks(content, members)}


def _limit(content: ReportContent) -> dict[str, Drawing]:
    limit = content.metrics.get("limit")
    if limit is None or limit["median"] is None:
        return {}
    found = {
        "limit": rendered(
            "limit",
            "The upper limit that half of the experiments without signal would set below, and "
            "where 68 % and 95 % of them would set theirs. Where the limit is below 1, the "
            "signal as it was simulated would be excluded.",
            limit_plot(limit),
            "Expected limit",
        ),
        "templates": rendered(
            "templates",
            "What is fitted: backgrounds stacked, all signals together at the strength of the "
            "median limit. No data is fitted: in the background-only Asimov data, which the fit "
            "sees, the yields after the fit are those before it, and only their error shrinks. "
            "The error before the fit leaves out free normalisations, which have none. The bins "
            "are chosen on validation events, each network having edges of its own.",
            template_plot(content.test, limit, content.luminosity),
            "Templates of the fit",
            wide=True,
        ),
    }
    if limit["parameters"]:
        found["parameters"] = rendered(
            "parameters",
            "Right: how far the fitted signal strength moves when a parameter is fixed one "
            "standard deviation (after the fit) up or down, ranked by size"
            + (f"; the {SHOWN} greatest" if len(limit["parameters"]) > SHOWN else "")
            + ". Left: in Asimov data every pull is 0; a bar shorter than the band says that the "
            "fit knows the parameter better than was put in. Free normalisations have no pull, "
            "and stand there with value and error.",
            parameter_plot(limit["parameters"]),
            "Impacts and pulls",
            wide=True,
        )
    return found


def _checks(content: ReportContent, members: NDArray[np.bool_]) -> dict[str, Drawing]:
    found = {}
    calibration = _calibration(content, members)
    if calibration is not None:
        found["reliability"] = rendered(
            "reliability",
            "If both classes were equally frequent, a score of 0.8 should mean 80 % signal: "
            "points on the diagonal are calibrated probabilities. Temperatures come from the "
            "validation events of each network. Ranking, and hence AUC and rejection, do not "
            "depend on it.",
            calibration,
            "Reliability diagram",
        )
    if content.compared is not None and "overtraining" in content.metrics:
        training, test = content.compared
        found["overtraining"] = rendered(
            "overtraining",
            "Scores of events by networks that were trained with them (points) and by networks "
            "that never saw them (lines). p is the probability that a Kolmogorov-Smirnov distance "
            "as great comes from the statistics alone, for the network of each fold.",
            overtraining_plot(test, training, content.metrics["overtraining"]),
            "Scores of training and test events",
        )
    return found


def _calibration(content: ReportContent, members: NDArray[np.bool_]) -> Figure | None:
    events = content.test.select(members)
    before = reliability(events)
    if before is None:
        return None
    block = content.metrics.get("calibration")
    if block is None:
        return reliability_plot(before)
    temperatures = {int(fold): value for fold, value in block["temperatures"].items()}
    after = None
    if None not in temperatures.values():
        after = reliability(with_temperatures(events, temperatures))
    labels = (
        f"As scored, error {calibration_text(block['before'])}",
        f"Scaled, error {calibration_text(block['after'])}",
    )
    return reliability_plot(before, after, labels)
