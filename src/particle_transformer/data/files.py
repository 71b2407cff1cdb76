"""From the patterns of the analysis file to input files."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from particle_transformer.config import Analysis

__all__ = ["InputFile", "find_files"]


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
    size, modified
        Bytes, and modification time in ns; both 0 for a URL.
    """

    path: str
    process: str
    era: str
    tree: str
    size: int
    modified: int


def find_files(analysis: Analysis) -> list[InputFile]:
    """Resolve the patterns of every process and era, each sorted by path.

    Raises
    ------
    InputFileError
        If a pattern matches no file, or two processes (or eras) match the same tree of a file.
    """
    found: list[InputFile] = []
    owners: dict[tuple[str, str], InputFile] = {}
    for name, process in analysis.processes.items():
        tree = process.tree or analysis.source.tree
        for era, patterns in process.files.items():
            paths: set[str] = set()
            for pattern in patterns:
                paths.update(_match(pattern, f"processes.{name}.files"))
            for path in sorted(paths):
                stat = None if "://" in path else Path(path).stat()
                file = InputFile(
                    path,
                    name,
                    era,
                    tree,
                    0 if stat is None else stat.st_size,
                    0 if stat is None else stat.st_mtime_ns,
                )
                owner = owners.setdefault((path, tree), file)
                if owner is not file:
                    message = (
                        f"{path}: matched by processes.{owner.process} (era {owner.era}) and "
                        f"processes.{name} (era {era}); every file belongs to one process and era"
                    )
                    raise InputFileError(message)
                found.append(file)
    return found


def _match(pattern: str, key: str) -> list[str]:
    if "://" in pattern:
        return [pattern]
    absolute = Path(pattern)
    if absolute.is_file():  # a name with brackets is a file before it is a pattern
        return [str(absolute.resolve())]
    matches = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]  # noqa: PTH207 (absolute pattern)
    if not matches:
        message = f"{key}: no file matches {pattern!r}"
        raise InputFileError(message)
    return [str(Path(path).resolve()) for path in matches]
