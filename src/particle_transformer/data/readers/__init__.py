"""Input files: one small reader per format behind one protocol."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from particle_transformer.data.readers.damage import unreadable
from particle_transformer.data.readers.delphes import DelphesReader, looks_like_delphes
from particle_transformer.data.readers.hdf5 import Hdf5Reader
from particle_transformer.data.readers.numbered import NumberedReader
from particle_transformer.data.readers.parquet import ParquetReader
from particle_transformer.data.readers.protocol import Column, Generated, Reader
from particle_transformer.data.readers.remote import is_url
from particle_transformer.data.readers.rntuple import RNTupleReader
from particle_transformer.data.readers.root import RootReader
from particle_transformer.data.readers.rootfile import RNTUPLE, RootFile
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Column", "Generated", "Reader", "guess_format", "open_reader"]

_FORMATS = {
    ".root": "root",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}


def open_reader(
    path: str, *, file_format: str | None, tree: str, numbered: Sequence[str] = ()
) -> Reader:
    """Open one input file.

    Parameters
    ----------
    path
        Local path or URL.
    file_format
        ``nanoaod``, ``delphes``, ``root``, ``parquet`` or ``hdf5``; None guesses from the file's
        ending, and for ROOT from the form of the tree's branches.
    tree
        Name of the tree in a ROOT file.
    numbered
        Prefixes of numbered branches, with ``{}`` in the place of the number: ``jet{}`` offers
        ``jet{}_pt`` from ``jet1_pt``, ``jet2_pt``, ….

    Raises
    ------
    InputFileError
        If the format cannot be guessed, or the file cannot be read.
    """
    if not is_url(path) and Path(path).is_dir():
        message = f"{path}: is a folder; expected a file"
        raise InputFileError(message)
    _check_ending(path, file_format)
    reader = _open(path, file_format, tree)
    if not numbered:
        return reader
    try:
        return NumberedReader(reader, numbered, path)
    except BaseException:
        reader.__exit__()
        raise


def guess_format(path: str) -> str | None:
    """``root``, ``parquet`` or ``hdf5`` by the ending of a path or URL; None for any other."""
    # A URL may go on behind the ending: file.root?token=…
    name = urlsplit(path).path if is_url(path) else path
    return _FORMATS.get(PurePosixPath(name).suffix.lower())


def _check_ending(path: str, file_format: str | None) -> None:
    """Refuse a file that says by its ending that it is of another format than the declared one."""
    guess = guess_format(path)
    wanted = "root" if file_format in ("nanoaod", "delphes") else file_format
    if None not in (guess, wanted) and guess != wanted:
        endings = ", ".join(end for end, kind in _FORMATS.items() if kind == wanted)
        message = (
            f"{path}: its ending says {guess}, but source.format of the analysis file is "
            f"{file_format}; expected {endings}"
        )
        raise InputFileError(message)


def _open(path: str, file_format: str | None, tree: str) -> Reader:
    match file_format or guess_format(path):
        case "nanoaod" | "delphes" | "root":
            return _open_root(path, file_format, tree)
        case "parquet":
            return ParquetReader(path)
        case "hdf5":
            return Hdf5Reader(path)
        case _:
            message = (
                f"{path}: the format cannot be guessed from the file's ending; expected one of "
                f"{', '.join(_FORMATS)}, or say source.format in the analysis file"
            )
            raise InputFileError(message)


def _open_root(path: str, file_format: str | None, tree: str) -> Reader:
    file = RootFile(path)
    try:
        found, kind = file.find(tree)
        if file_format == "delphes":
            return DelphesReader(file, found)
        if kind == RNTUPLE:
            return RNTupleReader(file, found)
        if file_format is None and _is_delphes(path, found):
            return DelphesReader(file, found)
        return RootReader(file, found)
    except BaseException:
        file.close()
        raise


def _is_delphes(path: str, tree: object) -> bool:
    try:
        return looks_like_delphes(tree)
    except Exception as error:
        raise unreadable(path, "ROOT", error) from error
