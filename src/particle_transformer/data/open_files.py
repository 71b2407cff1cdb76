"""Input files that stay open between the chunks that are read of them."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from particle_transformer.data.files import check_unchanged
from particle_transformer.data.scan import open_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from particle_transformer.config import Analysis
    from particle_transformer.data.files import InputFile
    from particle_transformer.data.readers import Reader
    from particle_transformer.data.tasks import ChunkTask

__all__ = ["OpenFiles"]

Using = TypeVar("Using")


class OpenFiles(Generic[Using]):
    """Opens files for chunks, here or on another machine: it pickles, without the open files.

    Chunks of one file that follow one another are read from one open file; each thread of a worker
    that has several opens its own.

    Parameters
    ----------
    analysis
        The analysis file.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._open: list[tuple[InputFile, Reader, Using]] = []

    @contextmanager
    def opened(self, task: ChunkTask, use: Callable[[Reader, InputFile], Using]) -> Iterator[Using]:
        """What `use` made of the task's file when it was opened, for this chunk.

        Raises
        ------
        InputFileError
            If the file cannot be opened, or is no longer the one that was found, also at the end.
        """
        opened = self._taken(task.file, use)
        try:
            yield opened[2]
            check_unchanged(task.file)
        except BaseException:
            opened[1].__exit__()
            raise
        if task.stop == task.entries:
            opened[1].__exit__()
        else:
            self._open.append(opened)

    def close(self) -> None:
        """Close the files that are open."""
        while self._open:
            self._open.pop()[1].__exit__()

    def _taken(
        self, file: InputFile, use: Callable[[Reader, InputFile], Using]
    ) -> tuple[InputFile, Reader, Using]:
        """Take the open file, which is no other thread's from then on, or open it."""
        with suppress(IndexError):
            opened = self._open.pop()
            if opened[0] == file:
                return opened
            opened[1].__exit__()
        check_unchanged(file)
        reader = open_input(self._analysis, file)
        try:
            return file, reader, use(reader, file)
        except BaseException:
            reader.__exit__()
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": []}
