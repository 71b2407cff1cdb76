"""Run tasks on the workers of a Dask cluster, whatever becomes of some of them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from particle_transformer._version import __version__
from particle_transformer.distributed.versions import wrong_version
from particle_transformer.errors import AOTError, ClusterError, InputFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future

__all__ = ["DaskRunner"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Value = TypeVar("Value")

TASKS_PER_THREAD = 2
"""Tasks that are sent and not yet consumed, per thread of the workers: one runs, one waits."""

TASKS_WITHOUT_WORKERS = 32
"""Tasks sent while there is no worker: a cluster that adapts to its work has to see some."""

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the workers."""


class DaskRunner:
    """Runs a function on tasks, on the workers of a Dask cluster.

    Parameters
    ----------
    client
        The client of the cluster, as from `connect`.
    retries
        How often a task that raises is run again; networks and file systems have bad moments.
    patience
        Seconds to go on without any worker. Workers of a batch system may have to queue longer
        than this: wait for the first before starting.
    """

    def __init__(self, client: Client, *, retries: int = 3, patience: float = 60.0) -> None:
        self._client = client
        self._retries = retries
        self._patience = patience

    def __call__(
        self, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result | InputFileError]]:
        """Run `function` on every task.

        The function is sent to each worker once, each task on its own. Only as results are consumed
        are further tasks sent, so that no more than `TASKS_PER_THREAD` results per thread wait
        (on the workers), and one is on this machine.

        Parameters
        ----------
        function
            Importable on the workers; it runs in any order, and again where a worker was lost.
        tasks
            What to run it on; ``str(task)`` names a task in messages.

        Yields
        ------
        index
            Which task; each comes exactly once, in any order.
        outcome
            What the function returned, or the `InputFileError` that it raised even after
            `retries` repetitions, or that says that the task killed its workers.

        Raises
        ------
        AOTError
            Any other one that the function raises, at once: it would be the same for every task.
        ClusterError
            If no worker is left, the scheduler has gone, or a worker has another version of this
            package.
        Exception
            Any other one that the function raises even after `retries` repetitions.
        """
        if not tasks:
            return
        from particle_transformer.distributed.registered import registered  # noqa: PLC0415

        workers = _Workers(self._client, self._patience)
        waiting = iter(enumerate(tasks))
        running: dict[str, tuple[int, Future[Any]]] = {}
        finished: SimpleQueue[str] = SimpleQueue()
        with registered(self._client, function) as name, _cancelled_at_end(self._client, running):
            while True:
                for index, task in islice(waiting, max(0, workers.capacity() - len(running))):
                    future = self._client.submit(
                        _attempt,
                        name,
                        _Sealed(task),
                        __version__,
                        pure=False,
                        retries=self._retries,
                    )
                    running[future.key] = index, future
                    future.add_done_callback(lambda done: finished.put(done.key))
                if not running:
                    return
                index, future = running[_next(finished, workers)]
                yield index, _outcome(future, tasks[index], workers)
                del running[future.key]
                future.release()


@contextmanager
def _cancelled_at_end(
    client: Client, running: dict[str, tuple[int, Future[Any]]]
) -> Iterator[None]:
    try:
        yield
    finally:
        # A scheduler that has gone has nothing to cancel, and the error is on its way.
        if running and client.status == "running":
            with suppress(OSError):
                client.cancel([future for _, future in running.values()], force=True)


class _Workers:
    """How many threads the cluster has, looked up now and then."""

    def __init__(self, client: Client, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._threads = 0
        self._looked: float | None = None
        self._alone_since: float | None = None

    @property
    def scheduler(self) -> str:
        return f"Dask scheduler {self._client.scheduler.address}"

    def capacity(self) -> int:
        """Tasks to have on the cluster at once."""
        self.look()
        return self._threads * TASKS_PER_THREAD or TASKS_WITHOUT_WORKERS

    def look(self) -> None:
        """Count the threads; raise if there has been none for too long, or no scheduler."""
        now = time.monotonic()
        if self._looked is not None and now - self._looked < CHECK_INTERVAL:
            return
        try:
            self._threads = sum(self._client.nthreads().values())
        except OSError as error:
            raise self.gone() from error
        self._looked = now
        if self._threads:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= self._patience:
            message = (
                f"{self.scheduler}: no worker for {self._patience:g} s; "
                f"see why the workers ended or do not start, then run again"
            )
            raise ClusterError(message)

    def gone(self) -> ClusterError:
        """The error that says that the scheduler does not answer any more."""
        return ClusterError(
            f"{self.scheduler}: the connection is lost; see whether it still runs, then run again"
        )


def _next(finished: SimpleQueue[str], workers: _Workers) -> str:
    while True:
        try:
            return finished.get(timeout=CHECK_INTERVAL)
        except Empty:
            workers.look()


def _outcome(future: Future[Any], task: object, workers: _Workers) -> Any:
    """What a task returned, or the error that it is reported with; raise what ends it all."""
    from distributed.comm import CommClosedError  # noqa: PLC0415
    from distributed.scheduler import KilledWorker  # noqa: PLC0415

    try:
        result = _result(future, workers)
    except InputFileError as error:
        return error.with_traceback(None)  # whose frames would keep what they refer to
    except KilledWorker as error:
        return InputFileError(
            f"{task}: killed {error.allowed_failures + 1} workers in a row, the last on "
            f"{error.last_worker.host}; out of memory?"
        )
    except (CancelledError, CommClosedError) as error:
        raise workers.gone() from error
    if isinstance(result, _Mistake):
        raise result.error
    return result


def _result(future: Future[Any], workers: _Workers) -> Any:
    """Fetch a result; its worker may take it along even now, and none be left to make it again."""
    client = future.client
    fetch = asyncio.run_coroutine_threadsafe(_fetch(client, future), client.loop.asyncio_loop)
    try:
        while True:
            try:
                return fetch.result(timeout=CHECK_INTERVAL)
            except TimeoutError:
                if fetch.done():  # the function's own, or in this very moment
                    return fetch.result()
                workers.look()
    finally:
        fetch.cancel()


async def _fetch(client: Client, future: Future[Any]) -> Any:
    (result,) = await client.gather([future], asynchronous=True)
    return result


@dataclass(frozen=True)
class _Sealed(Generic[Value]):
    """Keeps Dask from looking into a value for tasks of its own."""

    value: Value


@dataclass(frozen=True)
class _Mistake:
    """An error that is the same each time: returned, since Dask would repeat what raises."""

    error: AOTError


def _attempt(name: str, task: _Sealed[Any], version: str) -> Any:
    """Run the function on the task, on the worker: its result, or a `_Mistake`."""
    from distributed import get_worker  # noqa: PLC0415

    from particle_transformer.distributed.registered import registered_function  # noqa: PLC0415

    if version != __version__:  # of a worker that came after the client had connected
        return _Mistake(wrong_version(f"worker {get_worker().address}", __version__, version))
    try:
        return registered_function(name)(task.value)
    except InputFileError as error:
        message = str(error)
    except AOTError as error:
        return _Mistake(error)
    # Raised anew, without a cause that may not survive the way to the client.
    raise InputFileError(message)
