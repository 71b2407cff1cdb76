"""What a study has found, and the files that say it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing
from particle_transformer.config import Range, choice_label, dump_analysis, with_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from particle_transformer.config import Analysis, Choices

__all__ = ["StudyResult", "TrialRecord", "chosen_values", "write_best", "write_trials"]

BEST, TRIALS = "best.yaml", "trials.csv"


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes
    ----------
    number
        From 0, in the order in which trials began.
    state
        ``complete``, ``pruned``, ``running`` (or killed) or ``fail`` (interrupted).
    loss
        Validation loss: of a complete trial, the mean over the folds of the lowest one; else that
        of the last epoch that the first fold came to, None without any.
    epochs
        Epochs of the first fold's network.
    best_epochs
        Of each fold, from 0; of complete trials only.
    seconds
        How long it took; None while it is running.
    worker
        Host and process.
    reason
        Why it was pruned.
    values
        What was tried, by dotted key; a list as JSON.
    """

    number: int
    state: str
    loss: float | None
    epochs: int
    best_epochs: Sequence[int]
    seconds: float | None
    worker: str
    reason: str
    values: Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class StudyResult:
    """A study.

    Attributes
    ----------
    path
        Its folder.
    trials
        All of them, by number.
    importance
        Share of each key in the variance of the loss among good trials; empty where there are too
        few trials to say.
    ranges
        Keys with a range, and whether it is logarithmic; the others have choices.
    """

    path: Path
    trials: Sequence[TrialRecord]
    importance: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, bool] = field(default_factory=dict)

    @property
    def ranking(self) -> list[TrialRecord]:
        """The complete trials, the best first; of equal ones the earlier."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(complete, key=lambda trial: (trial.loss, trial.number))

    @property
    def best(self) -> Path:
        """The analysis file with the best values."""
        return self.path / BEST


def chosen_values(
    space: Mapping[str, Choices | Range], labels: Mapping[str, Any]
) -> dict[str, Any]:
    """What the labels of a trial's choices stand for, by key."""
    values = {}
    for key, entry in space.items():
        values[key] = labels[key]
        if not isinstance(entry, Range):
            values[key] = {choice_label(choice): choice for choice in entry}[labels[key]]
    return values


def write_best(result: StudyResult, analysis: Analysis, values: Mapping[str, Any]) -> None:
    """Write the analysis file with some values, those of the best trial.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    best = result.ranking[0]
    text = dump_analysis(with_values(analysis, values))
    head = f"# trial {best.number} of {result.path.name}: validation loss {best.loss:.6g}\n"
    with replacing(result.best) as partial:
        partial.write_text(head + text, encoding="utf-8")


def write_trials(result: StudyResult) -> None:
    """Write a table of all trials.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    keys = list(dict.fromkeys(key for trial in result.trials for key in trial.values))
    columns = ("number", "state", "loss", "epochs", "best_epochs", "seconds", "worker", "reason")
    with (
        replacing(result.path / TRIALS) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow([*columns, *keys])
        for trial in result.trials:
            row = {**vars(trial), "best_epochs": " ".join(map(str, trial.best_epochs))}
            table.writerow(
                [*(row[name] for name in columns), *(trial.values.get(key) for key in keys)]
            )
