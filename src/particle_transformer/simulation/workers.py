"""Chunks on several processes, and their clean end."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from particle_transformer.errors import SampleError
from particle_transformer.interrupts import interrupts_blocked
from particle_transformer.simulation.chunks import store_chunk
from particle_transformer.simulation.generate import ChunkTask, generate_chunk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.simulation.summary import ChunkSummary

__all__ = ["run_tasks"]

_RUNNING = "running"  # the name of a file in the work folder: workers go on while it is there


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
            finished(_store(task, work, lambda: False))
        return
    # Pythia holds Python's lock while it generates, hence processes; a forked copy of a process
    # that has threads may hang, hence spawn.
    context = multiprocessing.get_context("spawn")
    # A file, not an event of multiprocessing: no lock of ours can be held by a worker that dies.
    sign = work / _RUNNING
    sign.touch()
    running: set[Future[ChunkSummary]] = set()
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        try:
            while True:
                while len(running) < workers and (task := next_task()) is not None:
                    with interrupts_blocked():
                        running.add(pool.submit(_run, task, work))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    finished(future.result())
        except BrokenProcessPool as error:
            message = "a simulation process ended unexpectedly (killed, or out of memory?)"
            raise SampleError(message) from error
        finally:
            # However we leave, Ctrl-C included: the workers give up after their current batch.
            sign.unlink(missing_ok=True)
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Let no worker outlive its parent, however that ends."""
    parent = multiprocessing.parent_process()

    def follow_parent() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _run(task: ChunkTask, work: Path) -> ChunkSummary:
    sign = work / _RUNNING
    return _store(task, work, lambda: not sign.exists())


def _store(task: ChunkTask, work: Path, stopped: Callable[[], bool]) -> ChunkSummary:
    chunk = generate_chunk(task, stopped)
    if chunk is None:
        message = f"process {task.process!r}, chunk {task.chunk}: given up"
        raise SampleError(message)
    return store_chunk(chunk, task, work)
