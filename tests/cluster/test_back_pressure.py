"""What is sent ahead of the consumer, counted with a client that runs nothing."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.distributed import DaskRunner, registered, runner
from particle_transformer.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytest.importorskip("distributed")


_here = SimpleNamespace(plugins={}, address="here")
"""This process as a worker."""


@pytest.fixture(scope="module", autouse=True)
def as_a_worker() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registered, "get_worker", lambda: _here)
        patch.setattr(runner, "_result", lambda future, workers: future.value())
        yield


class Future:
    def __init__(self, client: Client, key: str, value: Any) -> None:
        self.client = client
        self.key = key
        self.value = value
        self.finished: Callable[[Future], None] | None = None

    def add_done_callback(self, call: Callable[[Future], None]) -> None:
        self.finished = call
        self.client.go_on()

    def release(self) -> None:
        self.client.held.discard(self.key)


class Client:
    """Finishes a random one of the tasks it has, whenever it has all that it will get."""

    status = "running"
    scheduler = SimpleNamespace(address="tcp://nowhere:8786")

    def __init__(self, threads: int, tasks: int, limit: int, order: random.Random) -> None:
        self.threads, self.tasks, self.limit, self.order = threads, tasks, limit, order
        self.sent = 0
        self.waiting: list[Future] = []
        self.held: set[str] = set()
        self.most_held = 0
        self.cancelled = 0
        self.plugins: dict[str, Any] = {}
        _here.plugins = self.plugins

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(map(str, range(self.threads)), 1)

    def submit(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Future:
        future = Future(self, f"task-{self.sent}", lambda: function(*arguments))
        self.sent += 1
        self.held.add(future.key)
        self.waiting.append(future)
        self.most_held = max(self.most_held, len(self.held))
        return future

    def register_plugin(self, plugin: Any, name: str) -> None:
        self.plugins[name] = plugin

    def unregister_worker_plugin(self, name: str) -> None:
        del self.plugins[name]

    def go_on(self) -> None:
        full = len(self.held) == self.limit or self.sent == self.tasks
        while full and self.waiting:
            future = self.waiting.pop(self.order.randrange(len(self.waiting)))
            assert future.finished is not None
            future.finished(future)
            full = self.sent == self.tasks

    def cancel(self, futures: Sequence[Future], force: bool) -> None:
        self.cancelled += len(futures)


@given(st.integers(0, 60), st.integers(1, 8), st.randoms(use_true_random=False))
def test_each_index_once_and_few_in_flight(tasks: int, threads: int, order: random.Random) -> None:
    client = Client(threads, tasks, 2 * threads, order)
    run: Any = DaskRunner(client)
    outcomes = list(run(hex, range(tasks)))
    assert sorted(outcomes) == [(index, hex(index)) for index in range(tasks)]
    assert client.most_held == min(tasks, 2 * threads)
    assert not client.held
    assert not client.plugins


def test_the_consumer_sets_the_pace() -> None:
    client = Client(3, 100_000, 6, random.Random(1))
    outcomes: Any = DaskRunner(client)(hex, range(100_000))
    assert client.sent == 0  # nothing before the first is asked for
    for consumed in range(50):
        next(outcomes)
        assert client.sent == 6 + consumed
    outcomes.close()
    assert client.sent == 55
    assert client.cancelled == 6


def test_a_cluster_that_adapts_sees_work_before_it_has_a_worker() -> None:
    client = Client(0, 1000, runner.TASKS_WITHOUT_WORKERS, random.Random(1))
    outcomes: Any = DaskRunner(client)(hex, range(1000))
    next(outcomes)
    assert client.sent == runner.TASKS_WITHOUT_WORKERS
    outcomes.close()


def test_without_a_worker_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHECK_INTERVAL", 0.01)
    client = Client(0, 1, 2, random.Random(1))  # never has enough to finish one
    client.tasks = 2
    run = DaskRunner(client, patience=0.05)
    with pytest.raises(
        ClusterError,
        match=r"^Dask scheduler tcp://nowhere:8786: no worker for 0\.05 s; see why the workers "
        r"ended or do not start, then run again$",
    ):
        list(run(hex, range(1)))
    assert client.cancelled == 1
