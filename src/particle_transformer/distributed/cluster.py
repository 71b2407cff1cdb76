"""Connect to a Dask cluster: one of this machine, or one that the user has started."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from particle_transformer.distributed.versions import check_versions
from particle_transformer.errors import ClusterError, require
from particle_transformer.interrupts import interrupts_blocked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

__all__ = ["CONNECT_TIMEOUT", "connect"]

CONNECT_TIMEOUT = 10.0
"""Seconds after which a scheduler that does not answer is given up."""

_LOCAL = re.compile(r"local\[([1-9][0-9]*)\]")

_LOCAL_SETTINGS = {
    # One task at a time on each worker: a task that kills its worker takes no other with it.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 3,
}


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a Dask cluster, and leave it clean.

    Parameters
    ----------
    address
        ``local[N]`` starts N worker processes of one thread each on this machine and ends them
        afterwards. They talk to each other on the loopback interface only, encrypted and
        authenticated with credentials made for the occasion, so that nobody else on a shared
        machine can send them work; they have no memory limit (the machine's own, or the batch
        job's, applies), no dashboard and a temporary folder that is deleted.

        ``tcp://HOST:PORT`` or ``tls://HOST:PORT``, or the path of a scheduler file, connects to a
        scheduler that runs already; its workers are left as they are.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If `address` is none of these, the scheduler does not answer within `CONNECT_TIMEOUT`, or
        the scheduler or a worker has another version of this package.
    MissingExtraError
        If Dask is not installed.

    Notes
    -----
    Worker processes import the main module, as all spawned processes do: a script that calls this
    with ``local[N]`` needs ``if __name__ == "__main__":``.
    """
    if local := _LOCAL.fullmatch(address):
        connection = _local_client(int(local[1]))
    else:
        connection = _remote_client(address, _scheduler_address(address))
    require("distributed", "dask")
    with _quiet_dask(), connection as client:
        check_versions(client)
        yield client


def _scheduler_address(address: str) -> str:
    if re.match(r"[a-z]+://", address):
        return address
    if not Path(address).is_file():
        message = (
            f"--dask {address}: neither local[N] with N of at least 1, nor a scheduler's address "
            f"(tcp://HOST:PORT), nor a scheduler file that exists"
        )
        raise ClusterError(message)
    try:
        return str(json.loads(Path(address).read_text())["address"])
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f"--dask {address}: not a scheduler file; expected the JSON that "
            f"dask scheduler --scheduler-file writes, with an address"
        )
        raise ClusterError(message) from error


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    import dask  # noqa: PLC0415
    from distributed import Client, LocalCluster  # noqa: PLC0415
    from distributed.security import Security  # noqa: PLC0415

    # Started here because starting it unblocks Ctrl-C in the thread that does.
    resource_tracker.ensure_running()
    with (
        TemporaryDirectory(prefix="aot-dask-") as folder,
        dask.config.set({**_LOCAL_SETTINGS, "temporary-directory": folder}),
    ):
        # Ctrl-C in a terminal reaches all processes; only this one shall act on it.
        with interrupts_blocked(), _start_failures(workers):
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=Security.temporary(),
                memory_limit=0,
                dashboard_address=None,
                # Dask opens this port, dashboard or not: keep it off 8787 and other interfaces.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
            )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def _start_failures(workers: int) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        message = (
            f"--dask local[{workers}]: the worker processes do not start ({error}); "
            f"try fewer, or run without --dask"
        )
        raise ClusterError(message) from error


@contextmanager
def _remote_client(address: str, scheduler: str) -> Iterator[Client]:
    from distributed import Client  # noqa: PLC0415

    try:
        client = Client(scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or repr(error)
        message = (
            f"--dask {address}: cannot connect to the scheduler ({reason}); "
            f"is it running, and reachable from this machine?"
        )
        raise ClusterError(message) from error
    with client:
        yield client


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Keep Dask's own account of what goes wrong off the screen: it reaches the user as errors."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
