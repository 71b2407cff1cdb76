"""Chunks on several processes."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING

from particle_transformer.errors import SampleError
from particle_transformer.simulation.chunks import store_chunk
from particle_transformer.simulation.generate import ChunkTask, generate_chunk
from particle_transformer.workers import run_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.simulation.summary import ChunkSummary

__all__ = ["run_tasks"]


def run_tasks(
    next_task: Callable[[], ChunkTask | None],
    finished: Callable[[ChunkSummary], None],
    work: Path,
    workers: int,
) -> None:
    """Run chunks until `next_task` gives None and all that run are finished.

    Parameters
    ----------
    next_task
        The next chunk to generate; None while there is nothing more to start.
    finished
        Called in this process for each chunk as it comes, in any order.
    work
        The folder to leave the chunks in.
    workers
        Number of processes; 1 works in this one.

    Raises
    ------
    SampleError
        If a worker process dies.
    """
    if workers == 1:
        while (task := next_task()) is not None:
            finished(_store(task, work))
        return
    try:
        run_in_processes(partial(_store, work=work), next_task, finished, workers)
    except BrokenProcessPool as error:
        message = "a simulation process ended unexpectedly (killed, or out of memory?)"
        raise SampleError(message) from error


def _store(task: ChunkTask, work: Path) -> ChunkSummary:
    return store_chunk(generate_chunk(task), task, work)
