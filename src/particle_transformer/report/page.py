"""The report: one HTML page that needs nothing else, and its plots as PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import require
from particle_transformer.evaluation.failures import failed_folds
from particle_transformer.report import objective_tables, statistics_tables, tables
from particle_transformer.report.filling import filled, write_page
from particle_transformer.report.numbers import count, figure_text

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.report.content import ReportContent

__all__ = ["write_report"]


def write_report(path: Path, *, content: ReportContent) -> Path:
    """Write the report page, and beside it ``plots/*.pdf`` for papers and talks.

    The page holds its plots and styles; it loads nothing and runs no script. It links
    ``explain.html`` where that is beside it.

    Parameters
    ----------
    path
        Of the page, e.g. ``RUN/report/index.html``; its folder is made where needed.
    content
        What to show.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    MissingExtraError
        Without the extra ``report``.
    OutputError
        If the files cannot be written.
    """
    for module in ("jinja2", "matplotlib", "mplhep"):
        require(module, "report")
    from particle_transformer.report.drawings import draw  # noqa: PLC0415
    from particle_transformer.report.statistics_drawings import draw_statistics  # noqa: PLC0415

    members = np.ones(len(content.test), dtype=bool)
    if content.signal_regions is not None:
        members = content.test.in_any(content.signal_regions)
    drawings = draw(content, members) | draw_statistics(content, members)
    metrics = content.metrics
    points = [f"{100 * float(point):g}\u202f%" for point in metrics["rejection"]]
    limit = metrics.get("limit")
    statistics = filled(
        "statistics.html.j2",
        "report",
        drawings=drawings,
        limit=limit,
        limit_text=limit and statistics_tables.limit_text(limit),
        regions=limit and statistics_tables.region_bins_rows(limit),
        calibration=statistics_tables.calibration_rows(metrics),
        overtraining=statistics_tables.overtraining_text(metrics),
        stability=statistics_tables.stability_rows(metrics),
        points=points,
    )
    return write_page(
        path,
        "page.html.j2",
        drawings.values(),
        "report",
        statistics=statistics,
        explanation=path.with_name("explain.html").exists(),
        content=content,
        metrics=metrics,
        headlines=tables.headlines(metrics),
        figures=tables.figure_rows(metrics),
        processes=tables.process_rows(metrics),
        points=points,
        regions=tables.region_rows(metrics),
        hypotheses=objective_tables.hypothesis_rows(metrics),
        regression=objective_tables.regression_rows(metrics),
        abcd=objective_tables.abcd_rows(metrics),
        abcd_auc=objective_tables.abcd_auc_rows(metrics),
        failed=failed_folds(metrics),
        dependence=figure_text(metrics["abcd"]["distance_correlation"])
        if "abcd" in metrics
        else "",
        comparison=tables.comparison_rows(metrics),
        sculpting=tables.sculpting_rows(metrics),
        cutflow=tables.cutflow_table(content.cutflow),
        events=count(metrics["events"]),
        folds=len(metrics["folds"]),
        ensemble=content.ensemble,
        provenance=dict(content.provenance),
        settings=dict(content.settings),
    )
