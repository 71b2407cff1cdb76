"""Tuning: one study whoever works on it, no test event, and a file with the best values."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from optuna.pruners import NopPruner

from helpers.runs import PROCESSES, small_analysis
from particle_transformer.config import Range, load_analysis
from particle_transformer.errors import (
    InputFileError,
    MissingExtraError,
    OutputError,
    SampleError,
)
from particle_transformer.events import fold_of
from particle_transformer.studies import StudyResult, places, tune
from particle_transformer.studies.storage import open_study
from particle_transformer.training.fit import FitResult, fit_network

if TYPE_CHECKING:
    from particle_transformer.config import Analysis
    from particle_transformer.training.callbacks import EpochRecord

SPACE = {
    "training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
    "training.augmentation": [[], ["flip_eta"]],
    "model.num_att_blocks": {"low": 1, "high": 2},
}


def write(folder: Path, *, training: dict[str, Any] | None = None, **tuning: Any) -> Path:
    """A small analysis with a section `tuning`."""
    folder.mkdir(exist_ok=True)
    path = small_analysis(folder, epochs=2, write=not (folder / "signal.parquet").exists())
    content = yaml.safe_load(path.read_text())
    content["training"] |= training or {}
    content["tuning"] = {"space": SPACE, **tuning}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def analysis_with(folder: Path, **options: Any) -> Analysis:
    return load_analysis(write(folder, **options))


def tried(result: StudyResult) -> list[Any]:
    """What must be the same in two studies: all but times and processes."""
    return [
        (trial.number, trial.state, trial.loss, list(trial.best_epochs), dict(trial.values))
        for trial in result.trials
    ]


def states(result: StudyResult) -> Counter[str]:
    return Counter(trial.state for trial in result.trials)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Analysis, StudyResult]:
    folder = tmp_path_factory.mktemp("study")
    analysis = analysis_with(folder, trials=4)
    return analysis, tune(analysis, folder / "study")


def test_every_trial_is_in_the_space(study: tuple[Analysis, StudyResult]) -> None:
    analysis, result = study
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3]
    assert states(result) == {"complete": 4}
    for record in result.trials:
        assert record.values.keys() == SPACE.keys()
        for key, entry in analysis.tuning.space.items():
            if isinstance(entry, Range):
                assert entry.low <= record.values[key] <= entry.high  # type: ignore[operator]
        assert record.values["training.augmentation"] in ("[]", '["flip_eta"]')
        assert isinstance(record.values["model.num_att_blocks"], int)
    assert len({record.values["training.learning_rate"] for record in result.trials}) == 4


def test_the_best_file_has_the_best_values(study: tuple[Analysis, StudyResult]) -> None:
    analysis, result = study
    losses = [record.loss for record in result.trials]
    best = result.ranking[0]
    assert best.loss == min(losses)  # type: ignore[type-var]
    found = load_analysis(result.best)
    assert found.training.learning_rate == best.values["training.learning_rate"]
    assert list(found.training.augmentation) == json.loads(
        str(best.values["training.augmentation"])
    )
    assert found.model.num_att_blocks == best.values["model.num_att_blocks"]
    # Nothing else has changed, and the files are still found.
    training = found.training.model_copy(
        update={
            "learning_rate": analysis.training.learning_rate,
            "augmentation": analysis.training.augmentation,
        }
    )
    model = found.model.model_copy(update={"num_att_blocks": analysis.model.num_att_blocks})
    assert found.model_copy(update={"training": training, "model": model}) == analysis


def test_the_table_has_all_trials(study: tuple[Analysis, StudyResult]) -> None:
    _, result = study
    with (result.path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [record.loss for record in result.trials]
    assert [int(row["model.num_att_blocks"]) for row in rows] == [
        record.values["model.num_att_blocks"] for record in result.trials
    ]


def test_taken_up_again_it_is_the_same_study(
    study: tuple[Analysis, StudyResult], tmp_path: Path
) -> None:
    """Also with the same seed twice: two studies of the same analysis are equal."""
    _, once = study
    for trials in (1, 3, 4):
        result = tune(analysis_with(tmp_path, trials=trials), tmp_path / "study")
        assert len(result.trials) == trials
    assert tried(result) == tried(once)
    # A finished study is left as it is.
    again = tune(analysis_with(tmp_path, trials=4), tmp_path / "study")
    assert again.trials == result.trials


def test_another_seed_tries_other_settings(
    study: tuple[Analysis, StudyResult], tmp_path: Path
) -> None:
    _, first = study
    result = tune(analysis_with(tmp_path, trials=1, seed=2), tmp_path / "study")
    assert result.trials[0].values != first.trials[0].values


def spoilt(folder: Path, spoil: int | None) -> StudyResult:
    """A study with two trials, where all events of a fold have other features."""
    analysis = analysis_with(folder, trials=2)
    for process in PROCESSES:
        path = folder / f"{process}.parquet"
        events = ak.from_parquet(path)
        fold = fold_of(ak.to_numpy(events.event)[:, np.newaxis], 2)
        if spoil is not None:
            events["MET_pt"] = np.where(fold == spoil, events.MET_pt * 3 + 7, events.MET_pt)
            events["Jet_pt"] = ak.where(fold == spoil, events.Jet_pt * 2, events.Jet_pt)
        # Everything passes the selection, spoilt or not, so that the events stay the same.
        events["MET_pt"] = events.MET_pt + 20
        ak.to_parquet(events, path)
    return tune(analysis, folder / "study")


def test_no_test_event_is_read(tmp_path: Path) -> None:
    whole = spoilt(tmp_path / "whole", None)
    assert tried(spoilt(tmp_path / "test", 0)) == tried(whole)
    assert tried(spoilt(tmp_path / "training", 1)) != tried(whole)


def test_the_loss_is_the_mean_over_the_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([[0.6, 0.4, 0.5], [0.9, 0.8, 0.6]])
    callbacks = []

    def fit(*_: Any, **options: Any) -> FitResult:
        callbacks.append(len(options["callbacks"]))
        history: list[EpochRecord] = [
            {"epoch": epoch, "train_loss": 0.0, "val_loss": loss, "val_auc": None,
             "learning_rate": 0.0}
            for epoch, loss in enumerate(next(losses))
        ]  # fmt: skip
        return FitResult(history, 0, 0.0, tmp_path)

    monkeypatch.setattr("particle_transformer.studies.trial.fit_network", fit)
    (record,) = tune(analysis_with(tmp_path, trials=1, folds=2), tmp_path / "study").trials
    assert record.loss == pytest.approx((0.4 + 0.6) / 2, abs=1e-15)
    assert record.best_epochs == [1, 2]
    assert callbacks == [1, 0]  # only the first fold is compared with that of other trials


def test_a_hopeless_trial_is_given_up(tmp_path: Path) -> None:
    """With a learning rate of nearly zero nothing is learned; the others all do the same."""
    space = {"training.learning_rate": [0.003, 0.004, 0.005, 1e-12]}
    analysis = analysis_with(
        tmp_path, training={"epochs": 3, "warmup_epochs": 0}, trials=12, space=space
    )
    result = tune(analysis, tmp_path / "study")
    pruned = [record for record in result.trials if record.state == "pruned"]
    assert pruned
    assert {record.values["training.learning_rate"] for record in pruned} >= {1e-12}
    for record in pruned:
        assert record.epochs < 3
        assert record.reason.startswith("behind other trials after epoch")
        assert record.number >= 5  # before, there is too little to compare with
    assert result.ranking[0].values["training.learning_rate"] != 1e-12


def test_pruning_can_be_left_out(tmp_path: Path) -> None:
    analysis = analysis_with(tmp_path, pruning=False)
    assert isinstance(open_study(tmp_path, analysis).pruner, NopPruner)


def test_a_loss_that_becomes_nan_ends_its_trial_only(tmp_path: Path) -> None:
    space = {"training.learning_rate": [0.003, 1e30]}
    result = tune(analysis_with(tmp_path, trials=4, space=space), tmp_path / "study")
    by_rate: dict[Any, set[str]] = {}
    for record in result.trials:
        by_rate.setdefault(record.values["training.learning_rate"], set()).add(record.state)
    assert by_rate == {0.003: {"complete"}, 1e30: {"pruned"}}
    reasons = {record.reason for record in result.trials if record.state == "pruned"}
    assert all("lower the learning rate" in reason for reason in reasons)


def test_if_no_trial_ends_the_reason_is_told(tmp_path: Path) -> None:
    space = {"training.learning_rate": [1e29, 1e30]}
    analysis = analysis_with(tmp_path, trials=2, space=space)
    with pytest.raises(SampleError, match=r"none of 2 trials .*lower the learning rate"):
        tune(analysis, tmp_path / "study")
    assert not (tmp_path / "study" / "best.yaml").exists()


def test_a_network_too_large_for_the_memory_ends_its_trial_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def small_memory(model: Any, *arguments: Any, **options: Any) -> Any:
        if model.arguments["embed_dims"] > 8:
            message = "CUDA out of memory."
            raise torch.OutOfMemoryError(message)
        return fit_network(model, *arguments, **options)

    monkeypatch.setattr("particle_transformer.studies.trial.fit_network", small_memory)
    space = {"model.embed_dims": [8, 64]}
    result = tune(analysis_with(tmp_path, trials=4, space=space), tmp_path / "study")
    assert {(record.values["model.embed_dims"], record.state) for record in result.trials} == {
        (8, "complete"), (64, "pruned")
    }  # fmt: skip


def test_values_that_the_analysis_refuses_end_their_trial_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a range of more numbers than are tried when the file is read.
    monkeypatch.setattr("particle_transformer.config.tuning_checks._ALL_OF_RANGE", 1)
    space = {"model.embed_dims": {"low": 8, "high": 10}}
    result = tune(analysis_with(tmp_path, trials=5, space=space), tmp_path / "study")
    by_width = {record.values["model.embed_dims"]: record for record in result.trials}
    assert {width: record.state for width, record in by_width.items()} == {
        8: "complete", 9: "pruned", 10: "complete"
    }  # fmt: skip
    assert by_width[9].reason == "model.embed_dims: got 9, expected a multiple of num_heads = 2"


def test_an_interrupted_trial_is_run_anew(tmp_path: Path) -> None:
    analysis = analysis_with(tmp_path, trials=2)

    def interrupt(label: str, done: int, total: int) -> None:
        if label.startswith("training (trial 1, epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(analysis, tmp_path / "study", progress=interrupt)
    result = tune(analysis, tmp_path / "study")
    assert states(result) == {"complete": 2, "fail": 1}


def test_time_that_is_up_begins_no_trial(tmp_path: Path) -> None:
    tune(analysis_with(tmp_path, trials=1), tmp_path / "study")
    result = tune(analysis_with(tmp_path, trials=9, timeout_minutes=1e-9), tmp_path / "study")
    assert len(result.trials) == 1


def test_progress_ends_at_the_number_of_trials(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    tune(
        analysis_with(tmp_path, trials=2), tmp_path / "study",
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    trials = [call for call in calls if call[0].startswith("trials")]
    assert [done for _, done, _ in trials] == [0, 1, 2]
    assert trials[-1][0].startswith("trials (best val. loss 0.")
    assert all(done < total for label, done, total in calls if label.startswith("training"))


def test_the_study_of_another_analysis(tmp_path: Path) -> None:
    tune(analysis_with(tmp_path, trials=1), tmp_path / "study")
    other = analysis_with(tmp_path, trials=1, training={"patience": 3})
    with pytest.raises(OutputError, match=r"another analysis \(training.patience: 6 there, 3 here"):
        tune(other, tmp_path / "study")
    space = {**SPACE, "model.dropout": [0, 0.1]}
    with pytest.raises(OutputError, match=r"another analysis \(tuning.space.model.dropout"):
        tune(analysis_with(tmp_path, trials=1, space=space), tmp_path / "study")


def test_events_that_have_changed(tmp_path: Path) -> None:
    analysis = analysis_with(tmp_path, trials=1)
    tune(analysis, tmp_path / "study")
    events = ak.from_parquet(tmp_path / "ttbar.parquet")
    ak.to_parquet(events[:-20], tmp_path / "ttbar.parquet")
    with pytest.raises(InputFileError, match="events have changed since the study there began"):
        tune(analysis, tmp_path / "study")


def test_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    analysis = analysis_with(tmp_path, trials=1)
    with pytest.raises(OutputError, match="exists and holds no study"):
        tune(analysis, tmp_path)
    with pytest.raises(OutputError, match=r"analysis.yaml: exists and is not a folder"):
        tune(analysis, tmp_path / "analysis.yaml")
    assert not list(tmp_path.glob("study*"))


def test_a_damaged_journal(tmp_path: Path) -> None:
    analysis = analysis_with(tmp_path, trials=1)
    tune(analysis, tmp_path / "study")
    journal = tmp_path / "study" / "study.journal"
    journal.write_text("{half\n" + journal.read_text())
    with pytest.raises(InputFileError, match=r"study.journal: damaged \(.*remove it"):
        tune(analysis, tmp_path / "study")


def test_a_mistake_before_the_first_trial_leaves_nothing(tmp_path: Path) -> None:
    analysis = analysis_with(tmp_path, training={"folds": 300}, trials=1)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SampleError, match="use fewer folds or more events"):
        tune(analysis, tmp_path / "zz" / "study")
    assert sorted(tmp_path.rglob("*")) == before


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = analysis_with(tmp_path, trials=1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"optuna is not installed .*transformer\[tune\]"):
        tune(analysis, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def start(file: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "particle_transformer.cli", "tune", str(file), "--out", str(out),
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )  # fmt: skip


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    process = start(write(tmp_path, trials=2), tmp_path / "study")
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Best trials" in out
    assert "2 complete" in out
    assert out.splitlines()[-1] == f"best {tmp_path / 'study' / 'best.yaml'}"
    assert (tmp_path / "study" / "study.png").read_bytes().startswith(b"\x89PNG")
    process = start(write(tmp_path, trials=2, space={"model.dropuot": [0, 1]}), tmp_path / "study")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert len(errors.strip().splitlines()) == 1
    assert "tuning.space.model.dropuot: unknown key; nearest: model.dropout" in errors


def blocked() -> set[int]:
    """Processes that wait for a lock."""
    lines = Path("/proc/locks").read_text().splitlines()
    return {int(line.split()[5]) for line in lines if line.split()[1] == "->"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="who waits is told by Linux only")
def test_two_programs_share_a_study(tmp_path: Path) -> None:
    file = write(tmp_path, trials=8)
    (tmp_path / "study").mkdir()
    with (tmp_path / "study" / "study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = [start(file, tmp_path / "study") for _ in range(2)]
        while not blocked() >= {program.pid for program in programs}:
            assert [program.poll() for program in programs] == [None, None]
            time.sleep(0.1)
    for program in programs:
        _, errors = program.communicate()
        assert program.returncode == 0, errors
    result = tune(load_analysis(file), tmp_path / "study")
    counted = states(result)
    assert counted["complete"] + counted["pruned"] == 8
    assert len({record.worker for record in result.trials}) == 2


@pytest.mark.slow
def test_a_killed_program_blocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SILENCE", 2.0)
    file = write(tmp_path, trials=5, training={"epochs": 12})
    out = tmp_path / "study"
    program = start(file, out)
    while not any(path.name == "1" for path in out.glob(".running/*")):
        assert program.poll() is None
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    program.communicate()
    result = tune(load_analysis(file), out)
    counted = states(result)
    assert counted["complete"] + counted["pruned"] == 5
    assert counted["running"] <= 1  # the one that was killed, if it had got so far


@pytest.mark.slow
def test_trials_on_a_cluster_are_the_same(tmp_path: Path) -> None:
    """Those that the sampler draws without looking at others, as the first ten."""
    pytest.importorskip("distributed")
    analysis = analysis_with(tmp_path, trials=6, pruning=False)
    here = tune(analysis, tmp_path / "here")
    program = start(tmp_path / "analysis.yaml", tmp_path / "there", "--dask", "local[2]")
    _, errors = program.communicate()
    assert program.returncode == 0, errors
    there = tune(analysis, tmp_path / "there")
    assert tried(there) == tried(here)
    assert len({record.worker for record in there.trials}) == 2
