"""The page about what a run's networks look at, its plots and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import writing
from particle_transformer.report.drawings import rendered
from particle_transformer.report.event_display import event_display
from particle_transformer.report.explanation_plots import (
    attribution_plot,
    importance_plot,
    object_plot,
)
from particle_transformer.report.filling import write_page
from particle_transformer.report.numbers import figure_text
from particle_transformer.report.style import styled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from particle_transformer.report.drawings import Drawing

__all__ = ["importance_rows", "write_explanation"]


@dataclass(frozen=True)
class _Row:
    """A name, and the texts of its figures."""

    name: str
    cells: tuple[str, ...]


def importance_rows(result: Mapping[str, Any]) -> list[_Row]:
    """Texts of the permutation importances, those that cost most AUC first.

    Parameters
    ----------
    result
        The content of ``explain.json``.
    """
    parts = sorted(result["permutation"], key=lambda part: -(part["auc"]["value"] or 0.0))
    return [
        _Row(part["name"], (figure_text(part["auc"]), figure_text(part["loss"]))) for part in parts
    ]


def write_explanation(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write ``plots/explain_*.pdf`` and, last, ``explain.html``, which needs nothing else.

    Parameters
    ----------
    folder
        The run's folder of reports; made where it is not there.
    result
        The content of the run's ``explain.json``.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    MissingExtraError
        Without the extra ``report``.
    OutputError
        If a file cannot be written.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
    with styled():
        drawings = _drawings(result)
    gradients = result["gradients"]
    return write_page(
        folder / "explain.html",
        "explanation.html.j2",
        drawings,
        "report",
        result=result,
        auc=figure_text(result["auc"]),
        loss=figure_text(result["loss"]),
        baseline={name: figure_text(figure) for name, figure in gradients["baseline"].items()},
        completeness={name: f"{each:.1g}" for name, each in gradients["completeness"].items()},
        importances=importance_rows(result),
        attributions=[
            _Row(each["name"], tuple(figure_text(each[k]) for k in _ATTRIBUTED))
            for each in sorted(gradients["features"], key=lambda e: -(e["size"]["value"] or 0.0))
        ],
        main_report=(folder / "index.html").exists(),
    )


_ATTRIBUTED = ("size", "signal", "background")


def _drawings(result: Mapping[str, Any]) -> list[Drawing]:
    found = []
    features = result["gradients"]["features"]
    if result["auc"]["value"] is not None:
        found.append(
            rendered(
                "explain_importance",
                "Test events with one input permuted (circles), or a whole collection or all event "
                "features at once (squares): what the network loses. Errors: permutations and "
                "bootstrap of the events.",
                importance_plot(result),
                "Permutation importance",
                wide=True,
            )
        )
    if features and all(each["size"]["value"] is not None for each in features):
        found.append(
            rendered(
                "explain_attributions",
                "Left: by how much a feature moves the logit, whatever the direction, signal and "
                "background counting the same. Right: its mean in signal and in background. A "
                "feature of objects is summed over those of an event.",
                attribution_plot(features),
                "Integrated gradients by feature",
                wide=True,
            )
        )
    if any(result["gradients"]["objects"].values()):
        found.append(
            rendered(
                "explain_objects",
                "Mean size of the attribution (logit) of each object by its position, as the "
                "analysis file sorts them, in events that have so many; a question mark where "
                "signal or background has none.",
                object_plot(result["gradients"]["objects"]),
                "Integrated gradients by object",
                wide=True,
            )
        )
    for number, example in enumerate(result["examples"]):
        found.append(
            rendered(
                f"explain_event_{number}",
                "",
                event_display(example),
                f"Event display: {example['rule']}",
                wide=True,
            )
        )
    return found
