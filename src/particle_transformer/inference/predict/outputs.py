"""The outputs of a command: each is written when the last chunk of its input is scored."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing
from particle_transformer.inference.predict.copying import write_copy
from particle_transformer.inference.predict.writers import write_friend, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from particle_transformer.data.tasks import ChunkTask
    from particle_transformer.inference.predict.jobs import Job
    from particle_transformer.inference.predict.parts import Parts

__all__ = ["Outputs"]


class Outputs:
    """Keeps scores, and writes outputs.

    Parameters
    ----------
    jobs
        The files.
    tasks
        The chunks of each file.
    parts
        Where scores are kept; some may be there already.
    progress
        Called with (what is being done, entries done, entries in all).

    Attributes
    ----------
    missing
        What is to be scored: the number of the file, and the chunk.
    made
        By the number of the file: what its output, which was written, says of itself.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        tasks: Sequence[Sequence[ChunkTask]],
        parts: Parts,
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._jobs = jobs
        self._keys = [[task.key for task in each] for each in tasks]
        self._parts = parts
        self._progress = progress
        self.made: dict[int, dict[str, Any]] = {}
        self.missing = [
            (number, task)
            for number, each in enumerate(tasks)
            for task in each
            if not parts.has(task.key)
        ]
        owners = [owner for owner, _ in self.missing]
        self._waiting = {number: owners.count(number) for number in range(len(jobs))}
        entries = sum(task.stop - task.start for each in tasks for task in each)
        self._total = 2 * entries  # scored, and written
        self._done = entries - sum(task.stop - task.start for _, task in self.missing)

    def write_complete(self) -> None:
        """Write the outputs of files whose chunks had all been scored before."""
        for number, waiting in self._waiting.items():
            if not waiting:
                self._write(number)

    def put(self, number: int, task: ChunkTask, content: bytes) -> None:
        """Keep the scores of a chunk; write the output of its file if it was the last one."""
        self._parts.put(task.key, content)
        self._advance("scoring", number, task.stop - task.start)
        self._waiting[number] -= 1
        if not self._waiting[number]:
            self._write(number)

    def _write(self, number: int) -> None:
        job, keys = self._jobs[number], self._keys[number]
        counts = self._parts.counts(keys)
        columns = list(next(self._parts.tables(keys[:1])))
        provenance = job.recipe.provenance(job.file, job.output_format, counts, columns)
        provenance["blinded"] = job.blinded

        def advance(rows: int) -> None:
            self._advance("writing", number, rows)

        with replacing(job.output) as partial:
            if job.output_format == "copy":
                provenance = write_copy(
                    partial, job.file, job.columns, self._parts, keys, provenance, advance
                )
            elif job.output_format == "friend":
                write_friend(partial, self._parts.tables(keys), provenance, parts=len(keys))
                advance(counts.entries)
            else:
                write_parquet(partial, self._parts.tables(keys), provenance)
                advance(counts.entries)
        self._parts.remove(keys)
        self.made[number] = provenance

    def _advance(self, what: str, number: int, entries: int) -> None:
        self._done += entries
        name = PurePath(self._jobs[number].file.path).name
        if self._progress is not None:
            self._progress(f"scoring ({what} {name})", self._done, self._total)
