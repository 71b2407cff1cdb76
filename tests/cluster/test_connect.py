"""Connections: what is opened on this machine, and what is said when there is none."""

from __future__ import annotations

import builtins
import json
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster import tasks
from cluster.tasks import Job
from particle_transformer._version import __version__
from particle_transformer.distributed import DaskRunner, cluster, connect, versions
from particle_transformer.errors import ClusterError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

psutil = pytest.importorskip("psutil")
pytest.importorskip("distributed")


def error_of(address: str) -> str:
    with pytest.raises(ClusterError) as caught, connect(address):
        pytest.fail("connected")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "address",
    [
        "local",
        "local[0]",
        "local[]",
        "local[-1]",
        "local[two]",
        "locl[2]",
        "local[2] ",
        "host:1",
        "",
    ],
)
def test_wrong_spelling(address: str) -> None:
    assert error_of(address) == (
        f"--dask {address}: neither local[N] with N of at least 1, nor a scheduler's address "
        f"(tcp://HOST:PORT), nor a scheduler file that exists"
    )


@pytest.mark.parametrize("content", ["", "tcp://host:8786", "[]", "{}", '"text"'])
def test_a_file_of_another_kind(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(content)
    assert error_of(str(path)) == (
        f"--dask {path}: not a scheduler file; expected the JSON that "
        f"dask scheduler --scheduler-file writes, with an address"
    )


def test_a_scheduler_that_does_not_run(closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0.5)
    start = time.monotonic()
    message = error_of(f"tcp://{closed_port}")
    assert time.monotonic() - start < 5
    assert message == (
        f"--dask tcp://{closed_port}: cannot connect to the scheduler (Timed out trying to connect "
        f"to tcp://{closed_port} after 0.5 s); is it running, and reachable from this machine?"
    )


def test_a_scheduler_file_of_an_ended_scheduler(
    closed_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0.5)
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"address": f"tcp://{closed_port}"}))
    assert error_of(str(path)).startswith(
        f"--dask {path}: cannot connect to the scheduler (Timed out trying to connect to "
        f"tcp://{closed_port} after 0.5 s)"
    )


@pytest.mark.parametrize("address", ["ftp://host:8786", "tcp://host:many", "tls://127.0.0.1:1"])
def test_addresses_that_cannot_be(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0.5)
    assert error_of(address).startswith(f"--dask {address}: cannot connect to the scheduler")


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(
            MissingExtraError, match=r"pip install 'analysis-object-transformer\[dask\]'"
        ),
        connect("local[1]"),
    ):
        pytest.fail("connected")


def test_another_version_on_a_worker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.check_versions(client)
    monkeypatch.setattr(versions, "__version__", "0.0.1")
    with pytest.raises(ClusterError) as caught:
        versions.check_versions(client)
    assert str(caught.value) == (
        f"Dask scheduler {client.scheduler.address} has version {__version__} of "
        f"analysis-object-transformer, this program is version 0.0.1; "
        f"install the same version there"
    )


def test_a_worker_without_the_package() -> None:
    asked = FakeClient(scheduler=__version__, workers={"tcp://a:1": __version__, "tcp://b:1": None})
    with pytest.raises(ClusterError) as caught:
        versions.check_versions(asked)
    assert str(caught.value) == (
        f"Dask worker tcp://b:1 does not have analysis-object-transformer, this program is "
        f"version {__version__}; install the same version there"
    )


class FakeClient:
    def __init__(self, scheduler: str, workers: dict[str, str | None]) -> None:
        self.scheduler = type("Scheduler", (), {"address": "tcp://s:1"})
        self.answer, self.answers = scheduler, workers

    def run_on_scheduler(self, function: Any) -> str:
        return self.answer

    def run(self, function: Any) -> dict[str, str | None]:
        return self.answers


def test_the_version_is_found_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = versions._version_finder()
    assert find() == __version__
    imported = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "particle_transformer":
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert find() is None


def test_local_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    this = psutil.Process()
    before = set(this.children(recursive=True))
    listening = {connection.laddr for connection in this.net_connections() if not connection.raddr}
    with connect("local[3]") as client:
        assert list(client.nthreads().values()) == [1, 1, 1]
        assert list(client.run(tasks.memory_limit).values()) == [None, None, None]
        started = set(this.children(recursive=True)) - before
        opened = [
            connection.laddr
            for process in (this, *started)
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN and connection.laddr not in listening
        ]
        assert len(opened) >= 4
        assert {address.ip for address in opened} == {"127.0.0.1"}
        assert any(tmp_path.iterdir())
    _, alive = psutil.wait_procs([process for process in started if _is_worker(process)], 0)
    assert not alive
    assert not any(tmp_path.iterdir())


def _is_worker(process: Any) -> bool:
    """Whether it is none of Python's own: a resource tracker stays until the program ends."""
    return not process.is_running() or "resource_tracker" not in " ".join(process.cmdline())


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_nobody_else_can_send_work_to_local_processes(client: Client, protocol: str) -> None:
    from distributed import Client as AnyClient
    from distributed.security import Security

    address = client.scheduler.address.replace("tls://", f"{protocol}://")
    own = Security.temporary() if protocol == "tls" else None  # credentials, but other ones
    refusals = "Timed out|[Cc]losed|reset|TLS certificate does not match"
    with (
        pytest.raises(OSError, match=refusals),
        AnyClient(address, security=own, timeout=0.5, set_as_default=False),
    ):
        pytest.fail("connected without the credentials")


def test_a_scheduler_file_of_a_running_cluster(tmp_path: Path) -> None:
    from distributed import LocalCluster

    path = tmp_path / "scheduler.json"
    with LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        memory_limit=0,
    ) as running:
        path.write_text(json.dumps({"address": running.scheduler_address}))
        for address in (str(path), running.scheduler_address):
            with connect(address) as client:
                assert dict(DaskRunner(client)(tasks.content, [Job("a")])) == {0: b"a"}
        assert len(running.scheduler.workers) == 1  # the user's, and left as it is
