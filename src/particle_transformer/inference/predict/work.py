"""What is done with one file or chunk, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.data.files import check_unchanged
from particle_transformer.data.open_files import OpenFiles
from particle_transformer.data.scan import open_input
from particle_transformer.inference.entries import FILL, EntryScorer, RunScorer
from particle_transformer.inference.predict.parts import part_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.data.files import InputFile
    from particle_transformer.data.tasks import ChunkTask

__all__ = ["ChunkScorer", "FileLooker", "ScoreOptions"]


@dataclass(frozen=True)
class ScoreOptions:
    """How files are scored; see `RunScorer`, whose arguments these are."""

    at: tuple[dict[str, float], ...] = ()
    ensemble: bool = True
    fill: float = FILL
    unblind: bool = False
    unseen: bool = False

    def scorer(self, run: Path) -> RunScorer:
        """The scorer of a run with these options."""
        return RunScorer(RunFolder(run), **vars(self))


class _Worker:
    """Pickles by the run's path: each process loads the networks once, when they are needed."""

    def __init__(self, run: Path, options: ScoreOptions, scorer: RunScorer) -> None:
        self._run = run
        self._options = options
        self._scorer: RunScorer | None = scorer  # of this process; it stays here

    @property
    def scorer(self) -> RunScorer:
        if self._scorer is None:
            self._scorer = self._options.scorer(self._run)
        return self._scorer

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_scorer": None}


class FileLooker(_Worker):
    """Looks at a file before any is scored: whether it has what is needed, and how many entries."""

    def __call__(self, file: InputFile) -> int:
        """Number of entries.

        Raises
        ------
        InputFileError
            If the file cannot be read, or lacks a branch; the nearest names are given.
        """
        with open_input(self.scorer.analysis, file) as reader:
            self.scorer.open(reader, file)
            check_unchanged(file)
            return reader.entries


class ChunkScorer(_Worker):
    """Scores a chunk of a file."""

    def __init__(self, run: Path, options: ScoreOptions, scorer: RunScorer) -> None:
        super().__init__(run, options, scorer)
        self._files: OpenFiles[EntryScorer] | None = None

    def __call__(self, task: ChunkTask) -> bytes:
        """The scores of one chunk, as the content of an Arrow file.

        Raises
        ------
        InputFileError
            If the file cannot be read, or is no longer the one that was found.
        """
        if self._files is None:
            self._files = OpenFiles(self.scorer.analysis)
        with self._files.opened(task, self.scorer.open) as entries:
            return part_bytes(entries.read(task.start, task.stop))

    def close(self) -> None:
        """Close the files that are open."""
        if self._files is not None:
            self._files.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_files": None}
