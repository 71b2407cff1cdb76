"""Preparation that is killed, interrupted or changed: nothing is lost, nothing is read twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from helpers.files import (
    analysis_content,
    make_analysis,
    make_sample,
    write_pair,
    write_root,
)
from particle_transformer.data import Store, prepare, read_manifest
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.errors import ClusterError, InputFileError, OutputError, SampleError

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = str(Path(__file__).parents[1])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", 20)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    write_pair(tmp_path)
    return tmp_path


class Reads:
    """The chunks that were read: (file, start, stop), without the scan's."""

    def __init__(self) -> None:
        self.all: list[tuple[str, int, int]] = []

    def take(self) -> list[tuple[str, int, int]]:
        found, self.all = self.all, []
        return found


@pytest.fixture
def reads(monkeypatch) -> Reads:
    seen = Reads()
    read = ChunkReader.read

    def counted(self: ChunkReader, start: int, stop: int) -> Chunk:
        if stop - start <= 20:
            seen.all.append((Path(self._file.path).name, start, stop))
        return read(self, start, stop)

    monkeypatch.setattr(ChunkReader, "read", counted)
    return seen


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def chunks_of(*names: str) -> list[tuple[str, int, int]]:
    return [(name, start, start + 20) for name in names for start in (0, 20, 40)]


def stop_after(calls: int, error: BaseException) -> Callable[[str, int, int], None]:
    left = [calls]

    def progress(text: str, done: int, total: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise error

    return progress


# -- killed at every step ------------------------------------------------------------------------

KILLED = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from helpers.files import make_analysis
from particle_transformer.data import Store, prepare
from particle_transformer.data.chunk import ChunkReader

base, chunk, moments = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
prepare.__globals__["CHUNK_ENTRIES"] = chunk
prepare.__globals__["CHECKED_ENTRIES"] = 3  # to tell the scan from reading
old = make_analysis(base, event={"select": "MET_pt > 50", "features": ["MET_pt"]})
new = make_analysis(base)


def child(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def whole(work):
    _, status = os.waitpid(child(work), 0)
    assert status == 0, status


def counted(out):
    read = ChunkReader.read

    def one(self, start, stop):
        if stop - start > 3:
            with (base / "reads").open("a") as file:
                file.write(".")
        return read(self, start, stop)

    ChunkReader.read = one
    prepare(new, out)


def killed(out, number):
    # Before and after each step that changes the disk; a file is half written at its end.
    left = [number]

    def step(half=None):
        left[0] -= 1
        if left[0] == 0:
            if half is not None:
                os.ftruncate(half, os.fstat(half).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    replace, unlink, fsync = Path.replace, Path.unlink, os.fsync

    def stepped_replace(self, target):
        step()
        moved = replace(self, target)
        step()
        return moved

    def stepped_unlink(self, missing_ok=False):
        if self.exists():
            step()
        unlink(self, missing_ok=missing_ok)

    Path.replace, Path.unlink = stepped_replace, stepped_unlink
    os.fsync = lambda descriptor: step(half=descriptor)
    prepare(new, out)


def names(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def check(out):
    Store(out).verify()
    len(Store(out).events())


def examine(out, number):
    left = names(out)
    manifest = None
    if (out / "manifest.json").exists():
        whole(lambda: check(out))
        manifest = (out / "manifest.json").read_text()
    (base / "reads").write_text("")
    whole(lambda: counted(out))
    print(json.dumps({
        "number": number, "left": left, "manifest": manifest,
        "reads": (base / "reads").stat().st_size,
        "result": {name: (out / name).read_bytes().hex() for name in names(out)},
    }))
    shutil.rmtree(out)


for first in (False, True):
    number = 0
    while True:
        number += 1
        out = base / f"out{number}"
        if not first:
            whole(lambda: prepare(old, out))
        if moments:
            pid = child(lambda: prepare(new, out))
            time.sleep(random.Random(number).uniform(0, 0.5))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            last = number == moments
        else:
            _, status = os.waitpid(child(lambda: killed(out, number)), 0)
            last = not os.WIFSIGNALED(status)
            assert last == (status == 0), status
        examine(out, number)
        if last:
            break
"""


def check_kills(base: Path, *, chunk: int, moments: int) -> int:
    """Kill at every step, or at so many moments; the number of kills."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(base), TESTS, str(chunk), str(moments)],
        check=False, capture_output=True, text=True, timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    prepare.__globals__["CHUNK_ENTRIES"] = chunk
    expected = content(prepare(make_analysis(base), base / "clean"))
    event = {"select": "MET_pt > 50", "features": ["MET_pt"]}
    old = (prepare(make_analysis(base, event=event), base / "old") / "manifest.json").read_text()
    new = expected["manifest.json"].decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    shards = {name for name in expected if name.endswith(".arrow")}
    assert len(shards) == 2 * 60 // chunk
    seen = set()
    first = False
    for line in lines:
        assert {name: bytes.fromhex(text) for name, text in line["result"].items()} == expected
        assert line["reads"] == len(shards - {*line["left"]})
        first = first or (line["number"] == 1 and line is not lines[0])
        assert line["manifest"] in ((None, new) if first else (old, new))
        seen.add(line["reads"])
    assert len(seen) > 1  # kills before and after shards were finished
    return len(lines)


def test_killed_at_any_step_the_next_run_finishes(pair):
    # Twice: over an older store, and in a new folder. Per file: half written, before and after
    # its move (and, if the move is not reached, its removal); then each older shard, and the lock.
    assert check_kills(pair, chunk=60, moments=0) > 20


@pytest.mark.slow
@pytest.mark.parametrize(("chunk", "moments"), [(4, 10), (20, 0)], ids=["any moment", "any step"])
def test_killed_at_many_points(pair, chunk, moments):
    check_kills(pair, chunk=chunk, moments=moments)


# -- interrupted, and other endings --------------------------------------------------------------


def test_interrupted_its_chunks_are_used(pair, reads):
    analysis = make_analysis(pair)
    with pytest.raises(KeyboardInterrupt):
        prepare(analysis, pair / "out", progress=stop_after(4, KeyboardInterrupt()))
    assert reads.take() == chunks_of("s.root", "b.root")[:4]
    assert {path.suffix for path in (pair / "out").rglob("*") if path.is_file()} == {".arrow"}
    with pytest.raises(InputFileError, match=r"out: not a prepared store .* aot prepare$"):
        Store(pair / "out")
    prepare(analysis, pair / "out")
    assert reads.take() == chunks_of("s.root", "b.root")[4:]
    assert content(pair / "out") == content(prepare(analysis, pair / "clean"))


def test_a_lost_cluster_costs_no_chunk_that_was_read(pair, reads):
    gone = ClusterError("Dask scheduler: the connection is lost")
    with pytest.raises(ClusterError):
        prepare(make_analysis(pair), pair / "out", progress=stop_after(5, gone))
    reads.take()
    prepare(make_analysis(pair), pair / "out")
    assert reads.take() == chunks_of("b.root")[2:]


def test_an_error_of_the_system_while_reading_is_not_called_one_of_writing(pair):
    storage = TimeoutError("storage: no answer")
    with pytest.raises(TimeoutError, match=r"^storage: no answer$"):
        prepare(make_analysis(pair), pair / "out", progress=stop_after(1, storage))


COMMAND = """
import sys, time
from particle_transformer.cli.main import main
from particle_transformer.data import prepare
from particle_transformer.data.chunk import ChunkReader
prepare.__globals__["CHUNK_ENTRIES"] = 20
read = ChunkReader.read
def slow(self, start, stop):
    if (self._file.process, start, stop) == ("bkg", 20, 40):
        print("here", flush=True)
        time.sleep(60)
    return read(self, start, stop)
if sys.argv.pop() == "slow":
    ChunkReader.read = slow
main()
"""


def command(base: Path, *options: str, speed: str = "fast") -> subprocess.Popen[str]:
    """`aot prepare` with small chunks, as a program."""
    path = base / "analysis.yaml"
    path.write_text(yaml.safe_dump(analysis_content(), sort_keys=False))
    words = [sys.executable, "-c", COMMAND, "prepare", str(path), "--out", str(base / "out")]
    return subprocess.Popen(
        [*words, *options, speed], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until_reading(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    assert any(line == "here\n" for line in program.stdout)


def test_ctrl_c_says_how_to_go_on(pair, reads):
    program = command(pair, speed="slow")
    wait_until_reading(program)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors.splitlines() == [
        f"{pair / 'out'}: the chunks that were read are kept; run again to go on",
        "aot: interrupted",
    ]
    prepare(make_analysis(pair), pair / "out")
    assert reads.take() == chunks_of("s.root", "b.root")[4:]
    assert sorted(path.name for path in (pair / "out").iterdir()) == ["manifest.json", "shards"]


def test_a_second_program_gets_one_line_and_a_killed_one_blocks_nobody(pair, reads):
    program = command(pair, speed="slow")
    try:
        wait_until_reading(program)
        message = r"out: another aot prepare is writing this store; wait for it$"
        with pytest.raises(OutputError, match=message):
            prepare(make_analysis(pair), pair / "out")
        assert not reads.take()
    finally:
        program.kill()
        program.communicate()
    assert (pair / "out" / ".lock").exists()
    prepare(make_analysis(pair), pair / "out")
    assert reads.take() == chunks_of("b.root")[1:]
    assert not (pair / "out" / ".lock").exists()


def test_what_a_program_killed_at_the_very_end_left_goes(pair, reads):
    out = prepare(make_analysis(pair), pair / "out")
    expected = content(out)
    reads.take()
    for name in (
        f"shards/{'0' * 32}.arrow", f"shards/{'1' * 32}.arrow.0123abcd.tmp",
        "manifest.json.0123abcd.tmp", ".lock",
    ):  # fmt: skip
        (out / name).write_bytes(b"ARROW1")
        prepare(make_analysis(pair), out)
        assert content(out) == expected
    assert not reads.take()


@pytest.mark.parametrize("name", ["notes.txt", "shards/plot.pdf", "shards/0123.arrow"])
def test_nobody_elses_file_is_deleted(pair, name):
    file = pair / "out" / name
    file.parent.mkdir(parents=True)
    (pair / "out" / "shards").mkdir(exist_ok=True)
    file.write_text("mine")
    message = rf"out: exists and is not a prepared store \(it holds {name}\); give --out another"
    with pytest.raises(OutputError, match=message):
        prepare(make_analysis(pair), pair / "out")
    assert file.read_text() == "mine"


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from helpers.files import make_analysis
from particle_transformer.data import prepare
from particle_transformer.errors import OutputError
base = Path(sys.argv[1])
prepare.__globals__["CHUNK_ENTRIES"] = 20
def progress(text, done, total):
    if "bkg" in text:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
try:
    prepare(make_analysis(base), base / "out", progress=progress)
except OutputError as error:
    print(error)
"""


def test_a_full_disk_costs_no_chunk_that_was_written(pair, reads):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(pair), TESTS],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == f"{pair}/out: cannot be written (File too large)\n"
    assert [path for path in (pair / "out").rglob("*") if path.name.endswith(".tmp")] == []
    prepare(make_analysis(pair), pair / "out")
    assert reads.take() == chunks_of("b.root")[1:]
    assert content(pair / "out") == content(prepare(make_analysis(pair), pair / "clean"))


# -- changed -------------------------------------------------------------------------------------


def yields(out: Path) -> dict[str, float]:
    return {row.process: row.yield_ for row in read_manifest(out).cutflow if row.cut == "kept"}


def check_like_new(analysis: Any, out: Path) -> None:
    assert content(out) == content(prepare(analysis, out.with_name("fresh")))


def test_a_changed_file_alone_is_read_again(pair, reads):
    out = prepare(make_analysis(pair), pair / "out")
    before = content(out)
    assert reads.take() == chunks_of("s.root", "b.root")
    write_root(pair / "b.root", make_sample(3, 50, first_event=10_001))
    prepare(make_analysis(pair), out)
    assert reads.take() == [("b.root", 0, 20), ("b.root", 20, 40), ("b.root", 40, 50)]
    assert len({*before} & {*content(out)}) == 1 + 3  # the manifest, and the shards of s.root
    check_like_new(make_analysis(pair), out)


def processes(**scale: float) -> dict[str, Any]:
    found = analysis_content()["processes"]
    for name, factor in scale.items():
        found[name]["cross_section"] *= factor
    return dict(found)


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({"luminosity": 30.0}, (3, 3)),
        ({"processes": processes(sig=2)}, (2, 1)),
        ({"training": {"folds": 3}}, (1, 1)),
        ({"name": "renamed"}, (1, 1)),
    ],
    ids=["luminosity", "cross-section", "folds", "name"],
)
def test_factors_are_changed_without_reading(pair, reads, changes, factors):
    out = prepare(make_analysis(pair), pair / "out")
    before = yields(out)
    reads.take()
    prepare(make_analysis(pair, **changes), out)
    assert not reads.take()
    assert yields(out) == pytest.approx(
        {name: before[name] * factor for name, factor in zip(before, factors, strict=True)}
    )
    events = Store(out).events()
    for number, name in enumerate(("sig", "bkg")):
        assert events.weight[events.process == number].sum() == pytest.approx(yields(out)[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"event": {"select": "MET_pt > 40", "features": ["MET_pt"]}},
        {"weights": {"generator": "genWeight", "pileup": "puWeight"}},
        {"model": {"pair_bias": True}},
        {"source": {"identity": ["run", "event"]}},
    ],
    ids=["cut", "weight", "momenta", "identity"],
)
def test_what_shapes_the_events_reads_all(pair, reads, changes):
    out = prepare(make_analysis(pair), pair / "out")
    before = content(out)
    reads.take()
    prepare(make_analysis(pair, **changes), out)
    assert reads.take() == chunks_of("s.root", "b.root")
    assert {*before} & {*content(out)} == {"manifest.json"}
    check_like_new(make_analysis(pair, **changes), out)


def test_a_new_process_alone_is_read_and_a_removed_one_goes(pair, reads):
    write_root(pair / "t.root", make_sample(5, 60, first_event=20_001))
    out = prepare(make_analysis(pair), pair / "out")
    alone = content(out)
    reads.take()
    more = {
        "top": {"class": "background", "cross_section": 3.0, "files": ["t.root"]},
        **processes(),
    }
    prepare(make_analysis(pair, processes=more), out)
    assert reads.take() == chunks_of("t.root")
    assert len(content(out)) == 1 + 9
    check_like_new(make_analysis(pair, processes=more), out)
    reads.take()
    prepare(make_analysis(pair), out)
    assert not reads.take()
    assert content(out) == alone


def test_a_new_file_of_a_process_alone_is_read(pair, reads):
    out = prepare(make_analysis(pair), pair / "out")
    reads.take()
    write_root(pair / "b2.root", make_sample(6, 60, first_event=30_001))
    more = processes()
    more["bkg"]["files"] = ["b.root", "b2.root"]
    prepare(make_analysis(pair, processes=more), out)
    assert reads.take() == chunks_of("b2.root")
    check_like_new(make_analysis(pair, processes=more), out)


# -- altered -------------------------------------------------------------------------------------


def alter(out: Path, number: int) -> tuple[Path, tuple[str, int, int]]:
    """Flip a bit of a weight in a shard, and say which chunk it was."""
    manifest = read_manifest(out)
    entry = manifest.shards[number]
    path = out / "shards" / entry.name
    weight = Store(out)._batch(entry).column("event_weight").to_numpy()[:2].tobytes()
    data = bytearray(path.read_bytes())
    data[data.index(weight)] ^= 1
    path.write_bytes(data)
    return path, (Path(manifest.inputs[entry.input].path).name, entry.start, entry.stop)


def test_altered_bytes_are_found_and_the_advice_mends_them(pair, reads):
    out = prepare(make_analysis(pair), pair / "out")
    before = content(out)
    path, chunk = alter(out, 4)
    reads.take()
    message = rf"{path.name}: its content has changed since .*; delete it and run aot prepare again"
    with pytest.raises(InputFileError, match=message):
        Store(out).verify()
    path.unlink()
    prepare(make_analysis(pair), out)
    assert reads.take() == [chunk]
    assert content(out) == before
    Store(out).verify()


def test_altered_bytes_are_never_taken_over_into_another_manifest(pair, reads):
    out = prepare(make_analysis(pair), pair / "out")
    _, chunk = alter(out, 1)
    reads.take()
    prepare(make_analysis(pair, luminosity=20.0), out)
    assert reads.take() == [chunk]
    Store(out).verify()
    check_like_new(make_analysis(pair, luminosity=20.0), out)


@pytest.mark.parametrize("size", [0, 8, 1000])
def test_a_cut_shard_is_made_anew(pair, reads, size):
    out = prepare(make_analysis(pair), pair / "out")
    before = content(out)
    entry = read_manifest(out).shards[2]
    os.truncate(out / "shards" / entry.name, size)
    reads.take()
    prepare(make_analysis(pair), out)
    assert reads.take() == [("s.root", 40, 60)]
    assert content(out) == before


# -- files that change meanwhile -----------------------------------------------------------------


def same_size_other_time(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def other_size(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def other_file(path: Path) -> None:
    new = path.with_suffix(".new")
    write_root(new, make_sample(9, 60))
    new.replace(path)


@pytest.mark.parametrize("change", [same_size_other_time, other_size, other_file])
@pytest.mark.parametrize("moment", ["scan", "reading"])
def test_a_file_replaced_meanwhile_is_refused(pair, monkeypatch, reads, change, moment):
    read = ChunkReader.read
    changed: list[int] = []

    def replacing(self: ChunkReader, start: int, stop: int) -> Chunk:
        chunk = read(self, start, stop)
        scanning = stop - start > 20
        if self._file.process == "bkg" and scanning == (moment == "scan") and not changed:
            changed.append(start)
            change(pair / "b.root")
        return chunk

    monkeypatch.setattr(ChunkReader, "read", replacing)
    message = r"b.root: replaced while it was read \(it had \d+ bytes, now \d+, or was written anew"
    with pytest.raises(InputFileError, match=message):
        prepare(make_analysis(pair), pair / "out")
    with pytest.raises(InputFileError):
        Store(pair / "out")
    monkeypatch.undo()
    prepare(make_analysis(pair), pair / "out")
    Store(pair / "out").verify()
    prepare.__globals__["CHUNK_ENTRIES"], usual = 20, prepare.__globals__["CHUNK_ENTRIES"]
    try:
        prepare(make_analysis(pair), pair / "out")
        check_like_new(make_analysis(pair), pair / "out")
    finally:
        prepare.__globals__["CHUNK_ENTRIES"] = usual


def test_a_file_deleted_meanwhile_is_refused(pair):
    def progress(text: str, done: int, total: int) -> None:
        (pair / "b.root").unlink(missing_ok=True)

    message = r"b.root: gone while it was read \(No such file or directory\); run again"
    with pytest.raises(InputFileError, match=message):
        prepare(make_analysis(pair), pair / "out", progress=progress)
    with pytest.raises(InputFileError, match=r"marked incomplete, 3 chunks are missing"):
        Store(pair / "out")


def test_a_mistake_found_at_the_end_costs_no_chunk_of_the_other_processes(pair, reads):
    write_root(
        pair / "empty.root", make_sample(5, 40, first_event=70_000).replaced(MET_pt=np.zeros(40))
    )
    event = {"select": "MET_pt > 20", "features": ["MET_pt"]}
    processes = analysis_content()["processes"]
    more = {"class": "background", "cross_section": 1.0, "files": ["empty.root"]}
    with pytest.raises(SampleError, match=r"process vv: none of its 40 events is left"):
        prepare(make_analysis(pair, event=event, processes={**processes, "vv": more}), pair / "out")
    assert not (pair / "out" / "manifest.json").exists()
    assert reads.all
    reads.all.clear()
    prepare(make_analysis(pair, event=event, processes=processes), pair / "out")
    assert reads.all == []
