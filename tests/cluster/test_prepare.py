"""Preparing on a cluster: the same bytes as on one machine, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from helpers.baskets import damage_baskets, write_baskets
from helpers.files import analysis_content, make_analysis, make_sample
from particle_transformer.data import Store, prepare, read_manifest
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.distributed import DaskRunner, connect
from particle_transformer.errors import AOTError, InputFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("distributed")

CHUNK = 20
ENTRIES = 200
"""Of each file; the scan reads 100 of them."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", CHUNK)


def write_files(base: Path) -> None:
    for number, name in enumerate(("s.root", "b.root")):
        write_baskets(base / name, make_sample(number, ENTRIES, first_event=1000 * number), CHUNK)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def check_as_here(base: Path) -> None:
    """The store is that of this machine alone, byte for byte, and nothing else is there."""
    here = content(prepare(make_analysis(base), base / "here"))
    assert len(here) == 1 + 2 * ENTRIES // CHUNK
    assert content(base / "out") == here


def test_the_same_bytes_and_progress(base, client):
    calls: list[tuple[str, int, int]] = []
    prepare(
        make_analysis(base), base / "out",
        runner=DaskRunner(client), progress=lambda *call: calls.append(call),
    )  # fmt: skip
    check_as_here(base)
    assert len(calls) == 2 * ENTRIES // CHUNK
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    size = sum((base / name).stat().st_size for name in ("s.root", "b.root"))
    assert {total for *_, total in calls} == {calls[-1][1]} == {size}


def test_a_changed_luminosity_needs_no_worker(base, client):
    prepare(make_analysis(base), base / "out", runner=DaskRunner(client))
    calls: list[object] = []
    prepare(
        make_analysis(base, luminosity=20.0), base / "out",
        runner=DaskRunner(client), progress=lambda *call: calls.append(call),
    )  # fmt: skip
    assert calls == []
    assert read_manifest(base / "out").luminosity == {"all": 20.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"event": {"features": ["MET_pz"]}},
        {"event": {"select": "no_such > 3", "features": ["MET_pt"]}},
        {"event": {"features": ["sum(MET_pt)"]}},
        {"weights": {"generator": "genWeigth"}},
    ],
    ids=["feature", "cut", "expression", "weight"],
)
def test_a_mistake_is_the_same_line_as_here_before_any_chunk(base, client, changes):
    analysis = make_analysis(base, **changes)
    with pytest.raises(AOTError) as here:
        prepare(analysis, base / "here")
    calls: list[object] = []
    with pytest.raises(type(here.value)) as there:
        prepare(
            analysis, base / "out",
            runner=DaskRunner(client), progress=lambda *call: calls.append(call),
        )  # fmt: skip
    assert str(there.value) == str(here.value)
    assert calls == []
    assert not (base / "out").exists()


def test_a_chunk_that_cannot_be_read_leaves_the_others(base, client):
    healthy = damage_baskets(base / "b.root", 7)
    analysis = make_analysis(base)
    message = r"b.root: .* \[entries 140 to 160; 1 of 20 chunks could not be read, the others are"
    with pytest.raises(InputFileError, match=message):
        prepare(analysis, base / "out", runner=DaskRunner(client))
    assert len(list((base / "out" / "shards").iterdir())) == 19
    with pytest.raises(InputFileError, match="marked incomplete, 1 chunk is missing"):
        Store(base / "out")
    (base / "b.root").write_bytes(healthy)
    prepare(analysis, base / "out", runner=DaskRunner(client))
    check_as_here(base)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_bytes_with_any_number_of_workers(base, workers):
    with connect(f"local[{workers}]") as client:
        prepare(make_analysis(base), base / "out", runner=DaskRunner(client))
    check_as_here(base)


def in_threads(function: Any, tasks: Any) -> Any:
    """Eight at once in one process, as on a worker with as many threads, files in turn."""
    half = len(tasks) // 2
    order = [index + part for index in range(half) for part in (0, half)]
    with ThreadPoolExecutor(8) as pool:
        return list(zip(order, pool.map(lambda n: function(tasks[n]), order), strict=True))


def test_threads_do_not_share_a_reader(base, monkeypatch):
    read = ChunkReader.read

    def slow(self: ChunkReader, start: int, stop: int) -> Chunk:
        time.sleep(0.01)  # the others open and close their files meanwhile
        return read(self, start, stop)

    monkeypatch.setattr(ChunkReader, "read", slow)
    prepare(make_analysis(base), base / "out", runner=in_threads)
    check_as_here(base)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 2], ids=["one", "all"])
def test_workers_killed_in_mid_run(base, killed):
    with connect("local[2]") as client:
        calls = [0]

        def progress(text: str, done: int, total: int) -> None:
            calls[0] += 1
            if calls[0] in (3, 9):
                for pid in list(client.run(os.getpid).values())[:killed]:
                    os.kill(pid, signal.SIGKILL)

        prepare(make_analysis(base), base / "out", runner=DaskRunner(client), progress=progress)
        assert calls == [2 * ENTRIES // CHUNK]
    check_as_here(base)


PROGRAM = """
import sys, time
from pathlib import Path
from helpers.files import make_analysis
from particle_transformer.data import prepare
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.distributed import DaskRunner, connect

def progress(text, done, total):
    print(text, flush=True)
    time.sleep(0.2)

if __name__ == "__main__":
    base = Path(sys.argv[1])
    prepare.__globals__["CHUNK_ENTRIES"] = 20
    with connect("local[2]") as client:
        runner = DaskRunner(client)
        prepare(make_analysis(base), base / "out", runner=runner, progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_what_a_killed_program_had_read_is_used(base, tmp_path, ending):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = subprocess.Popen(
        [sys.executable, str(script), str(base)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert program.stdout is not None
    for _ in range(7):
        assert program.stdout.readline().startswith("reading (")
    program.send_signal(ending)
    program.communicate(timeout=60)
    read: list[object] = []
    prepare(make_analysis(base), base / "out", progress=lambda *call: read.append(call))
    assert 0 < len(read) <= 2 * ENTRIES // CHUNK - 7
    check_as_here(base)


def aot(base: Path, *words: str, run: Callable[..., Any] = subprocess.run) -> Any:
    file = base / "analysis.yaml"
    file.write_text(yaml.safe_dump(analysis_content(), sort_keys=False))
    return run(
        [sys.executable, "-m", "particle_transformer.cli", "prepare", str(file), *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_the_command(base, monkeypatch):
    done = aot(base, "--out", str(base / "out"), "--dask", "local[2]")
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith("reading (")
    assert done.stdout.endswith(f"prepared {base / 'out'}\n")
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", 100_000)
    assert content(base / "out") == content(prepare(make_analysis(base), base / "here"))
    again = aot(base, "--out", str(base / "out"), "--dask", "local[2]")
    assert again.returncode == 0
    assert "reading" not in again.stdout


@pytest.mark.slow
def test_the_command_names_what_cannot_be_read(base):
    (base / "b.root").write_bytes((base / "b.root").read_bytes()[:5000])
    done = aot(base, "--out", str(base / "out"), "--dask", "local[2]")
    assert done.returncode == 1
    assert done.stderr.startswith(f"aot: {base}/b.root: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (base / "out").exists()
