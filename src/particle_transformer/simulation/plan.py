"""Which chunks to generate next, and which make up the sample."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from particle_transformer.simulation.generate import ChunkTask
from particle_transformer.simulation.summary import ProcessSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.simulation.processes import Process
    from particle_transformer.simulation.samples import Sample
    from particle_transformer.simulation.summary import ChunkSummary

__all__ = ["Plan"]


class Plan:
    """Chunks of each process, from the first on, until enough events are kept.

    A process's part of the sample is the shortest sequence of chunks 0, 1, … that keeps
    `Sample.wanted` events: a rule that knows nothing of workers, nor of which chunks were there
    before. Workers may finish a chunk beyond it; such a chunk is not used.

    Parameters
    ----------
    sample
        Which sample.
    processes
        Which of its processes to simulate.
    events
        The number of events to keep per process; see `Sample.wanted`.
    chunk_events
        Events generated per chunk.
    seed
        The sample's seed.
    """

    def __init__(
        self,
        sample: Sample,
        processes: Sequence[Process],
        events: int,
        chunk_events: int,
        seed: int,
    ) -> None:
        self._sample = sample
        self._processes = {process.name: process for process in processes}
        self._wanted = {process.name: sample.wanted(process.name, events) for process in processes}
        self._chunk_events = chunk_events
        self._seed = seed
        self._running: dict[str, set[int]] = {name: set() for name in self._processes}
        self._finished: dict[str, dict[int, ChunkSummary]] = {name: {} for name in self._processes}

    def next_task(self) -> ChunkTask | None:
        """The next chunk to start; None while those under way are expected to be enough.

        Ask again after each `add`: the expectation may have been wrong.
        """
        for name, process in self._processes.items():
            done, running = self._finished[name], self._running[name]
            generated = sum(summary.generated for summary in done.values())
            kept = sum(summary.kept for summary in done.values())
            rate = kept / generated if kept else process.keeps
            is_enough = self.kept(name) >= self.wanted(name)
            expected = kept + len(running) * self._chunk_events * rate
            if not is_enough and (not running or expected < self.wanted(name)):
                chunk = next(n for n in count() if n not in done and n not in running)
                running.add(chunk)
                return ChunkTask(
                    name,
                    chunk,
                    self._chunk_events,
                    self._seed,
                    generator_filter=process.generator_filter,
                    detector=self._sample.detector,
                    sample=self._sample.name,
                )
        return None

    def add(self, summary: ChunkSummary) -> None:
        """Note a finished chunk, of this run or of one before."""
        self._finished[summary.process][summary.chunk] = summary
        self._running[summary.process].discard(summary.chunk)

    def wanted(self, process: str) -> int:
        """Least number of events to keep of a process."""
        return self._wanted[process]

    def kept(self, process: str) -> int:
        """Events kept so far in the unbroken sequence of chunks from the first."""
        return sum(summary.kept for summary in self._used(process))

    def summaries(self) -> dict[str, ProcessSummary]:
        """The sample, once `next_task` gives None and nothing is under way."""
        return {name: ProcessSummary(self._used(name)) for name in self._processes}

    def _used(self, process: str) -> list[ChunkSummary]:
        """Finished chunks from the first on without a gap, up to the one that makes it enough."""
        used: list[ChunkSummary] = []
        finished, kept = self._finished[process], 0
        while len(used) in finished and kept < self._wanted[process]:
            kept += finished[len(used)].kept
            used.append(finished[len(used)])
        return used
