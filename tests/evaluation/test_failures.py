"""Which folds are said to have failed."""

from __future__ import annotations

from particle_transformer.evaluation import failed_folds


def _fold(value: float | None, error: float | None) -> dict[str, object]:
    return {"auc": {"value": value, "error": error}}


def test_a_fold_three_errors_below_guessing_has_failed() -> None:
    metrics = {
        "folds": {
            "0": _fold(0.9, 0.01), "1": _fold(0.215, 0.006), "2": _fold(0.48, 0.01),
            "3": _fold(None, None), "4": _fold(0.46, None), "5": _fold(0.46, 0.01),
        }
    }  # fmt: skip
    said = failed_folds(metrics)
    assert [line.partition(":")[0] for line in said] == ["fold 1", "fold 4", "fold 5"]
    assert said[0] == (
        "fold 1: AUC 0.215, worse than guessing: its training failed, and the figures of all "
        "folds include it"
    )
