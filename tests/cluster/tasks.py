"""Functions that run on workers."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from particle_transformer.errors import ExpressionError, InputFileError


@dataclass(frozen=True)
class Job:
    """A task as preparation has them: small, and named by its file."""

    name: str
    folder: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return self.name


def content(job: Job) -> bytes:
    time.sleep(job.seconds)
    return job.name.encode()


def nth_call(job: Job) -> int:
    """Count the calls for a job over all processes: each leaves one more byte."""
    path = Path(job.folder) / job.name
    with path.open("ab") as file:
        file.write(b".")
    return path.stat().st_size


def third_time_lucky(job: Job) -> bytes:
    if nth_call(job) < 3:
        message = f"{job}: cannot be read just now"
        raise InputFileError(message)
    return content(job)


def odd_is_damaged(job: Job) -> bytes:
    nth_call(job)
    if int(job.name) % 2:
        try:
            int("basket")
        except ValueError as error:
            message = f"{job}: damaged"
            raise InputFileError(message) from error
    return content(job)


def wrong_expression(job: Job) -> bytes:
    nth_call(job)
    message = "features: log(pt"
    raise ExpressionError(message)


def seven_divides_by_zero(job: Job) -> bytes:
    if job.name == "7":
        _ = 1 / 0
    return content(job)


def dies_first(job: Job) -> bytes:
    """Kill the worker of job 3, once."""
    if job.name == "3" and nth_call(job) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return content(job)


def three_kills(job: Job) -> bytes:
    """Kill the worker of job 3, always."""
    if job.name == "3":
        nth_call(job)
        os.kill(os.getpid(), signal.SIGKILL)
    return content(job)


def memory_limit(dask_worker: Any) -> int | None:
    limit: int | None = dask_worker.memory_manager.memory_limit
    return limit


def times_out(job: Job) -> bytes:
    message = "storage: no answer"
    raise TimeoutError(message)
