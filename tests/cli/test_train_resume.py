"""The command `aot train` killed, interrupted and out of room, and taken up again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from helpers.runs import small_analysis, write_inputs
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.training.checkpoints import load_checkpoint
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDS, ENSEMBLE, EPOCHS = 2, 2, 4
OFTEN, SELDOM = 1e-6, 60.0  # minutes between checkpoints: after each step, at ends of epochs alone

AOT = "from particle_transformer.cli.main import main; main()"
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); "


def _analysis(folder: Path, minutes: float, **training: Any) -> Path:
    file = small_analysis(folder, folds=FOLDS, epochs=EPOCHS, write=False)
    content = yaml.safe_load(file.read_text())
    content["training"] |= {
        "ensemble": ENSEMBLE,
        "augmentation": ["flip_eta", "flip_phi"],
        "ema": 0.9,
        "accumulate": 2,
        "checkpoint_minutes": minutes,
        **training,
    }
    content["model"]["dropout"] = 0.2
    file.write_text(yaml.safe_dump(content))
    return file


def _start(*arguments: object, limit: int | None = None) -> subprocess.Popen[str]:
    program = ["-m", "particle_transformer.cli"]
    if limit is not None:
        program = ["-c", LIMITED.format(limit) + AOT]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
    )


def _aot(*arguments: object, limit: int | None = None) -> tuple[int, str]:
    """Exit status, and what was said on stderr."""
    process = _start(*arguments, limit=limit)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the inputs are."""
    path = tmp_path_factory.mktemp("resume")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def whole(folder: Path) -> RunFolder:
    """The run that nothing has disturbed."""
    out = folder / "whole"
    assert _aot("train", _analysis(folder, SELDOM), "--out", out) == (0, "")
    return RunFolder(out)


def _networks(run: RunFolder) -> dict[str, bytes]:
    return {
        f"{fold}/{number}": (run.network(fold, number) / "model.safetensors").read_bytes()
        for fold in range(FOLDS)
        for number in range(ENSEMBLE)
    }


def _record(run: RunFolder) -> dict[str, Any]:
    record = run.read_record()
    for network in record["networks"]:
        del network["seconds"]
    return record


def _assert_same(run: RunFolder, whole: RunFolder) -> None:
    assert _networks(run) == _networks(whole)
    assert _record(run) == _record(whole)
    assert not run.unfinished.exists()
    assert list(run.path.rglob(".*")) == []  # no temporary file, no lock


@contextmanager
def _running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = _start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[str], come: Callable[[], bool], pause: float = 0.01) -> None:
    """Wait until something is so, or the process has ended."""
    deadline = time.monotonic() + 120
    while not come() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(pause)


def _newer(files: list[Path], than: float) -> bool:
    with suppress(FileNotFoundError):  # it comes and goes
        return any(path.stat().st_mtime > than for path in files)
    return False


def _in_training(run: RunFolder) -> list[Path]:
    """The last checkpoints of the networks that are not trained to their end."""
    return [
        path
        for path in (run.path / "checkpoints").glob("*/*/last.ckpt")
        if not path.with_name("result.json").exists()
    ]


def _half_written(run: RunFolder) -> list[Path]:
    return list((run.path / "checkpoints").glob("*/*/.last.partial.ckpt"))


def _is_within_an_epoch(path: Path) -> bool:
    checkpoint = load_checkpoint(path)
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    return bool(epochs["processed"] == epochs["started"] - 1 and batches["processed"] > 0)


def _is_between_epochs(path: Path) -> bool:
    epochs = len(load_checkpoint(path)["callbacks"]["History"]["records"])
    return not _is_within_an_epoch(path) and 0 < epochs < EPOCHS


def _kill(
    run: RunFolder,
    command: tuple[object, ...],
    find: Callable[[RunFolder], list[Path]],
    wanted: Callable[[Path], bool] = Path.exists,
) -> Path:
    """Kill a training when it has just written a file, such that this is left as wanted.

    The moment may be missed; the training is resumed then, and killed again.
    """
    for _ in range(5):
        started = time.time()
        with _running(*command) as process:
            _wait(process, lambda: _newer([run.unfinished], started))  # noqa: B023 (at once)
            _wait(process, lambda: _newer(find(run), started), pause=0)  # noqa: B023
            assert process.poll() is None, process.communicate()
        if (found := find(run)) and wanted(found[0]):
            return found[0]
    pytest.fail("the moment was missed each time")


@pytest.mark.slow
def test_killed_within_an_epoch_while_a_checkpoint_is_written_and_anywhere(
    folder: Path, whole: RunFolder
) -> None:
    run = RunFolder(folder / "often")
    command = "train", _analysis(folder, OFTEN), "--out", run.path, "--resume"
    _kill(run, command, _in_training, _is_within_an_epoch)
    _kill(run, command, _half_written)
    started = time.time()
    with _running(*command) as process:
        _wait(process, lambda: _newer([run.unfinished], started))
        time.sleep(np.random.default_rng(1).uniform(0, 0.5))
    assert _aot(*command) == (0, "")
    _assert_same(run, whole)


@pytest.mark.slow
def test_killed_between_epochs_and_out_of_room(folder: Path, whole: RunFolder) -> None:
    run = RunFolder(folder / "seldom")
    command = "train", _analysis(folder, SELDOM), "--out", run.path, "--resume", "--no-plots"
    last = _kill(run, command, _in_training, _is_between_epochs)
    # There is room for everything but checkpoints (and plots, which are as large).
    content = last.read_bytes()
    status, errors = _aot(*command, limit=len(content) // 2)
    assert status == 1
    assert re.fullmatch(
        rf"aot: {last.parent}/(best|last)\.ckpt: cannot be written \(File too large\); what was "
        "trained before is kept: mend that, and go on with aot train FILE "
        rf"--out {run.path} --resume",
        errors,
    )
    assert last.read_bytes() == content
    assert _aot(*command) == (0, "")
    _assert_same(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(folder: Path, sent: signal.Signals) -> None:
    run = RunFolder(folder / sent.name)
    file = _analysis(folder, OFTEN, epochs=1000, patience=1000)
    with _running("train", file, "--out", run.path) as process:
        _wait(process, (run.checkpoints(0) / "last.ckpt").exists)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-2:] == [
        f"{run.path}: what was done is kept; give --resume to go on",
        "aot: interrupted",
    ]
    assert "Traceback" not in errors
    assert list(run.path.rglob(".*")) == []
    assert run.unfinished.exists()


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    file = small_analysis(tmp_path, epochs=1)
    out = train(load_analysis(file), tmp_path / "run", resume=True)  # there was nothing to resume
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    done = subprocess.run(
        [sys.executable, "-m", "particle_transformer.cli", "train", file, "--out", out, "--resume"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.strip().splitlines()[-1] == f"trained before: {out}"
    assert {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))} == before
