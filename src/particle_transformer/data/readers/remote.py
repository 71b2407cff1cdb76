"""Files behind a URL, through fsspec."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

import fsspec

from particle_transformer.data.readers.damage import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_url", "local_or_remote"]


def is_url(path: str) -> bool:
    """Whether `path` is a URL, which is handed to fsspec unchanged."""
    return "://" in path


@contextmanager
def local_or_remote(path: str, kind: str) -> Iterator[str | BinaryIO]:
    """The local path itself, or the open file behind a URL, closed at the end.

    Raises
    ------
    InputFileError
        If the URL cannot be opened.
    """
    if not is_url(path):
        yield path
        return
    try:
        file = fsspec.open(path, "rb").open()
    except Exception as error:  # each protocol raises its own
        raise unreadable(path, kind, error) from error
    with file:
        yield cast("BinaryIO", file)
