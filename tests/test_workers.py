"""Tasks on several processes: all done, errors passed on, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING

import pytest

from particle_transformer.errors import SampleError
from particle_transformer.workers import available_cores, run_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDLESS = """
import os, signal, sys, time
from pathlib import Path
from particle_transformer.workers import run_in_processes

def work(number):
    Path(sys.argv[1], f"pid-{number}").write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    # Tests that run in the background ignore Ctrl-C, and what they start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_in_processes(work, iter([0, 1, None]).__next__, print, 2)
"""


def tasks(numbers: list[int]) -> Callable[[], int | None]:
    rest = iter(numbers)
    return lambda: next(rest, None)


def square(number: int) -> int:
    if number == 3:
        message = "three"
        raise SampleError(message)
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_every_task_is_done_once() -> None:
    found: list[int] = []
    run_in_processes(square, tasks([0, 1, 2, 5, 6, 7]), found.append, 2)
    assert sorted(found) == [0, 1, 4, 25, 36, 49]


def test_errors_of_a_task_come_through() -> None:
    with pytest.raises(SampleError, match="three"):
        run_in_processes(square, tasks([1, 3, 5]), lambda _: None, 2)


def test_a_killed_worker_is_an_error() -> None:
    with pytest.raises(BrokenProcessPool):
        run_in_processes(square, tasks([1, 4, 5]), lambda _: None, 2)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert available_cores() == 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stderr=subprocess.PIPE
    ) as process:
        files = [tmp_path / f"pid-{number}" for number in range(2)]
        wait_for(lambda: all(file.exists() and file.read_text() for file in files))
        process.send_signal(how)
        process.wait(timeout=60)
    for file in files:
        wait_for(partial(is_gone, int(file.read_text())))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
