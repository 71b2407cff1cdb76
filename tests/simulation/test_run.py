from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pyarrow.parquet as pq
import pytest
import uproot
import yaml

from particle_transformer.errors import OutputError, SampleError
from particle_transformer.simulation import run, simulate

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")


def test_importing_the_package_loads_neither_pythia_nor_fastjet_nor_torch():
    code = """
        import sys
        import particle_transformer.simulation
        loaded = {"pythia8mc", "fastjet", "torch"} & set(sys.modules)
        assert not loaded, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"events": 0}, "events is 0; expected at least 1"),
        ({"events": 5, "seed": -1}, "seed is -1; expected at least 0"),
        ({"events": 5, "workers": 0}, "workers is 0; expected at least 1"),
        ({"events": 5, "chunk_events": 0}, "chunk_events is 0; expected at least 1"),
        (
            {"events": 5, "processes": ["ttbar"]},
            "unknown process 'ttbar' of the sample ttH; nearest: TTbar",
        ),
        ({"events": 5, "sample": "jetsmet"}, "unknown sample 'jetsmet'; nearest: jets-met"),
    ],
)
def test_wrong_arguments_leave_nothing(tmp_path, arguments, message):
    with pytest.raises(SampleError, match=message):
        simulate(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"is not empty \(thesis\.tex\)"):
        simulate(tmp_path, events=5)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_output_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/out cannot be written: Not a directory"):
        simulate(tmp_path / "file" / "out", events=5)


def _few_events(out, seed=3, workers=1, progress=None):
    return simulate(
        out,
        events=20,
        seed=seed,
        workers=workers,
        processes=["ZToNuNu"],
        chunk_events=15,
        progress=progress,
    )


def _interrupt_after(calls):
    def interrupt(*_):
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise KeyboardInterrupt

    return interrupt


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_tasks", fail)
    with pytest.raises(KeyboardInterrupt):
        _few_events(tmp_path / "a" / "out")
    assert not (tmp_path / "a" / "out").exists()


def test_an_interrupted_run_goes_on_from_its_chunks(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    _few_events(whole)
    with pytest.raises(KeyboardInterrupt):
        _few_events(out, progress=_interrupt_after(1))
    assert [path.name for path in out.iterdir()] == [".chunks"]
    (chunk,) = (out / ".chunks").glob("*.npz")
    made = chunk.stat().st_mtime_ns, chunk.stat().st_ino
    with pytest.raises(KeyboardInterrupt):  # reports what is there, before anything is generated
        _few_events(out, progress=_interrupt_after(1))
    assert (chunk.stat().st_mtime_ns, chunk.stat().st_ino) == made
    assert len(list((out / ".chunks").glob("*.npz"))) == 1
    _few_events(out)
    _assert_same_files(whole, out)


def test_a_chunk_that_is_not_whole_is_generated_again(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    _few_events(whole)
    with pytest.raises(KeyboardInterrupt):
        _few_events(out, progress=_interrupt_after(2))
    first, second = sorted((out / ".chunks").glob("*.npz"))
    first.write_bytes(first.read_bytes()[:1000])
    second.with_suffix(".json").write_text("{")
    _few_events(out)
    _assert_same_files(whole, out)


def test_a_run_that_was_killed_while_it_moved_its_files_goes_on(tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    _few_events(whole)
    with pytest.raises(KeyboardInterrupt):
        _few_events(out, progress=_interrupt_after(2))
    (out / "ZToNuNu.root").write_bytes((whole / "ZToNuNu.root").read_bytes())
    (out / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"is not empty \(notes\.txt\)"):
        _few_events(out)
    (out / "notes.txt").unlink()
    _few_events(out)
    _assert_same_files(whole, out)


def test_settings_without_a_chunk_bind_nobody(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _few_events(out, progress=_interrupt_after(1))
    for chunk in (out / ".chunks").glob("*.npz"):
        chunk.unlink()
    _few_events(out, seed=4)
    assert json.loads((out / "simulation.json").read_text())["seed"] == 4


def test_no_chunk_of_another_simulation_is_used(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _few_events(out, progress=_interrupt_after(1))
    with pytest.raises(
        OutputError, match=r"holds an unfinished simulation with seed 3, expected 4; ask for the"
    ):
        _few_events(out, seed=4)
    with pytest.raises(OutputError, match=r"with processes\.TTbar not there, expected there"):
        simulate(out, events=20, seed=3, processes=["ZToNuNu", "TTbar"], chunk_events=15)
    assert list((out / ".chunks").glob("*.npz"))  # an error costs nobody a night's work
    (out / ".chunks" / "settings.json").write_text("{")
    with pytest.raises(OutputError, match=r"settings\.json: cannot be read .* to begin anew"):
        _few_events(out)


def test_a_sample_is_complete_and_consistent(tmp_path):
    out = tmp_path / "out"
    (out / ".chunks").mkdir(parents=True)  # of a run killed before anything was there
    calls = []
    path = simulate(
        out,
        events=20,
        seed=3,
        workers=1,
        processes=["ZToNuNu"],
        progress=lambda *call: calls.append(call),
        chunk_events=40,
    )
    assert path == out / "analysis.yaml"
    assert sorted(entry.name for entry in out.iterdir()) == [
        "ZToNuNu.parquet",
        "ZToNuNu.root",
        "analysis.yaml",
        "simulation.json",
    ]
    assert calls[-1] == ("ZToNuNu", 20, 20)
    events = pq.read_table(out / "ZToNuNu.parquet").to_pydict()
    with uproot.open(out / "ZToNuNu.root") as file:
        runs = file["Runs"].arrays(library="np")
    described = json.loads((out / "simulation.json").read_text())
    process = described["processes"]["ZToNuNu"]
    assert process["kept"] == len(events["event"]) >= 20
    assert process["generated"] == 40 * process["chunks"] == runs["genEventCount"][0]
    assert process["sum_of_weights"] == runs["genEventSumw"][0]
    assert len(set(events["event"])) == len(events["event"])
    chunk = [(number - 1) // 40 + 1 for number in events["event"]]
    assert chunk == events["luminosityBlock"]
    assert min(events["MET_pt"]) > 180
    assert described["seed"] == 3
    analysis = yaml.safe_load(path.read_text())
    section = analysis["processes"]["ZToNuNu"]["cross_section"]
    assert section == pytest.approx(process["cross_section"], rel=1e-5)
    assert analysis["processes"]["ZToNuNu"]["class"] == "z"


def _columns(path):
    with uproot.open(path) as file:
        return {
            f"{tree}.{name}": array.to_list() if array.ndim > 1 else array.tolist()
            for tree in ("Events", "Runs")
            for name, array in ((key, file[tree][key].array()) for key in file[tree].keys())  # noqa: SIM118
        }


def _assert_same_files(one, two):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    for name in names:
        if name.endswith(".root"):  # a ROOT file states when it was written
            assert _columns(one / name) == _columns(two / name)
        else:
            assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_files(tmp_path):
    for workers in (1, 2):
        simulate(
            tmp_path / str(workers),
            events=50,
            seed=11,
            workers=workers,
            processes=["ttH_HToInv", "WToLNu"],
            chunk_events=50,
        )
    _assert_same_files(tmp_path / "1", tmp_path / "2")


SCRIPT = """
import sys
from pathlib import Path
from particle_transformer.simulation import simulate

if __name__ == "__main__":
    simulate(
        Path(sys.argv[1]),
        events=int(sys.argv[2]),
        workers=2,
        sample="jets-met",
        processes=["Stop_M700", "ZToNuNu"],
        chunk_events=20,
        progress=lambda *call: print(call, flush=True),
    )
"""


def _start(tmp_path, events):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out"), str(events)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _assert_nobody_is_left(process):
    # Once Python's own helper has seen that its parent is gone.
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):  # noqa: PT012
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_leaves_the_chunks(tmp_path):
    with _start(tmp_path, 100_000) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # the workers are at work
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
        _, errors = process.communicate(timeout=120)
    assert errors.count("Traceback") == 1  # the caller's own KeyboardInterrupt, and no worker's
    assert "KeyboardInterrupt" in errors
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".chunks"]
    _assert_nobody_is_left(process)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_files_of_one_that_was_not(tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    for _ in range(2):  # killed at the first chunk, and again at the next new one
        with _start(tmp_path, 60) as process:
            assert process.stdout is not None
            before = len(list(out.glob(".chunks/*.npz")))
            while len(list(out.glob(".chunks/*.npz"))) == before:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()  # the parent alone: its workers follow
            process.communicate(timeout=120)
        _assert_nobody_is_left(process)
        assert [path.name for path in out.iterdir()] == [".chunks"]
    with _start(tmp_path, 60) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    simulate(
        whole,
        events=60,
        workers=1,
        sample="jets-met",
        processes=["Stop_M700", "ZToNuNu"],
        chunk_events=20,
    )
    _assert_same_files(whole, out)
