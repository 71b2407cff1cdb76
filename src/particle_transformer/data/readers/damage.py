"""The errors of a file that cannot be opened, or that its library cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.errors import InputFileError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["damaged", "no_branch", "unreadable"]

_NOT_OPENED = (ImportError, FileNotFoundError, PermissionError, ConnectionError, TimeoutError)


def unreadable(path: str, kind: str, error: BaseException) -> InputFileError:
    """Say that the file cannot be read as `kind`, with the library's own reason in short."""
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    if isinstance(error, _NOT_OPENED):
        return InputFileError(f"{path}: cannot be opened ({reason})")
    return InputFileError(
        f"{path}: cannot be read as a {kind} file, it is empty, truncated or damaged ({reason})"
    )


def damaged(path: str, found: str) -> InputFileError:
    """Say that what the file states twice does not agree."""
    return InputFileError(f"{path}: {found}; the file is damaged, fetch or write it again")


def no_branch(
    path: str, name: str, known: Iterable[str], unusable: Mapping[str, str]
) -> InputFileError:
    """Say that there is no such branch, or why the one of that name is not offered."""
    if name in unusable:
        return InputFileError(
            f"{path}: branch {name!r} holds {unusable[name]}; expected one number, or a list of "
            f"numbers, per event"
        )
    return InputFileError(f"{path}: no branch {name!r} in this file; {nearest(name, known)}")
