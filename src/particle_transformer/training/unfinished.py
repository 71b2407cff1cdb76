"""The run directory while its networks are trained: begun, taken up again, or taken back."""

from __future__ import annotations

import fcntl
import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from particle_transformer.artefact.run_folder import RunFolder, check_new
from particle_transformer.atomic import check_name, replacing
from particle_transformer.config import dump_analysis
from particle_transformer.errors import AOTError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from particle_transformer.config import Analysis

__all__ = ["begun", "differences"]

_LOCK = ".lock"


@contextmanager
def begun(out: Path, analysis: Analysis, *, resume: bool) -> Iterator[RunFolder]:
    """Make a run directory, or find the one that was begun, and hold it.

    If a mistake of the user ends the context before there is anything to resume from, what was
    made is removed, with parents of `out` that did not exist.

    Parameters
    ----------
    out
        The run directory.
    analysis
        What is trained; written as ``analysis.yaml``.
    resume
        Take up what is there; if there is nothing, begin.

    Raises
    ------
    OutputError
        If `out` holds something else, or an unfinished run that is not to be resumed, or is that
        of another analysis, or is being trained by another program, or cannot be written.
    """
    check_name(out)
    run = RunFolder(out)
    fresh = not run.unfinished.exists()
    if fresh:
        check_new(out, "aot train")
    elif not resume:
        message = (
            f"{out}: holds a training that has not ended; give --resume to go on, or remove it, or "
            "give aot train another --out"
        )
        raise OutputError(message)
    else:
        _check_same(run, analysis)
    missing = [parent for parent in (out, *out.parents) if not parent.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _held(run):
            if fresh:
                run.analysis.write_text(dump_analysis(analysis), encoding="utf-8")
                with replacing(run.unfinished) as partial:
                    partial.write_text("{}\n")
            yield run
    except (AOTError, OSError) as error:
        if fresh and not (out / "checkpoints").exists():
            _take_back(out, missing)
        if isinstance(error, OSError):
            message = f"{out}: cannot be written ({error.strerror or error})"
            raise OutputError(message) from error
        raise


def _take_back(out: Path, missing: list[Path]) -> None:
    shutil.rmtree(out, ignore_errors=True)
    if out not in missing and out.parent.exists():
        out.mkdir(exist_ok=True)  # an empty folder that was there before
    for parent in missing:
        try:
            parent.rmdir()
        except OSError:  # it is gone, or holds something
            continue


@contextmanager
def _held(run: RunFolder) -> Iterator[None]:
    """Let no other program train in the folder; the system ends the hold with the process."""
    with (run.path / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{run.path}: another aot train is at work there; wait for it, or end it"
            raise OutputError(message) from error
        try:
            yield
        finally:
            (run.path / _LOCK).unlink(missing_ok=True)


def _check_same(run: RunFolder, analysis: Analysis) -> None:
    try:
        before = yaml.safe_load(run.analysis.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        message = f"{run.analysis}: cannot be read ({error}); remove {run.path} and train again"
        raise OutputError(message) from error
    changed = differences(before, yaml.safe_load(dump_analysis(analysis)))
    if changed:
        shown = "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "")
        message = (
            f"{run.path}: the training there is that of another analysis ({shown}); resume with "
            "the same analysis file, or give aot train another --out"
        )
        raise OutputError(message)


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """Say in which keys two plain analyses differ, each as ``key: before there, now here``."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = dict.fromkeys([*before, *now])
        return [
            line
            for name in names
            for line in differences(
                before.get(name, "nothing"), now.get(name, "nothing"), f"{key}.{name}".lstrip(".")
            )
        ]
    if before == now:
        return []
    return [f"{key}: {_shown(before)} there, {_shown(now)} here"]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
