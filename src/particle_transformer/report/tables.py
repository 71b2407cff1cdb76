"""Rows of the report's tables, as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from particle_transformer.report.numbers import count, figure_text, with_error
from particle_transformer.report.statistics_tables import limit_card

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from particle_transformer.report.content import CutflowRow

__all__ = [
    "comparison_rows",
    "cutflow_table",
    "figure_rows",
    "headlines",
    "process_rows",
    "region_rows",
    "sculpting_rows",
]


def _percent(point: str) -> str:
    return f"{100 * float(point):g}\u202f%"


def headlines(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures that open the report: `label`, `value` and `detail` of each."""
    cards = [
        {
            "label": "AUC",
            "value": figure_text(metrics["auc"]),
            "detail": "signal against all backgrounds, physics weights",
        }
    ]
    if metrics["rejection"]:
        points = list(metrics["rejection"])
        point = points[len(points) // 2]
        cards.append(
            {
                "label": "Background rejection",
                "value": figure_text(metrics["rejection"][point]),
                "detail": f"1/ε(background) at {_percent(point)} signal efficiency",
            }
        )
    significance = metrics["significance"]
    relative = significance["background_uncertainty_configured"]
    cards.append(
        {
            "label": "Expected significance",
            "value": figure_text(significance) + (" σ" if significance["value"] else ""),
            "detail": f"one counting experiment, {_percent(relative)} background uncertainty",
        }
    )
    if "limit" in metrics:
        cards.append(limit_card(metrics["limit"]))
    return cards


def figure_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of figures: `name`, `value`, `effective` and `remark`."""
    interval = metrics["auc"].get("interval")
    remark = f"68 % interval {interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
    rows = [_row("AUC", metrics["auc"], remark)]
    rows.append(_row("AUC, every event counted once", metrics["auc_unweighted"]))
    for point, figure in metrics["rejection"].items():
        remark = ""
        if figure["signal_efficiency"] is not None:
            measured = with_error(
                100 * figure["signal_efficiency"], 100 * (figure["signal_efficiency_error"] or 0)
            )
            remark = f"measured signal efficiency ({measured})\u202f%"
        rows.append(_row(f"Rejection at {_percent(point)} signal efficiency", figure, remark))
    found = metrics["significance"]
    remark = ""
    if found["signal_yield"] is not None:
        signal = with_error(found["signal_yield"], found["signal_yield_error"])
        background = with_error(found["background_yield"], found["background_yield_error"])
        remark = f"s = {signal}, b = {background} (simulation's error)"
        if found["background_uncertainty"] is not None:
            remark += f"; σ(b)/b = {100 * found['background_uncertainty']:.1f} % in all"
    rows.append(_row("Expected significance (Asimov)", found, remark))
    return rows


def _row(name: str, figure: Mapping[str, Any], remark: str = "") -> dict[str, str]:
    remarks = [part for part in (figure["reason"], remark) if part]
    return {
        "name": name,
        "value": figure_text(figure),
        "effective": count(figure["effective_events"]),
        "remark": "; ".join(remarks),
    }


def process_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of processes, signal first; `figures` are AUC and rejections."""
    rows = []
    for name, found in metrics["processes"].items():
        figures = ["—"] * (1 + len(metrics["rejection"]))
        if "auc" in found:
            rejections = [figure_text(found["rejection"][point]) for point in metrics["rejection"]]
            figures = [figure_text(found["auc"]), *rejections]
        rows.append(
            {
                "name": name,
                "class": found["class"],
                "events": count(found["events"]),
                "effective": count(found["effective_events"]),
                "yield": with_error(found["yield"], found["yield_error"]),
                "figures": figures,
            }
        )
    return sorted(rows, key=lambda row: row["class"] != "signal")


def region_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of regions."""
    return [
        {
            "name": name,
            "events": count(found["events"]),
            "auc": figure_text(found["auc"]),
            **{
                kind: with_error(
                    found["yields"][kind]["yield"], found["yields"][kind]["yield_error"]
                )
                for kind in ("signal", "background")
            },
        }
        for name, found in metrics["regions"].items()
    ]


def sculpting_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of spectators: `name`, `before`, `now`, `scatter` and `effective`.

    `scatter` is √2 / n, that of the figure where score and spectator are independent.
    """
    if "sculpting" not in metrics:
        return []
    before = metrics.get("before", {}).get("sculpting", {}).get("spectators", {})
    rows = []
    for name, now in metrics["sculpting"]["spectators"].items():
        effective = now["effective_events"]
        rows.append(
            {
                "name": name,
                "before": _dependence(before[name]) if name in before else "",
                "now": _dependence(now),
                "scatter": with_error(math.sqrt(2) / effective, None, 1) if effective else "—",
                "effective": count(effective),
            }
        )
    return rows


def _dependence(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"undefined: {figure['reason']}"
    return with_error(figure["value"], None, 2)


def comparison_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of this run and the one before: `name`, `before`, `now`."""
    if "before" not in metrics:
        return []
    before = metrics["before"]
    pairs = [("AUC", before["auc"], metrics["auc"])]
    pairs += [
        (f"Rejection at {_percent(point)} signal efficiency", before["rejection"][point], now)
        for point, now in metrics["rejection"].items()
    ]
    return [
        {"name": name, "before": figure_text(there), "now": figure_text(here)}
        for name, there, here in pairs
    ]


def cutflow_table(rows: Sequence[CutflowRow]) -> dict[str, Any]:
    """Cuts down, processes (and eras, where several) across.

    Returns
    -------
    dict
        ``columns``: headings; ``rows``: pairs of a cut and its cells, each a pair of the yield
        and the number of events as text, or None where a process lacks the cut.
    """
    eras = {row.era for row in rows}

    def column(row: CutflowRow) -> str:
        return f"{row.process} ({row.era})" if len(eras) > 1 else row.process

    columns = list(dict.fromkeys(column(row) for row in rows))
    cuts = list(dict.fromkeys(row.cut for row in rows))
    cells = {
        (row.cut, column(row)): (with_error(row.yield_, row.yield_error), count(row.events))
        for row in rows
    }
    table = [(cut, [cells.get((cut, name)) for name in columns]) for cut in cuts]
    return {"columns": columns, "rows": table}
