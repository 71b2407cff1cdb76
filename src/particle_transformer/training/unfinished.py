"""The run directory while its networks are trained: begun, taken up again, or taken back."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import yaml

from particle_transformer.artefact.run_folder import RunFolder, check_new
from particle_transformer.atomic import check_name, replacing, writing
from particle_transformer.config import dump_analysis
from particle_transformer.errors import AOTError, OutputError
from particle_transformer.locks import LOCK, held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from particle_transformer.config import Analysis

__all__ = ["begun", "check_same", "differences", "is_finished"]

_PARTIAL = ".unfinished.partial.json"  # as `replacing` calls it


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
    _check(run, analysis, resume=resume)
    missing = [parent for parent in (out, *out.parents) if not parent.exists()]
    with writing(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError:
            _remove_empty(missing)
            raise
        with held(out, f"{out}: another aot train is at work there; wait for it, or end it"):
            _check(run, analysis, resume=resume)  # another program was at work, perhaps, until now
            fresh = not run.unfinished.exists()
            try:
                # The mark comes first: what has it can be resumed, whatever else is there.
                if fresh:
                    with replacing(run.unfinished) as partial:
                        partial.write_text("{}\n")
                if not run.analysis.exists():
                    with replacing(run.analysis) as partial:
                        partial.write_text(dump_analysis(analysis), encoding="utf-8")
                yield run
            except (AOTError, OSError):
                if fresh and not (out / "checkpoints").exists():
                    _take_back(out, missing)
                raise


def is_finished(run: RunFolder) -> bool:
    """Whether a folder holds a run that is trained to its end."""
    return run.record.exists() and not run.unfinished.exists()


def _check(run: RunFolder, analysis: Analysis, *, resume: bool) -> None:
    """Check that a training may begin, or go on, in the folder."""
    if not run.unfinished.exists():
        if {path.name for path in _content(run.path)} - {LOCK, _PARTIAL}:  # of one killed at once
            check_new(run.path, "aot train")
    elif not resume:
        message = (
            f"{run.path}: holds a training that has not ended; give --resume to go on, or remove "
            "it, or give aot train another --out"
        )
        raise OutputError(message)
    elif run.analysis.exists():
        check_same(run, analysis)


def _content(out: Path) -> list[Path]:
    return list(out.iterdir()) if out.is_dir() else [out] if out.exists() else []


def _take_back(out: Path, missing: list[Path]) -> None:
    if out in missing:
        shutil.rmtree(out, ignore_errors=True)
    else:  # an empty folder that was there before
        for path in _content(out):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    _remove_empty(missing)


def _remove_empty(missing: list[Path]) -> None:
    for folder in missing:
        with suppress(OSError):  # it is gone, or holds something
            folder.rmdir()


def check_same(run: RunFolder, analysis: Analysis) -> None:
    """Check that the run in a folder is that of an analysis.

    Raises
    ------
    OutputError
        If it is that of another one; the message says which keys differ.
    """
    try:
        before = yaml.safe_load(run.analysis.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).partition("\n")[0]
        message = f"{run.analysis}: cannot be read ({reason}); remove {run.path} and train again"
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
