"""The folder beside an output in which it is assembled."""

from __future__ import annotations

import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from particle_transformer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_name", "partial_beside"]


def check_name(out: Path) -> None:
    """Refuse an output in whose place nothing can be put.

    Raises
    ------
    OutputError
        If `out` is no name of its own (``.``, ``..``, ``/``).
    """
    if out.name in ("", ".."):
        message = f"{out}: a folder that cannot be replaced; give --out a folder with its own name"
        raise OutputError(message)


@contextmanager
def partial_beside(out: Path) -> Iterator[Path]:
    """Make an empty folder beside `out` to assemble it in; at the end what is left there goes.

    Its name, ``.<out>.<random>.partial``, is its own: two programs with the same `out` do not
    touch each other's. Parents of `out` that did not exist are made, and those among them that are
    still empty at the end are removed.

    Parameters
    ----------
    out
        The output; move the finished folder there before the end.

    Yields
    ------
    Path
        The folder.

    Raises
    ------
    OutputError
        If `out` is no name of its own, or if the folder, or something in it, cannot be written.
    """
    check_name(out)
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    missing = [parent for parent in out.parents if not parent.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in missing:
            try:
                parent.rmdir()
            except OSError:  # it holds something, or was never made
                continue
