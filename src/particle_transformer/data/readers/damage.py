"""The error of a file that its library cannot read."""

from __future__ import annotations

from particle_transformer.errors import InputFileError

__all__ = ["unreadable"]


def unreadable(path: str, kind: str, error: Exception) -> InputFileError:
    """Say that the file cannot be read as `kind`, with the library's own reason in short."""
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return InputFileError(
        f"{path}: cannot be read as a {kind} file, it is empty, truncated or damaged ({reason})"
    )
