"""Which chunks to generate next, and which make up the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.simulation.generate import ChunkTask
from particle_transformer.simulation.summary import ProcessSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.simulation.processes import Process
    from particle_transformer.simulation.summary import ChunkSummary

__all__ = ["Plan"]


class Plan:
    """Chunks of each process, from the first on, until enough events are kept.

    The sample is the shortest sequence of chunks 0, 1, … that keeps `events` events: a rule that
    knows nothing of workers. Workers may finish a chunk beyond it; such a chunk is not used.

    Parameters
    ----------
    processes
        What to simulate.
    events
        Least number of events to keep per process.
    chunk_events
        Events generated per chunk.
    seed
        The sample's seed.
    """

    def __init__(
        self, processes: Sequence[Process], events: int, chunk_events: int, seed: int
    ) -> None:
        self._processes = processes
        self._events = events
        self._chunk_events = chunk_events
        self._seed = seed
        self._started = {process.name: 0 for process in processes}
        self._finished: dict[str, dict[int, ChunkSummary]] = {
            process.name: {} for process in processes
        }

    def task(self, process: str, chunk: int) -> ChunkTask:
        """One chunk's task."""
        return ChunkTask(process, chunk, self._chunk_events, self._seed)

    def next_task(self) -> ChunkTask | None:
        """The next chunk to start; None while those under way are expected to be enough.

        Ask again after each `add`: the expectation may have been wrong.
        """
        for process in self._processes:
            name = process.name
            done = self._finished[name].values()
            under_way = self._started[name] - len(done)
            generated = sum(summary.generated for summary in done)
            kept = sum(summary.kept for summary in done)
            rate = kept / generated if kept else process.keeps
            is_enough = len(self._used(name)) > 0 and self.kept(name) >= self._events
            expected = kept + under_way * self._chunk_events * rate
            if not is_enough and (under_way == 0 or expected < self._events):
                self._started[name] += 1
                return self.task(name, self._started[name] - 1)
        return None

    def add(self, summary: ChunkSummary) -> None:
        """Note a finished chunk."""
        self._finished[summary.process][summary.chunk] = summary

    def kept(self, process: str) -> int:
        """Events kept so far in the unbroken sequence of chunks from the first."""
        return sum(summary.kept for summary in self._used(process))

    def summaries(self) -> dict[str, ProcessSummary]:
        """The sample, once `next_task` gives None and nothing is under way."""
        return {
            process.name: ProcessSummary(self._used(process.name)) for process in self._processes
        }

    def _used(self, process: str) -> list[ChunkSummary]:
        """Finished chunks from the first on without a gap, up to the one that makes it enough."""
        used: list[ChunkSummary] = []
        finished = self._finished[process]
        while len(used) in finished and sum(chunk.kept for chunk in used) < self._events:
            used.append(finished[len(used)])
        return used
