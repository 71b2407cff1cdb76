"""The table of a comparison: for the page, for Markdown, for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.report.numbers import count, figure_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ComparisonTable", "comparison_tables", "markdown"]

EFFECTIVE_EVENTS = 400
"""Below so many effective events behind a figure, it is marked."""


@dataclass(frozen=True)
class ComparisonTable:
    """A table of texts, the method's name first in each row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def comparison_tables(result: Mapping[str, Any]) -> tuple[ComparisonTable, ...]:
    """Figures of merit, how the reference compares, calibration, and costs.

    Parameters
    ----------
    result
        The content of ``compare.json``.
    """
    points: Sequence[str] = result["working_points"]
    methods: Mapping[str, Any] = result["methods"]
    rejections = tuple(f"rejection at {100 * float(point):g} %" for point in points)
    figures = ComparisonTable(
        "Figures of merit",
        ("method", "AUC", *rejections, "significance", "expected limit"),
        tuple(
            (
                method["label"],
                _plain(method["auc"]),
                *(_text(method["rejection"][point]) for point in points),
                _text(method["significance"]),
                _plain(method["limit"]),
            )
            for method in methods.values()
        )
        + tuple(
            (binned["label"], *("–",) * (len(points) + 2), _plain(binned["limit"]))
            for binned in [result["binned"]]
            if binned is not None
        ),
    )
    versus = ComparisonTable(
        f"{methods[result['reference']]['label']} compared with each method",
        ("method", "AUC difference", *(f"{text}, ratio" for text in rejections),
         "significance, ratio", "limit, its own over ours"),
        tuple(
            (
                method["label"],
                _plain(method["versus"]["auc"]),
                *(_text(method["versus"]["rejection"][point]) for point in points),
                _text(method["versus"]["significance"]),
                _plain(method["versus"]["limit"]),
            )
            for method in methods.values()
            if "versus" in method
        )
        + tuple(
            (binned["label"], *("–",) * (len(points) + 2), _plain(binned["versus"]["limit"]))
            for binned in [result["binned"]]
            if binned is not None
        ),
    )  # fmt: skip
    calibration = ComparisonTable(
        "Calibration error under a balanced prior, 15 bins of equally many events",
        ("method", "as trained", "after temperature scaling", "of a perfect score"),
        tuple(
            (
                method["label"],
                *(_percent(method["calibration"][name]) for name in ("before", "after")),
                "undefined"
                if method["calibration"]["noise"] is None
                else f"{100 * method['calibration']['noise']:.2f} %",
            )
            for method in methods.values()
        ),
    )
    costs = ComparisonTable(
        "Costs of one classifier, and what to tune it with",
        (
            "method",
            "seeds",
            "validation loss",
            "training time",
            "parameters",
            "events scored per second",
        ),
        tuple(
            (
                method["label"],
                f"{method['seeds']}",
                "undefined"
                if method["validation_loss"] is None
                else f"{method['validation_loss']:.4f}",
                f"{method['seconds']:.3g} s",
                count(method["parameters"]),
                count(float(f"{method['rate']:.2g}")),
            )
            for method in methods.values()
        ),
    )
    return figures, versus, calibration, costs


def markdown(result: Mapping[str, Any]) -> str:
    """The tables as Markdown, with what they are about."""
    lines = [f"# {result['analysis']}: comparison of classifiers", ""]
    lines += [sentence(result), ""]
    for table in comparison_tables(result):
        if not table.rows:
            continue
        lines += [f"## {table.title}", "", _line(table.columns)]
        lines.append(_line(["---", *["---:"] * (len(table.columns) - 1)]))
        lines += [_line(row) for row in table.rows]
        lines.append("")
    lines += [f"{name} is left out: {reason}.\n" for name, reason in result["absent"].items()]
    return "\n".join(lines).rstrip() + "\n"


def sentence(result: Mapping[str, Any]) -> str:
    """What the figures are about, and how their errors were made."""
    events = result["events"]
    numbers = sorted({method["seeds"] for method in result["methods"].values()})
    seeds = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    spread = (
        f"the spread of {seeds} seeds and {result['replicas']} paired bootstrap replicas of the "
        "test events"
        if numbers[0] > 1
        else f"{result['replicas']} paired bootstrap replicas of the test events, and the spread of "
        f"the seeds ({seeds}), which is unknown where there is one"
    )
    return (
        f"{events['signal']['events']} signal and {events['background']['events']} background "
        f"events ({count(events['background']['effective_events'])} effective), each scored by "
        f"the classifier that never saw its fold ({result['folds']} folds). Errors are from "
        f"{spread}. In brackets: effective events behind a "
        f"figure, marked * below {EFFECTIVE_EVENTS}."
    )


def _text(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return _plain(figure)
    effective = figure["effective_events"]
    mark = "*" if effective < EFFECTIVE_EVENTS else ""
    return f"{_plain(figure)} [{count(effective)}{mark}]"


def _plain(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"undefined ({figure['reason']})"
    return figure_text(figure)


def _percent(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"undefined ({figure['reason']})"
    error = "" if figure["error"] is None else f" ± {100 * figure['error']:.2f}"
    return f"{100 * figure['value']:.2f}{error} %"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
