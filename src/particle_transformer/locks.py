"""Locks between programs: files whose lock the system ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from particle_transformer.atomic import writing
from particle_transformer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LOCK", "held", "is_file_at"]

LOCK = ".lock"
"""Name of the file in the folder that is held."""


@contextmanager
def held(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder, so that no other program works in it meanwhile.

    Parameters
    ----------
    folder
        It exists.
    busy
        The message where another program holds it.

    Raises
    ------
    OutputError
        If another program holds it, or it cannot be written.
    """
    path = folder / LOCK
    while True:
        with writing(folder):
            file = path.open("w")
        with file:
            with writing(folder):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise OutputError(busy) from error
            if not is_file_at(file.fileno(), path):
                continue  # its last holder removed it between opening and locking
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_file_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that has this path now."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
