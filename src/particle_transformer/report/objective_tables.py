"""Tables of what a training asks for beside the classification, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.report.numbers import count, figure_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["abcd_auc_rows", "abcd_rows", "hypothesis_rows", "hypothesis_text", "regression_rows"]


def hypothesis_text(parameters: Mapping[str, float]) -> str:
    """``mass = 1000, width = 0.1``."""
    return ", ".join(f"{name} = {value:g}" for name, value in parameters.items())


def hypothesis_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of hypotheses; none where the networks have no parameters."""
    return [
        {
            "name": hypothesis_text(found["parameters"]),
            "processes": ", ".join(found["processes"]),
            "auc": figure_text(found["auc"]),
            "rejection": [figure_text(figure) for figure in found["rejection"].values()],
            "significance": figure_text(found["significance"]),
            "effective": count(found["auc"]["effective_events"]),
        }
        for found in metrics.get("hypotheses", ())
    ]


def regression_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of the table of regressed quantities, one for each class."""
    return [
        {
            "name": target,
            "class": name,
            "events": count(found["events"]),
            "effective": count(found["bias"]["effective_events"]),
            "bias": figure_text(found["bias"]),
            "resolution": figure_text(found["resolution"]),
        }
        for target, classes in metrics.get("regression", {}).items()
        for name, found in classes.items()
    ]


def abcd_auc_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of the two scores: the AUC of each score in every fold."""
    return [
        {"name": f"score {number}", "folds": [figure_text(figure) for figure in folds.values()]}
        for number, folds in enumerate(metrics.get("abcd", {}).get("auc", ()), 1)
    ]


def abcd_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of the ABCD method's closure, one for each pair of cuts."""
    rows = []
    for found in metrics.get("abcd", {}).get("cuts", ()):
        first, second = (f"{100 * part:g}\u202f%" for part in found["background_efficiency"])
        closure = found["closure"]
        rows.append(
            {
                "name": f"{first} and {second}",
                "observed": figure_text(found["background"]["A"]),
                "predicted": figure_text(found["predicted"]),
                "closure": figure_text(closure),
                "contamination": [
                    f"{region}: {figure_text(found['contamination'][region])}" for region in "ABCD"
                ],
                "effective": count(closure["effective_events"]),
                "remark": closure["reason"] or "",
            }
        )
    return rows
