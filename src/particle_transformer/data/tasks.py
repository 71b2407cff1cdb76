"""The pieces of work of a preparation, and the loop that does them one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from particle_transformer.data.files import InputFile

__all__ = ["CHUNK_ENTRIES", "ChunkTask", "Runner", "in_order"]

CHUNK_ENTRIES = 100_000
"""Entries read at once: large enough for numpy's speed, small enough for memory."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ChunkTask:
    """A range of entries of one input file.

    Attributes
    ----------
    file
        The file.
    start, stop
        The entries start <= i < stop.
    entries
        How many entries the file has in all.
    key
        Fingerprint of everything that decides the chunk's shard.
    """

    file: InputFile
    start: int
    stop: int
    entries: int
    key: str

    def __str__(self) -> str:
        return f"{self.file.path}, entries {self.start} to {self.stop}"


class Runner(Protocol):
    """Does tasks, here or elsewhere, in any order."""

    def __call__(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], /
    ) -> Iterator[tuple[int, Result | InputFileError]]:
        """Yield each task's index once, with its result or the error it finally failed with.

        Any other error is raised at once.
        """


def in_order(
    function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[tuple[int, Result | InputFileError]]:
    """Do the tasks in this process, one after the other."""
    for index, task in enumerate(tasks):
        try:
            result: Result | InputFileError = function(task)
        except InputFileError as error:
            result = error
        yield index, result
