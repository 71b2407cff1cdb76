"""Workers, schedulers and programs that end before the work does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from cluster import run_jobs, tasks
from cluster.tasks import Job
from particle_transformer.distributed import DaskRunner, connect
from particle_transformer.errors import ClusterError, InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

psutil = pytest.importorskip("psutil")
pytest.importorskip("distributed")

pytestmark = pytest.mark.slow


def jobs(folder: Path, count: int = 20) -> list[Job]:
    return [Job(str(number), str(folder)) for number in range(count)]


def test_the_tasks_of_a_killed_worker_run_elsewhere(tmp_path: Path) -> None:
    with connect("local[2]") as client:
        outcomes = list(DaskRunner(client)(tasks.dies_first, jobs(tmp_path)))
    assert sorted(outcomes) == [(index, str(index).encode()) for index in range(20)]
    assert (tmp_path / "3").stat().st_size == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_kills_its_workers_is_reported(tmp_path: Path, workers: int) -> None:
    with connect(f"local[{workers}]") as client:
        outcomes = dict(DaskRunner(client)(tasks.three_kills, jobs(tmp_path)))
    killer = outcomes.pop(3)
    assert type(killer) is InputFileError
    assert str(killer) == ("3: killed 4 workers in a row, the last on 127.0.0.1; out of memory?")
    assert (tmp_path / "3").stat().st_size == 4
    assert outcomes == {index: str(index).encode() for index in range(20) if index != 3}


def test_a_killed_worker_takes_results_with_it(tmp_path: Path) -> None:
    # Results wait on the workers until they are consumed: those that are lost are made again.
    with connect("local[2]") as client:
        outcomes = DaskRunner(client)(tasks.content, jobs(tmp_path))
        got = [next(outcomes)]
        time.sleep(0.5)
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        got += outcomes
    assert sorted(got) == [(index, str(index).encode()) for index in range(20)]


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as programs:
        yield programs


class Programs:
    """Programs in sessions of their own, none of which outlives the test."""

    def __enter__(self) -> Self:
        self.started: list[subprocess.Popen[str]] = []
        return self

    def __exit__(self, *_: object) -> None:
        for program in self.started:
            for process in members(program.pid):
                process.kill()
            program.communicate()

    def start(self, *command: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self.started.append(program)
        return program

    def jobs(self, function: str, address: str, folder: Path) -> subprocess.Popen[str]:
        """Start jobs, and wait for the first of them."""
        program = self.start(run_jobs.__file__, function, address, str(folder))
        assert program.stdout is not None
        assert program.stdout.readline().strip().isdigit()
        return program


def members(session: int) -> list[Any]:
    """The processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def wait_for_nobody(session: int) -> None:
    deadline = time.monotonic() + 20
    while left := members(session):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_ctrl_c_ends_every_process_and_says_nothing_else(
    programs: Programs, tmp_path: Path
) -> None:
    program = programs.jobs("content", "local[2]", tmp_path)
    assert len(members(program.pid)) >= 3
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, errors = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    wait_for_nobody(program.pid)


def test_no_worker_outlives_a_killed_program(programs: Programs, tmp_path: Path) -> None:
    program = programs.jobs("content", "local[2]", tmp_path)
    program.kill()
    wait_for_nobody(program.pid)


@pytest.fixture
def scheduler(programs: Programs, tmp_path: Path) -> tuple[subprocess.Popen[str], str]:
    file = tmp_path / "scheduler.json"
    program = programs.start(
        "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
        "--dashboard-address", "127.0.0.1:0", "--no-dashboard", "--scheduler-file", str(file),
    )  # fmt: skip
    wait_for_file(file)
    return program, str(file)


def wait_for_file(path: Path) -> None:
    """Wait until it is written: the scheduler makes it empty at first."""
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text().rstrip().endswith("}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start_worker(programs: Programs, file: str) -> subprocess.Popen[str]:
    return programs.start(
        "-m", "distributed.cli.dask_worker", "--scheduler-file", file, "--no-nanny",
        "--nthreads", "1", "--no-dashboard", "--local-directory", str(Path(file).parent),
    )  # fmt: skip


@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["at work", "with results"])
def test_the_last_worker_ends(
    programs: Programs, scheduler: tuple[subprocess.Popen[str], str], tmp_path: Path, pause: float
) -> None:
    _, file = scheduler
    worker = start_worker(programs, file)
    with connect(file) as client:
        client.wait_for_workers(1, timeout=20)
        outcomes = DaskRunner(client, patience=1.0)(tasks.content, jobs(tmp_path, 1000))
        next(outcomes)
        time.sleep(pause)
        worker.kill()
        start = time.monotonic()
        with pytest.raises(
            ClusterError,
            match=r"^Dask scheduler tcp://127\.0\.0\.1:\d+: no worker for 1 s; see why the "
            r"workers ended or do not start, then run again$",
        ):
            list(outcomes)
    assert time.monotonic() - start < 15


def test_a_worker_that_comes_late_takes_over(
    programs: Programs, scheduler: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    _, file = scheduler
    with connect(file) as client:
        outcomes = DaskRunner(client)(tasks.content, jobs(tmp_path))
        first = start_worker(programs, file)
        got = [next(outcomes)]
        first.kill()
        start_worker(programs, file)
        got += outcomes
    assert sorted(got) == [(index, str(index).encode()) for index in range(20)]


def test_the_scheduler_ends(
    programs: Programs, scheduler: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    program, file = scheduler
    start_worker(programs, file)
    with connect(file) as client:
        outcomes = DaskRunner(client)(tasks.content, jobs(tmp_path, 1000))
        next(outcomes)
        program.kill()
        with pytest.raises(
            ClusterError,
            match=r"^Dask scheduler tcp://127\.0\.0\.1:\d+: the connection is lost; "
            r"see whether it still runs, then run again$",
        ):
            list(outcomes)
