"""A first look at an input file: how many entries, what it states, whether all names resolve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from particle_transformer.data.chunk import ChunkReader
from particle_transformer.data.files import check_unchanged
from particle_transformer.data.readers import open_reader
from particle_transformer.errors import AnalysisFileError, InputFileError
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from particle_transformer.config import Analysis
    from particle_transformer.data.files import InputFile
    from particle_transformer.data.readers import Generated, Reader

__all__ = ["ScannedFile", "Scanner", "open_input"]


@dataclass(frozen=True)
class ScannedFile:
    """An input file, its number of entries, and what it states of all generated events."""

    file: InputFile
    entries: int
    stated: Generated | None


class Scanner:
    """Looks at files, here or on another machine: a function that pickles.

    Parameters
    ----------
    analysis
        The analysis file.
    unblind
        Whether data in blind regions may be read.
    first_entries
        How many entries to evaluate; none are read for 0.
    """

    def __init__(self, analysis: Analysis, *, unblind: bool, first_entries: int = 0) -> None:
        self._analysis = analysis
        self._unblind = unblind
        self._first = first_entries

    def __call__(self, file: InputFile) -> ScannedFile:
        """Open the file.

        Raises
        ------
        InputFileError
            If it is damaged, lacks what the analysis file names, or is no longer the one that was
            found.
        """
        with open_input(self._analysis, file) as reader:
            chunks = ChunkReader(reader, self._analysis, file, unblind=self._unblind)
            if self._first:
                chunks.read(0, min(reader.entries, self._first))
            stated = None
            if self._analysis.class_of(file.process) != DATA:
                stated = reader.generated()
            weights = self._analysis.weights
            weighted = "generator" in weights
            misnamed = [name for name, text in weights.items() if text == "genWeight"]
            if misnamed and not weighted:
                message = (
                    f"weights.{misnamed[0]} is genWeight, the generator weight, but is not called "
                    f"so; name it generator, or nothing normalises it ({file.path})"
                )
                raise AnalysisFileError(message)
            if stated is not None and weighted and not chunks.generator_is_branch:
                message = (
                    f"{file.path}: weights.generator is {self._analysis.weights['generator']!r}, "
                    f"but the file states the sum of a branch over all generated events "
                    f"(genEventSumw); name that branch (genWeight), and put factors beside it "
                    f"under another name of weights"
                )
                raise InputFileError(message)
            check_unchanged(file)
            return ScannedFile(file, reader.entries, stated)


def open_input(analysis: Analysis, file: InputFile) -> Reader:
    """Open an input file with the reader of its format; see `open_reader`."""
    prefixes = [settings.collection for settings in analysis.objects.values()]
    numbered = [prefix for prefix in prefixes if prefix is not None and "{}" in prefix]
    return open_reader(
        file.path, file_format=analysis.source.format, tree=file.tree, numbered=numbered
    )
