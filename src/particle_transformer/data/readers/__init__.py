"""Input files: one small reader per format behind one protocol."""

from __future__ import annotations

from pathlib import PurePosixPath

from particle_transformer.data.readers.parquet import ParquetReader
from particle_transformer.data.readers.protocol import Column, Generated, Reader
from particle_transformer.data.readers.root import RootReader
from particle_transformer.errors import InputFileError

__all__ = ["Column", "Generated", "Reader", "open_reader"]

_FORMATS = {".root": "root", ".parquet": "parquet", ".pq": "parquet"}


def open_reader(path: str, *, file_format: str | None, tree: str) -> Reader:
    """Open one input file.

    Parameters
    ----------
    path
        Local path or URL.
    file_format
        ``nanoaod``, ``root`` or ``parquet``; None guesses from the file's ending.
    tree
        Name of the tree in a ROOT file.

    Raises
    ------
    InputFileError
        If the format cannot be guessed, or the file cannot be read.
    """
    guessed = file_format or _FORMATS.get(PurePosixPath(path).suffix.lower())
    match guessed:
        case "nanoaod" | "root":
            return RootReader(path, tree)
        case "parquet":
            return ParquetReader(path)
        case _:
            message = (
                f"{path}: the format cannot be guessed from the file's ending; expected one of "
                f"{', '.join(_FORMATS)}, or say source.format in the analysis file"
            )
            raise InputFileError(message)
