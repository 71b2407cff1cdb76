"""The limit and the checks of the score, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.report.numbers import count, significant, with_error

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "calibration_rows",
    "calibration_text",
    "limit_card",
    "limit_text",
    "overtraining_text",
    "region_bins_rows",
    "stability_rows",
]

_ROUNDING = 1e-12
"""Changes below are none."""


def limit_text(limit: Mapping[str, Any]) -> str:
    """The expected limit with its bands in one line, or why there is none."""
    what = f"expected {100 * limit['level']:g} % CL limit on the signal strength: "
    if limit["median"] is None:
        return f"{what}undefined: {limit['reason']}"
    low2, low1, median, high1, high2 = (with_error(value, None, 3) for value in limit["band"])
    return (
        f"{what}{median} (68 %: {low1} to {high1}, 95 %: {low2} to {high2}); expected "
        f"significance of the fit: {with_error(limit['significance'], None, 3)} σ"
    )


def limit_card(limit: Mapping[str, Any]) -> dict[str, str]:
    """The headline of the limit: `label`, `value` and `detail`."""
    value = "undefined"
    if limit["median"] is not None:
        _, low, median, high, _ = limit["band"]
        # Both sides to the digits of the smaller one.
        places = max(significant(min(high - median, median - low)), 0)
        value = f"{median:.{places}f} +{high - median:.{places}f} −{median - low:.{places}f}"
    return {
        "label": f"Expected {100 * limit['level']:g}\u202f% CL limit",
        "value": value,
        "detail": "on the signal strength, with the ±1σ band; CLs, all regions fitted together",
    }


def region_bins_rows(limit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of the fit's regions: `name`, `role`, `bins`, `background`, `least`, `effective`."""
    return [
        {
            "name": name,
            "role": region["role"],
            "bins": len(region["effective_events"]),
            "background": with_error(sum(region["background"]["yields"]), None),
            "least": with_error(min(region["background"]["yields"]), None),
            "effective": count(min(region["effective_events"])),
        }
        for name, region in limit["regions"].items()
    ]


def calibration_text(figure: Mapping[str, Any]) -> str:
    """A calibration error in percent, or that it is undefined."""
    if figure["value"] is None:
        return "undefined"
    error = None if figure["error"] is None else 100 * figure["error"]
    text = with_error(100 * figure["value"], error, 2)
    return f"({text})\u202f%" if error else f"{text}\u202f%"


def calibration_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of calibration: `name`, `value`, `noise` and `remark`."""
    if "calibration" not in metrics:
        return []
    block = metrics["calibration"]
    temperatures = ", ".join(
        "undefined" if value is None else f"{value:.3f}" for value in block["temperatures"].values()
    )
    remarks = {"before": "", "after": f"temperatures by fold: {temperatures}"}
    return [
        {
            "name": name,
            "value": calibration_text(block[key]),
            "noise": "—"
            if block[key]["noise"] is None
            else f"{100 * block[key]['noise']:.2g}\u202f%",
            "remark": "; ".join(part for part in (block[key]["reason"], remarks[key]) if part),
        }
        for key, name in (("before", "As scored"), ("after", "Scaled by temperatures"))
    ]


def overtraining_text(metrics: Mapping[str, Any]) -> str:
    """What the Kolmogorov-Smirnov tests say together, a sentence."""
    if "overtraining" not in metrics:
        return ""
    block = metrics["overtraining"]
    if block["p_value"] is None:
        reasons = {fold["reason"] for folds in block["classes"].values() for fold in folds.values()}
        return (
            f"No comparison of training and test events is defined ({'; '.join(sorted(reasons))})."
        )
    least = min(
        fold["p_value"]
        for folds in block["classes"].values()
        for fold in folds.values()
        if fold["p_value"] is not None
    )
    return (
        f"Least p-value of the {block['comparisons']} comparisons of training and test events: "
        f"{least:.2g}, which for as many comparisons is a p-value of {block['p_value']:.2g}."
    )


def stability_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of variations: `name`, `process`, `yield`, `score`, `efficiency`."""
    return [
        {
            "name": f"{variation} {side}",
            "process": process,
            "yield": _percent(changes["yield_change"]),
            "score": _shift(changes["mean_shift"]),
            "efficiency": [_percent(figure) for figure in changes["efficiency_change"].values()],
        }
        for variation, sides in metrics.get("stability", {}).items()
        for side, processes in sides.items()
        for process, changes in processes.items()
    ]


def _percent(figure: Mapping[str, Any]) -> str:
    return _change(figure, 100)


def _shift(figure: Mapping[str, Any]) -> str:
    return _change(figure, 1)


def _change(figure: Mapping[str, Any], unit: float) -> str:
    if figure["value"] is None:
        return "undefined"
    # A variation by one factor for all events has no error and moves no score, but for rounding.
    value, error = (
        0.0 if abs(number) < _ROUNDING else unit * number
        for number in (figure["value"], figure["error"] or 0.0)
    )
    return with_error(value, error, 2)
