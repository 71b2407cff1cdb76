"""A run that is broken off anywhere and resumed, and runs that cannot be resumed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from helpers.runs import run_content, small_analysis, write_inputs
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.errors import InputFileError, OutputError, SampleError
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.training import network as network_module
from particle_transformer.training.run import train
from particle_transformer.training.unfinished import differences

if TYPE_CHECKING:
    from particle_transformer.config import Analysis

TESTS = Path(__file__).parents[1]


class Killed(BaseException):
    """Ends a training where a test wants it."""


def _analysis(folder: Path, **training: Any) -> Analysis:
    file = small_analysis(folder, epochs=1, write=not list(folder.glob("*.parquet")))
    content = yaml.safe_load(file.read_text())
    content["training"] |= {"loggers": "csv", **training}
    file.write_text(yaml.safe_dump(content))
    return load_analysis(file)


def _kill_in(
    monkeypatch: pytest.MonkeyPatch, analysis: Analysis, out: Path, **options: Any
) -> None:
    """Kill a training when the first artefact is to be written: one network is trained by then."""

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(network_module, "save_artefact", kill)
        with pytest.raises(Killed):
            train(analysis, out, **options)


# -- killed anywhere ------------------------------------------------------------------------------

# Each training is a process that ends at once, with nothing cleaned up, before it renames its n-th
# file (everything of a run is renamed into its place) or before it removes the mark of the
# unfinished run; another resumes it. They are forked from one that has loaded torch, but not used
# it.
WINDOWS = """
import itertools, os, sys
from pathlib import Path
import particle_transformer.training.run as module
from particle_transformer.config import load_analysis
analysis, base = load_analysis(Path(sys.argv[1])), Path(sys.argv[2])
rename, unlink = Path.replace, Path.unlink
renamed = 0

def train(out, last):
    def replace(path, target):
        global renamed
        renamed += 1
        if renamed == last:
            os._exit(9)
        return rename(path, target)

    def remove(path, missing_ok=False):
        if path.name == "unfinished.json" and last == "mark":
            os._exit(9)
        unlink(path, missing_ok=missing_ok)

    Path.replace, Path.unlink = replace, remove
    module.train(analysis, base / out, resume=True)

def forked(out, last):
    child = os.fork()
    if not child:
        status = 1
        try:
            train(out, last)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert forked("whole", None) == 0
for last in itertools.chain(["mark"], itertools.count(1)):
    out = f"killed-{last}"
    status = forked(out, last)
    if status == 0:  # there are not that many
        break
    assert status == 9, last
    assert forked(out, None) == 0, last
"""


@pytest.mark.slow
def test_killed_before_any_file_takes_its_place(tmp_path: Path) -> None:
    _analysis(tmp_path)
    subprocess.run(
        [sys.executable, "-c", WINDOWS, tmp_path / "analysis.yaml", tmp_path],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    expected = run_content(tmp_path / "whole")
    killed = sorted(tmp_path.glob("killed-*"))
    # The mark, the analysis file, two notes, three shards, the manifest; of both networks two
    # checkpoints, the artefact and the result; the ensemble, the record, and the mark removed.
    assert len(killed) >= 8 + 2 * 4 + 3
    for out in killed:
        assert run_content(out) == expected, out


@pytest.mark.parametrize("store", [None, "store"])
def test_killed_between_the_training_and_the_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str | None
) -> None:
    analysis = _analysis(tmp_path)
    where = None if store is None else tmp_path / store
    whole = train(analysis, tmp_path / "whole", store=where)
    _kill_in(monkeypatch, analysis, tmp_path / "run", store=where)
    # The store need not be named again.
    train(analysis, tmp_path / "run", resume=True)
    assert run_content(tmp_path / "run") == run_content(whole)
    assert (tmp_path / "run" / "store").exists() == (store is None)


def test_killed_while_it_prepares_in_a_store_of_its_own_place(tmp_path: Path) -> None:
    analysis = _analysis(tmp_path)

    def kill(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(analysis, tmp_path / "run", store=tmp_path / "store", progress=kill)
    train(analysis, tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "store").exists()
    assert RunFolder(tmp_path / "run").store() == tmp_path / "store"


# -- out of room ----------------------------------------------------------------------------------


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("function", "file"),
    [
        ("fsync", "checkpoints/fold-0/network-0/best.ckpt"),
        ("write_bytes", "artefact/fold-0/network-0"),
    ],
)
def test_a_full_disk_is_one_line_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, file: str
) -> None:
    analysis = _analysis(tmp_path)
    # The store is there: it is the training that has no room.
    whole = train(analysis, tmp_path / "whole", store=tmp_path / "store")
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr({"fsync": os, "write_bytes": Path}[function], function, _no_space)
        with pytest.raises(OutputError) as caught:
            train(analysis, run, store=tmp_path / "store")
    assert str(caught.value) == (
        f"{run}/{file}: cannot be written (No space left on device); what was trained before is "
        f"kept: mend that, and go on with aot train FILE --out {run} --resume"
    )
    assert not list(run.rglob("*.partial*"))
    assert not (run / file).exists()
    train(analysis, run, resume=True)
    assert run_content(run) == run_content(whole)


# -- what cannot be resumed -----------------------------------------------------------------------


def test_an_unfinished_run_is_neither_begun_anew_nor_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis, out = _analysis(tmp_path), tmp_path / "run"
    _kill_in(monkeypatch, analysis, out)
    message = r"run: holds a training that has not ended; give --resume to go on, or remove it"
    with pytest.raises(OutputError, match=message):
        train(analysis, out)
    message = r"run: its training has not ended; go on with aot train FILE --out .*run --resume"
    with pytest.raises(InputFileError, match=message):
        evaluate_run(RunFolder(out))


@pytest.mark.parametrize("finished", [False, True])
def test_another_analysis_is_told_by_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    analysis, out = _analysis(tmp_path), tmp_path / "run"
    if finished:
        train(analysis, out)
    else:
        _kill_in(monkeypatch, analysis, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(OutputError) as caught:
        train(_analysis(tmp_path, weight_decay=0.5, ema=0.9), out, resume=True)
    assert str(caught.value) == (
        f"{out}: the training there is that of another analysis (training.weight_decay: 0.01 "
        "there, 0.5 here; training.ema: nothing there, 0.9 here); resume with the same analysis file, "
        "or give aot train another --out"
    )
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path != out} == before
    if finished:
        with pytest.raises(OutputError, match=r"run: exists and is not empty; give aot train"):
            train(analysis, out)


def test_differences_name_what_is_new_and_what_is_gone() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": "x" * 100, "e": None}
    now = {"a": {"b": 1.5, "c": [1, 2]}, "f": {"g": True}, "e": None}
    assert differences(before, now) == [
        "a.b: 1 there, 1.5 here",
        f"d: {'x' * 57}… there, nothing here",
        'f: nothing there, {"g": true} here',
    ]
    assert differences(before, before) == []


def test_changed_events_are_refused_until_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis, out = _analysis(tmp_path), tmp_path / "run"
    whole = train(analysis, tmp_path / "whole")
    _kill_in(monkeypatch, analysis, out)
    file = tmp_path / "ttbar.parquet"
    old, times = file.read_bytes(), file.stat()
    (tmp_path / "other").mkdir()
    write_inputs(tmp_path / "other", seed=2)
    (tmp_path / "other" / "ttbar.parquet").replace(file)
    message = r"store: the events have changed since the training in .*run began \(other input file"
    for _ in range(2):
        with pytest.raises(InputFileError, match=message):
            train(analysis, out, resume=True)
    file.write_bytes(old)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    train(analysis, out, resume=True)
    assert run_content(out) == run_content(whole)


def test_two_programs_do_not_train_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis, out = _analysis(tmp_path), tmp_path / "run"
    _kill_in(monkeypatch, analysis, out)
    before = sorted(out.rglob("*"))
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match=r"run: another aot train is at work there; wait for"):
            train(analysis, out, resume=True)
    assert sorted(out.rglob("*")) == [out / ".lock", *before]
    train(analysis, out, resume=True)  # the lock goes with its holder, its file may stay
    assert not (out / ".lock").exists()


def test_who_comes_second_leaves_the_folder_to_the_first(tmp_path: Path) -> None:
    # The first has just made it, with nothing in it but its lock.
    analysis, out = _analysis(tmp_path), tmp_path / "run"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match=r"run: another aot train is at work there"):
            train(analysis, out)
        assert (out / ".lock").exists()


def test_a_mistake_before_there_is_anything_to_resume_leaves_nothing(tmp_path: Path) -> None:
    analysis = _analysis(tmp_path, folds=300)
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "run"):
        with pytest.raises(SampleError, match="use fewer folds"):
            train(analysis, out, resume=True)
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "new").exists()
