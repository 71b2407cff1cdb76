"""Tasks on worker processes: every one comes back once, whatever happens to it."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from cluster import tasks
from cluster.tasks import Job
from particle_transformer.distributed import DaskRunner, runner
from particle_transformer.errors import ClusterError, ExpressionError, InputFileError

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client


def jobs(folder: Path, count: int = 12) -> list[Job]:
    return [Job(str(number), str(folder)) for number in range(count)]


def calls(folder: Path) -> dict[str, int]:
    """How often each job was run, by the marks that it left."""
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_each_index_comes_once_with_its_result(client: Client, tmp_path: Path) -> None:
    results = list(DaskRunner(client)(tasks.content, jobs(tmp_path, 50)))
    assert sorted(results) == [(index, str(index).encode()) for index in range(50)]


def test_slow_tasks_hold_up_no_others(client: Client) -> None:
    work = [Job("slow", seconds=1.0), *(Job(str(number)) for number in range(1, 10))]
    order = [index for index, _ in DaskRunner(client)(tasks.content, work)]
    assert order.index(0) >= 8  # one may wait behind it, on the same worker
    assert sorted(order) == list(range(10))


def test_no_task_gives_nothing(client: Client) -> None:
    assert list(DaskRunner(client)(tasks.content, [])) == []


def test_values_that_dask_would_take_for_its_own_arrive_as_they_are(client: Client) -> None:
    # A tuple that starts with a callable, and a future's key, mean something inside a Dask graph.
    with_callable = (len, "abc")
    outcomes = dict(DaskRunner(client)(repr, [with_callable, ["x", with_callable]]))
    assert outcomes == {0: repr(with_callable), 1: repr(["x", with_callable])}


def test_functions_that_hold_values_are_sent(client: Client) -> None:
    assert dict(DaskRunner(client)({"a": 1, "b": 2}.get, ["b", "a"])) == {0: 2, 1: 1}


def test_a_task_that_fails_twice_succeeds(client: Client, tmp_path: Path) -> None:
    outcomes = dict(DaskRunner(client)(tasks.third_time_lucky, jobs(tmp_path)))
    assert outcomes == {index: str(index).encode() for index in range(12)}
    assert set(calls(tmp_path).values()) == {3}


def test_two_retries_are_three_attempts(client: Client, tmp_path: Path) -> None:
    outcomes = dict(DaskRunner(client, retries=1)(tasks.third_time_lucky, jobs(tmp_path, 3)))
    assert {str(outcome) for outcome in outcomes.values()} == {
        f"{index}: cannot be read just now" for index in range(3)
    }
    assert set(calls(tmp_path).values()) == {2}


def test_a_damaged_file_is_reported_and_the_others_are_read(client: Client, tmp_path: Path) -> None:
    outcomes = dict(DaskRunner(client, retries=3)(tasks.odd_is_damaged, jobs(tmp_path)))
    for index in range(12):
        outcome = outcomes[index]
        if index % 2:
            assert type(outcome) is InputFileError
            assert str(outcome) == f"{index}: damaged"
        else:
            assert outcome == str(index).encode()
    assert calls(tmp_path) == {str(index): 4 if index % 2 else 1 for index in range(12)}


def test_a_mistake_of_the_user_ends_it_at_once(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match=r"^features: log\(pt$"):
        list(DaskRunner(client)(tasks.wrong_expression, jobs(tmp_path, 1000)))
    made = calls(tmp_path)
    assert set(made.values()) == {1}  # no attempt is repeated
    assert len(made) < 20  # and what had not been sent never is


def test_other_errors_come_with_their_traceback(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(DaskRunner(client)(tasks.seven_divides_by_zero, jobs(tmp_path)))
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "seven_divides_by_zero"


def test_a_timeout_of_the_function_is_its_own(client: Client, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"^storage: no answer$"):
        list(DaskRunner(client, retries=0)(tasks.times_out, jobs(tmp_path)))


def test_nothing_stays_on_the_cluster(client: Client, tmp_path: Path) -> None:
    run = DaskRunner(client)
    list(run(tasks.odd_is_damaged, jobs(tmp_path)))
    with pytest.raises(ZeroDivisionError):
        list(run(tasks.seven_divides_by_zero, jobs(tmp_path)))
    left_early: Any = run(tasks.content, jobs(tmp_path, 100))
    next(left_early)
    left_early.close()
    deadline = time.monotonic() + 10
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not client.futures
    assert not client.run_on_scheduler(
        lambda dask_scheduler: [name for name in dask_scheduler.worker_plugins if "aot" in name]
    )


def test_a_worker_of_another_version_that_comes_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "__version__", "0.0.1")
    with pytest.raises(
        ClusterError,
        match=r"^Dask worker tls://\S+ has version \S+ of analysis-object-transformer, "
        r"this program is version 0\.0\.1; install the same version there$",
    ):
        list(DaskRunner(client)(tasks.content, [Job("a")]))
