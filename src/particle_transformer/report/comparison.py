"""The report of a comparison: one HTML page, its tables as Markdown, its plots as PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing
from particle_transformer.report.comparison_plots import ratio_plot, roc_overlay
from particle_transformer.report.comparison_table import comparison_tables, markdown, sentence
from particle_transformer.report.drawings import rendered
from particle_transformer.report.filling import write_page
from particle_transformer.report.style import styled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["write_comparison"]


def write_comparison(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write ``compare.md``, ``plots/*.pdf`` and, last, ``index.html``.

    Parameters
    ----------
    folder
        The comparison's folder.
    result
        The content of its ``compare.json``.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    drawings = []
    with styled():
        if any(method["roc"] is not None for method in result["methods"].values()):
            drawings.append(
                rendered(
                    "roc",
                    "Higher is better: how many weighted background events it takes to let one "
                    "pass. Mean over the seeds; the bands combine their spread with the "
                    "statistics of the test events.",
                    roc_overlay(result),
                    "ROC curves of all methods",
                )
            )
        if len(result["methods"]) > 1:
            drawings.append(
                rendered(
                    "ratios",
                    "Right of the line the reference rejects more background. Errors are paired: "
                    "fluctuations of the test events that all methods share cancel.",
                    ratio_plot(result),
                    "Ratios of rejections",
                )
            )
    with replacing(folder / "compare.md") as partial:
        partial.write_text(markdown(result), encoding="utf-8")
    return write_page(
        folder / "index.html",
        "comparison.html.j2",
        drawings,
        "compare",
        result=result,
        sentence=sentence(result),
        tables=[table for table in comparison_tables(result) if table.rows],
    )
