"""The folder of a study: who may begin it, and that only one program prepares its events."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from particle_transformer.atomic import check_name
from particle_transformer.errors import OutputError
from particle_transformer.locks import is_file_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["alone_in"]

LOCK = "study.lock"


@contextmanager
def alone_in(
    out: Path,
    mark: str,
    progress: Callable[[str, int, int], None] | None,
    *,
    command: str = "aot tune",
) -> Iterator[None]:
    """Make a study's folder, and let other programs wait that would go on with the study.

    Parents that were made for it and are still empty at the end go.

    Parameters
    ----------
    out
        The folder.
    mark
        The file that the folder of a study has.
    progress
        Told that another program is waited for.
    command
        Whose folder it is, for messages.

    Raises
    ------
    OutputError
        If `out` holds something else, or cannot be written.
    """
    check_name(out)
    missing = [path for path in (out, *out.parents) if not path.exists()]
    try:
        while True:
            _check_is_study(out, mark, command)
            out.mkdir(parents=True, exist_ok=True)
            with (out / LOCK).open("w") as lock:
                _wait(lock.fileno(), out, progress, command)
                if not is_file_at(lock.fileno(), out / LOCK):
                    continue  # removed by the program that was waited for, as it failed
                try:
                    yield
                finally:
                    if not (out / mark).exists():
                        (out / LOCK).unlink(missing_ok=True)
                return
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
    finally:
        for path in missing:
            with suppress(OSError):  # it holds something, or was never made
                path.rmdir()


def _check_is_study(out: Path, mark: str, command: str) -> None:
    if not out.exists():
        return
    content = set(os.listdir(out)) if out.is_dir() else {""}  # noqa: PTH208 (names alone)
    if content and not content & {mark, LOCK}:
        message = (
            f"{out}: exists and holds no study (no {mark}); give {command} another --out, or "
            "remove it"
        )
        raise OutputError(message)


def _wait(
    lock: int, out: Path, progress: Callable[[str, int, int], None] | None, command: str
) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        label = f"waiting for another {command} that is at work in {out}"
        if progress is not None:
            progress(label, 0, 1)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if progress is not None:
            progress(label, 1, 1)
