"""Output that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from particle_transformer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_name", "new_folder", "replacing", "writing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place when the block ends without error.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    # The suffix stays: writers go by it.
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{path}: cannot be written ({reason})"
        raise OutputError(message) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside `path`, which takes its place when the block ends without error.

    In the place of `path` there is nothing, or an empty folder.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            # mkdtemp makes it private; the result has the permissions of any new folder.
            (folder := part / path.name).mkdir()
            yield folder
            folder.replace(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def check_name(out: Path) -> None:
    """Refuse an output folder in whose place nothing can be put.

    Raises
    ------
    OutputError
        If `out` is no name of its own (``.``, ``..``, ``/``), or a file.
    """
    if out.name in ("", ".."):
        message = f"{out}: a folder that cannot be replaced; give --out a folder with its own name"
        raise OutputError(message)
    if out.exists() and not out.is_dir():
        message = f"{out}: exists and is not a folder; give --out another place"
        raise OutputError(message)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Report what the system refuses meanwhile as an output that cannot be written.

    Raises
    ------
    OutputError
        In the place of any OSError.
    """
    try:
        yield
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
