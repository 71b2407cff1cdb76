"""From the patterns of the analysis file to input files."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from particle_transformer.data.readers import guess_format
from particle_transformer.data.readers.remote import is_url
from particle_transformer.errors import InputFileError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from particle_transformer.config import Analysis

__all__ = ["InputFile", "check_unchanged", "find_files", "input_file", "patterns_of", "sha256_of"]


@dataclass(frozen=True)
class InputFile:
    """One file of a process in an era.

    Attributes
    ----------
    path
        Absolute path, or a URL handed to the reader unchanged.
    process, era
        Names of the analysis file.
    tree
        The tree to read.
    variation
        The side of a variation (``hdamp.up``) whose files replace those of the process; empty for
        the nominal ones.
    size, version
        Bytes, and what changes when the file does: its modification time in ns, or for a URL what
        its server says (an entity tag or a time). 0 and empty where the server says nothing.
    """

    path: str
    process: str
    era: str
    tree: str
    variation: str
    size: int
    version: str


def find_files(analysis: Analysis) -> list[InputFile]:
    """Resolve the patterns of every process and era, each sorted by path.

    The files that replace a process in a variation come after its nominal ones.

    Raises
    ------
    InputFileError
        If a pattern matches no file, or two processes (or eras, or variations) match the same tree
        of a file.
    """
    found: list[InputFile] = []
    owners: dict[tuple[str, str], InputFile] = {}
    for name, era, variation, patterns, key in patterns_of(analysis):
        process = analysis.processes[name]
        tree = process.tree or analysis.source.tree
        paths: set[str] = set()
        for pattern in patterns:
            paths.update(_match(pattern, key))
        for path in sorted(paths - _excluded(analysis, name)):
            file = InputFile(path, name, era, tree, variation, *_state(path))
            owner = owners.setdefault((path, tree if _has_trees(analysis, path) else ""), file)
            if owner is not file:
                what = f"tree {tree!r} of it" if _has_trees(analysis, path) else "it"
                message = (
                    f"{path}: matched by {_place(owner)} and {_place(file)}; every file belongs "
                    f"to one process and era: name {what} once, or split it into two files"
                )
                raise InputFileError(message)
            found.append(file)
        if not paths - _excluded(analysis, name):
            message = f"{key}: every file of era {era} is excluded; take the process out instead"
            raise InputFileError(message)
    return found


def input_file(path: str, process: str, era: str, tree: str, variation: str = "") -> InputFile:
    """A file that the user names: its path made absolute, with its present size and version.

    Raises
    ------
    InputFileError
        If it is not there, or is a folder.
    """
    absolute = path if is_url(path) else str(Path(path).resolve())
    try:
        state = _state(absolute)
    except OSError as error:
        there = _what_is_there(Path(absolute))
        message = f"{path}: cannot be opened ({error.strerror or error}); {there}"
        raise InputFileError(message) from error
    if not is_url(path) and Path(path).is_dir():
        message = f"{path}: is a folder; expected files, as in {path}/*.root"
        raise InputFileError(message)
    return InputFile(absolute, process, era, tree, variation, *state)


def sha256_of(path: Path) -> str:
    """SHA-256 of a small local file, hexadecimal.

    Raises
    ------
    InputFileError
        If it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error}); expected a file"
        raise InputFileError(message) from error


def check_unchanged(file: InputFile) -> None:
    """Check that the file is still the one that was found.

    Raises
    ------
    InputFileError
        If it is gone, or has another size or version.
    """
    try:
        state = _state(file.path)
    except OSError as error:
        message = f"{file.path}: gone while it was read ({error.strerror or error}); run again"
        raise InputFileError(message) from error
    if state != (file.size, file.version):
        message = (
            f"{file.path}: replaced while it was read (it had {file.size} bytes, now {state[0]}, "
            f"or was written anew); run again"
        )
        raise InputFileError(message)


def patterns_of(
    analysis: Analysis,
) -> Iterator[tuple[str, str, str, Sequence[str], str]]:
    """Process, era, variation, patterns, and their place in the analysis file."""
    for name, process in analysis.processes.items():
        for era, patterns in process.files.items():
            yield name, era, "", patterns, f"processes.{name}.files"
        for varied in analysis.varied:
            for era, patterns in varied.files.get(name, {}).items():
                key = f"variations.{varied.name}.processes.{name}.files"
                yield name, era, varied.name, patterns, key


def _excluded(analysis: Analysis, process: str) -> set[str]:
    excluded: set[str] = set()
    for pattern in analysis.processes[process].exclude:
        excluded.update(_match(pattern, f"processes.{process}.exclude"))
    return excluded


def _has_trees(analysis: Analysis, path: str) -> bool:
    """Whether a file may hold several trees; of other formats it is one table."""
    file_format = analysis.source.format or guess_format(path)
    return file_format in ("nanoaod", "delphes", "root")


def _place(file: InputFile) -> str:
    variation = f", variation {file.variation}" if file.variation else ""
    return f"processes.{file.process} (era {file.era}{variation})"


def _state(path: str) -> tuple[int, str]:
    if not is_url(path):
        stat = Path(path).stat()
        return stat.st_size, str(stat.st_mtime_ns)
    try:
        filesystem, inside = fsspec.core.url_to_fs(path)
        info = filesystem.info(inside)
    except Exception as error:  # each protocol raises its own
        message = f"{path}: cannot be reached ({' '.join(str(error).split())[:160]})"
        raise InputFileError(message) from error
    known = ("ETag", "etag", "LastModified", "Last-Modified", "mtime", "created")
    version = next((str(info[name]) for name in known if info.get(name)), "")
    return int(info.get("size") or 0), version


def _match(pattern: str, key: str) -> list[str]:
    if is_url(pattern):
        return [pattern]
    absolute = Path(pattern)
    if absolute.is_file():  # a name with brackets is a file before it is a pattern
        return [str(absolute.resolve())]
    matches = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]  # noqa: PTH207 (absolute pattern)
    if not matches:
        message = f"{key}: no file matches {pattern!r}; {_what_is_there(absolute)}"
        raise InputFileError(message)
    return [str(Path(path).resolve()) for path in matches]


def _what_is_there(missing: Path) -> str:
    """What stands in the place of a file or pattern that matches nothing."""
    folder = missing
    while glob.has_magic(str(folder)) or not folder.exists():
        folder = folder.parent
    if folder == missing:
        return "it is a folder, expected files as in folder/*.root"
    if folder != missing.parent:
        wanted = missing.relative_to(folder).parts[0]
        if not glob.has_magic(wanted):
            return f"{folder} has no folder {wanted}"
    files = [path.name for path in folder.iterdir() if path.is_file()]
    return f"in {folder} {nearest(missing.name, files)}" if files else f"{folder} has no files"
