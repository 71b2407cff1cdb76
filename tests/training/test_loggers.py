"""Logs: complete, without repetition after a kill, refused before any work."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

from helpers.runs import small_analysis
from helpers.tensorboard import events, shown
from particle_transformer.config import load_analysis
from particle_transformer.errors import AnalysisFileError, AOTError, MissingExtraError
from particle_transformer.training.csv_logger import CSVLogger
from particle_transformer.training.fit import FitResult, fit_network
from particle_transformer.training.loggers import check_loggers, make_loggers
from particle_transformer.training.run import train
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.training.callbacks import EpochRecord, Progress

BOTH = [{"name": "csv"}, {"name": "tensorboard"}]
LOGGED = ("train_loss", "val_loss", "val_auc", "learning_rate")
SETTINGS = FitSettings(
    epochs=5, batch_size=100, learning_rate=3e-3, seed=1, checkpoint_minutes=1e-9
)
"""With a checkpoint after every one of the four steps of an epoch."""


def fit(folder: Path, *, resume: bool = False, progress: Progress | None = None) -> FitResult:
    sample, _ = toy_events(500)
    training, validation = (
        make_sample(sample, rows, target=[0, 1], balance="none")
        for rows in (np.arange(400), np.arange(400, 500))
    )
    torch.manual_seed(0)
    return fit_network(
        toy_model(), training, validation, SETTINGS, checkpoint_dir=folder / "checkpoints",
        log_dir=folder / "logs", loggers=BOTH, resume=resume, progress=progress,
    )  # fmt: skip


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def check_logs(folder: Path, history: list[EpochRecord]) -> None:
    rows, board = table(folder), shown(folder / "logs")
    assert [int(row["epoch"]) for row in rows] == [record["epoch"] for record in history]
    assert [int(row["step"]) for row in rows] == [4 * epoch + 3 for epoch in range(len(history))]
    for name in LOGGED:
        expected = [record[name] for record in history]  # type: ignore[literal-required]
        assert [float(row[name]) for row in rows] == pytest.approx(expected, rel=1e-6)
        assert [step for step, _ in board[name]] == [int(row["step"]) for row in rows]
        assert [value for _, value in board[name]] == pytest.approx(expected, rel=1e-6)


def test_every_epoch_is_in_the_table_and_on_the_board(tmp_path: Path) -> None:
    result = fit(tmp_path)
    assert len(result.history) == 5
    check_logs(tmp_path, result.history)
    # The rate is that of the epoch's last step; a schedule that is over stands at zero.
    assert min(float(row["learning_rate"]) for row in table(tmp_path)) > 0


@pytest.mark.parametrize("killed_at", [1, 4, 9, 12, 15])
def test_a_resumed_fit_neither_loses_nor_repeats_an_epoch(tmp_path: Path, killed_at: int) -> None:
    whole = fit(tmp_path / "whole")

    def kill(done: int, total: int, rate: float | None, record: EpochRecord | None) -> None:
        # An epoch's end is reported before its checkpoint, as late as its log can be ahead.
        if done == killed_at and (record is not None or killed_at % 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", progress=kill)
    result = fit(tmp_path / "killed", resume=True)
    check_logs(tmp_path / "killed", result.history)
    assert table(tmp_path / "killed") == table(tmp_path / "whole")
    assert result.history == whole.history


def test_a_fit_anew_begins_a_new_table(tmp_path: Path) -> None:
    fit(tmp_path)
    time.sleep(1.1)  # tensorboardX names its files by the second
    check_logs(tmp_path, fit(tmp_path).history)
    assert len(list((tmp_path / "logs").glob("events.*"))) == 2


def test_a_table_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = CSVLogger(str(tmp_path), prefix="x")
    logger.log_metrics({"loss": 0.5, "epoch": 0.0}, step=3)
    logger.save()
    before = (tmp_path / "metrics.csv").read_text()
    assert before.splitlines() == ["step,x-epoch,x-loss", "3,0.0,0.5"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    logger.log_metrics({"other": 1.0}, step=7)
    with pytest.raises(AOTError, match=r"metrics.csv: cannot be written \(No space left"):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    monkeypatch.undo()
    logger.save()
    # A column that comes later is empty before.
    text = (tmp_path / "metrics.csv").read_text()
    assert text.splitlines() == ["step,x-epoch,x-loss,x-other", "3,0.0,0.5,", "7,,,1.0"]


@pytest.mark.parametrize(
    ("logger", "kind", "message"),
    [
        ("tensorbord", AnalysisFileError, "unknown logger 'tensorbord'; nearest: tensorboard"),
        ("wandb", MissingExtraError, "wandb needs wandb, which is not installed"),
        (
            {"name": "csv", "flush": 3},
            AnalysisFileError,
            "csv has no option 'flush'; known: prefix",
        ),
        (
            {"name": "tensorboard", "flush_sec": 3},
            AnalysisFileError,
            "tensorboard has no option 'flush_sec'; nearest: flush_secs",
        ),
        (
            {"name": "tensorboard", "save_dir": "elsewhere"},
            AnalysisFileError,
            "tensorboard has no option 'save_dir'",
        ),
        (
            {"name": "mlflow", "experimentname": "x"},
            AnalysisFileError,
            "mlflow has no option 'experimentname'; nearest: experiment_name",
        ),
    ],
)
def test_a_logger_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logger: Any,
    kind: type[AOTError],
    message: str,
) -> None:
    if isinstance(logger, dict) and logger["name"] == "mlflow":
        monkeypatch.setattr("particle_transformer.training.loggers.find_spec", lambda _: object())
    file = small_analysis(tmp_path, write=False)  # there is nothing to be prepared
    content = yaml.safe_load(file.read_text())
    content["training"]["loggers"] = [logger]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(kind) as caught:
        train(load_analysis(file), tmp_path / "run")
    assert f"training.loggers: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_options_reach_the_logger(tmp_path: Path) -> None:
    wanted = [{"name": "csv", "prefix": "a"}, {"name": "tensorboard", "filename_suffix": ".b"}]
    check_loggers(wanted)
    table_logger, board = make_loggers(wanted, tmp_path, steps=40)
    board.log_metrics({"loss": 1.0}, step=40)
    board.finalize("success")
    (file,) = tmp_path.glob("events.*.b")
    assert [event.step for event in events(file) if event.session_log.status] == [40]
    table_logger.log_metrics({"loss": 1.0}, step=40)
    table_logger.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["a-loss,step", "1.0,40"]


def test_what_a_logger_itself_refuses_is_one_line(tmp_path: Path) -> None:
    class Refusing(CSVLogger):
        def __init__(self, save_dir: str, **options: Any) -> None:
            message = "prefix must be short\nsee the manual"
            raise ValueError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "particle_transformer.training.loggers.known_loggers", lambda: {"csv": Refusing}
        )
        with pytest.raises(
            AnalysisFileError, match=r"csv refuses its options \(prefix must be short\)$"
        ):
            make_loggers([{"name": "csv"}], tmp_path)
