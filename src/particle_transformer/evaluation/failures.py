"""Trainings that failed, as the figures of their folds show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["failed_folds"]

_ERRORS = 3.0
"""By how many of its errors the AUC of a failed fold lies below that of guessing."""


def failed_folds(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for every fold whose network ranks worse than guessing.

    Its events spoil the figures of all folds together, whose errors, being statistical, do not
    show it.

    Parameters
    ----------
    metrics
        As of `evaluate`.
    """
    sentences = []
    for fold, found in metrics["folds"].items():
        value, error = found["auc"]["value"], found["auc"]["error"]
        if value is not None and value + _ERRORS * (error or 0.0) < 0.5:
            sentences.append(
                f"fold {fold}: AUC {value:.3f}, worse than guessing: its training failed, and the "
                "figures of all folds include it"
            )
    return sentences
