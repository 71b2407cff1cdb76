"""What `aot train` says of a training that cannot be; each in one line, with nothing left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import yaml

from helpers.runs import PROCESSES, small_analysis
from particle_transformer.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def changed(file: Path, section: str, **changes: Any) -> Path:
    """The analysis with some keys of a section set; None removes one."""
    content = yaml.safe_load(file.read_text())
    content[section] = {**content[section], **changes}
    content[section] = {key: value for key, value in content[section].items() if value is not None}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def refused(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line that `aot train` says before it gives up."""
    before = sorted(file.parent.rglob("*"))
    run = file.parent / "run"
    monkeypatch.setattr(sys, "argv", ["aot", "train", str(file), "--out", str(run)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert sorted(file.parent.rglob("*")) == before
    lines = capsys.readouterr().err.strip().splitlines()
    message = lines[-1]
    assert message.startswith("aot: ")
    return message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "focl"}, "training.loss: got 'focl', expected the name of a loss; nearest: focal"),
        ({"loggers": ["csv", "tensorbord"]},
         "training.loggers: unknown logger 'tensorbord'; nearest: tensorboard"),
        ({"sampling": "stratify"},
         "training.sampling: got 'stratify', expected 'shuffled' or 'stratified'"),
        ({"precision": "float16"},
         "training.precision: got 'float16', expected 'float32' or 'bfloat16'"),
        ({"balance": "classes"},
         "training.balance: got 'classes', expected 'class', 'process' or 'none'"),
        ({"negative_weights": "absolute"},
         "training.negative_weights: got 'absolute', expected 'keep', 'abs' or 'drop'"),
        ({"optimizer": "adam"}, "training.optimizer: unknown key; "),
        ({"weight_deca": 0.1}, "training.weight_deca: unknown key; nearest: weight_decay"),
        ({"augmentation": "flip_fi"}, "training.augmentation.0: got 'flip_fi', expected 'flip_eta'"),
        ({"folds": 1}, "training.folds: got 1, expected an integer >= 2"),
    ],
)  # fmt: skip
def test_a_wrong_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    message: str,
) -> None:
    file = changed(small_analysis(tmp_path), "training", **change)
    assert message in refused(file, capsys, monkeypatch)


@pytest.mark.parametrize(("only", "lacks"), [("signal", "background"), ("background", "signal")])
def test_one_class_only(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    only: str,
    lacks: str,
) -> None:
    file = small_analysis(tmp_path, write=False)
    content = yaml.safe_load(file.read_text())
    for process in content["processes"].values():
        process["class"] = only
    file.write_text(yaml.safe_dump(content))
    said = refused(file, capsys, monkeypatch)
    assert "processes: no process " in said
    assert lacks in said
    assert f"(classes: {only}); expected at least one" in said


def test_fewer_events_than_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = small_analysis(tmp_path, folds=5)
    for process in PROCESSES:
        events = ak.from_parquet(tmp_path / f"{process}.parquet")
        ak.to_parquet(events[events.MET_pt > 110][:3], tmp_path / f"{process}.parquet")
    said = refused(file, capsys, monkeypatch)
    assert "fold 0: no " in said
    assert "among 9 events; use fewer folds or more events" in said


@pytest.mark.parametrize(
    ("negative", "message"),
    [
        # Of a class: found when its events are prepared. Of a process: if that is what is balanced.
        ("signal", "aot: class signal (signal): the total weight of its selected events is -"),
        ("wjets", "aot: fold 0: process 'wjets' has total weight -"),
    ],
)
def test_weights_that_are_all_negative(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    negative: str,
    message: str,
) -> None:
    # Weights that are ready as they are: a generator's own sign would cancel in the normalisation.
    file = changed(small_analysis(tmp_path), "training", balance="process")
    content = yaml.safe_load(changed(file, "event", weight="genWeight").read_text())
    del content["weights"], content["luminosity"]
    for process in content["processes"].values():
        del process["cross_section"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    path = tmp_path / f"{negative}.parquet"
    events = ak.from_parquet(path)
    events["genWeight"] = -0.5 * np.abs(events.genWeight)
    ak.to_parquet(events, path)
    said = refused(file, capsys, monkeypatch)
    assert message in said
    assert "expected a positive " in said
    assert "; mend its weights, " in said
