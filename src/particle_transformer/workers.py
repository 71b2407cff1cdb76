"""Tasks on several processes of this machine, and their end with their parent's."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from particle_transformer.interrupts import interrupts_blocked

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["available_cores", "run_in_processes"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_processes(
    function: Callable[[_Task], _Result],
    next_task: Callable[[], _Task | None],
    finished: Callable[[_Result], None],
    workers: int,
) -> None:
    """Run tasks until `next_task` gives None and all that run are finished.

    However this ends, Ctrl-C and the death of this process included, the workers are ended at
    once, in the middle of their tasks.

    Parameters
    ----------
    function
        What to do with a task; importable, as the processes are started afresh.
    next_task
        The next task, asked for when a worker is free; None while there is nothing more to start.
    finished
        Called in this process with each result as it comes, in any order.
    workers
        Number of processes.

    Raises
    ------
    concurrent.futures.process.BrokenProcessPool
        If a worker dies.
    """
    # Several libraries hold Python's lock while they work, hence processes; a forked copy of a
    # process that has threads may hang, hence spawn.
    context = multiprocessing.get_context("spawn")
    # Workers hold the reading end alone: it ends when this process closes its own end, or ends.
    reading, writing = context.Pipe(duplex=False)
    running: set[Future[_Result]] = set()
    with ProcessPoolExecutor(workers, context, _follow, (reading,)) as pool:
        try:
            while True:
                while len(running) < workers and (task := next_task()) is not None:
                    with interrupts_blocked():
                        running.add(pool.submit(function, task))
                if not running:
                    pool.shutdown(wait=True)
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    finished(future.result())
        finally:
            writing.close()
            reading.close()
            pool.shutdown(wait=True, cancel_futures=True)


def _follow(parent: Connection) -> None:
    """End this process when its parent has ended or wants it to."""

    def end() -> None:
        try:
            parent.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()
