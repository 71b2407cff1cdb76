"""Files of scores: whole, aligned, made once, and taken up again after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from helpers.files import make_analysis, make_sample, write_parquet, write_root, write_tree
from helpers.untrained import untrained_run
from inference.test_entries import CHANGES, EVENTS, file_of, scores_of, write_samples
from particle_transformer.data.tasks import CHUNK_ENTRIES
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.inference.entries import RunScorer
from particle_transformer.inference.predict import ScoreOptions, copying, predict
from particle_transformer.inference.predict.tree_layout import TreeLayout
from particle_transformer.locks import held

if TYPE_CHECKING:
    from particle_transformer.artefact.run_folder import RunFolder

NANO = Path(__file__).parents[2].parent / "shared" / "data" / "nanoaod"

RUNS = {"genEventCount": np.array([600]), "genEventSumw": np.array([800.5])}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    write_samples(folder)
    return folder


@pytest.fixture(scope="module")
def run(base: Path) -> RunFolder:
    return untrained_run(make_analysis(base, **CHANGES), base / "run")


@pytest.fixture
def chunks_of_20(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(predict.__globals__["_tasks"].__globals__, "CHUNK_ENTRIES", 20)


def expected(run: RunFolder, base: Path, name: str, **options: Any) -> dict[str, np.ndarray]:
    return scores_of(RunScorer(run, **options), file_of(base, name)).columns


def check(found: Any, columns: dict[str, np.ndarray]) -> None:
    for name, values in columns.items():
        assert found[name].dtype == values.dtype, name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_friend_tree_has_a_row_for_every_entry(base, run, tmp_path, chunks_of_20):
    calls: list[tuple[int, int]] = []
    written = predict(
        run.path, [str(base / "s.root"), str(base / "d.root")], tmp_path / "out",
        progress=lambda _, done, total: calls.append((done, total)),
    )  # fmt: skip
    assert [each.path.name for each in written] == ["s.root", "d.root"]
    for each, name in zip(written, "sd", strict=True):
        with uproot.open(each.path) as file:
            tree = file["scores"]
            check(tree.arrays(library="np"), expected(run, base, name))
            with uproot.open(base / f"{name}.root") as inputs:
                for branch in ("run", "luminosityBlock", "event"):
                    values = inputs["Events"][branch].array(library="np")
                    np.testing.assert_array_equal(tree[branch].array(library="np"), values)
                    assert tree[branch].typename == inputs["Events"][branch].typename
            said = json.loads(str(file["aot"]))
    assert said == written[1].provenance
    assert said["fill"] == -1
    assert said["input"]["path"] == str(base / "d.root")
    assert said["counts"]["entries"] == EVENTS
    assert len(said["artefacts"]) == 3
    assert calls[-1] == (4 * EVENTS, 4 * EVENTS)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["d.root", "s.root"]


def test_a_copy_has_all_branches_and_the_scores(base, run, tmp_path, chunks_of_20, monkeypatch):
    monkeypatch.setattr(copying, "MEMORY", "1 kB")  # several steps of each chunk
    sample = make_sample(7, EVENTS)
    content = {
        **sample.flat,
        **{name: ak.zip(fields) for name, fields in sample.jagged.items()},
        "cov": np.arange(3.0 * EVENTS).reshape(EVENTS, 3),
        "flag": np.arange(EVENTS) % 3 == 0,
    }
    with uproot.recreate(tmp_path / "s.root") as file:
        types = {
            name: array.type.content if isinstance(array, ak.Array) else
            np.dtype((array.dtype, array.shape[1:]))
            for name, array in content.items()
        }  # fmt: skip
        file.mktree("Events", types)
        file["Events"].extend(content)
        file.mktree("Runs", {name: array.dtype for name, array in RUNS.items()})
        file["Runs"].extend(RUNS)
        file["note"] = "v12"
        file["histogram"] = np.histogram([1, 2, 3])
    (written,) = predict(
        run.path, [str(tmp_path / "s.root")], tmp_path / "out", output_format="copy"
    )
    with uproot.open(tmp_path / "s.root") as before, uproot.open(written.path) as after:
        one, other = before["Events"], after["Events"]
        for branch in one.branches:
            assert ak.array_equal(branch.array(), other[branch.name].array(), dtype_exact=True)
            assert other[branch.name].typename == branch.typename
        # Readers of C++ find the length of every list, and one counter is that of all of Jet.
        assert {other[f"Jet_{f}"].count_branch.name for f in ("pt", "eta", "btag")} == {"nJet"}
        assert other["Muon_pt"].count_branch.name == "nMuon"
        scored = predict(run.path, [str(tmp_path / "s.root")], tmp_path / "friend")
        with uproot.open(scored[0].path) as friend:
            for name in ("score", "score_ensemble", "fold", "score_JES_up", "region_signal"):
                np.testing.assert_array_equal(
                    other[name].array(library="np"), friend["scores"][name].array(library="np")
                )
        assert after["Runs"]["genEventSumw"].array().tolist() == [800.5]
        assert str(after["note"]) == "v12"
    assert written.provenance["left_out"] == ["histogram"]


def test_a_copy_is_discarded_where_it_is_not_the_same(base, run, tmp_path, monkeypatch):
    extend = TreeLayout.extend

    def broken(self: Any, tree: Any, arrays: Any, more: Any) -> None:
        if "MET_pt" in arrays:
            arrays = {**arrays, "MET_pt": arrays["MET_pt"] + 1}
        extend(self, tree, arrays, more)

    monkeypatch.setattr(TreeLayout, "extend", broken)
    with pytest.raises(InputFileError, match=r"'MET_pt' has other values between entries 0 and 60"):
        predict(run.path, [str(base / "s.root")], tmp_path / "out", output_format="copy")
    assert not list((tmp_path / "out").glob("*.root"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("strings", r"branch 'strings' holds char\*.* --format friend"),
        ("fold", r"branch 'fold' is there already; use --format friend"),
    ],
)
def test_what_cannot_be_copied_is_named(base, run, tmp_path, name, message):
    sample = make_sample(7, EVENTS)
    values = ak.Array(["a"] * EVENTS) if name == "strings" else np.zeros(EVENTS)
    content = {**sample.flat, **{k: ak.zip(v) for k, v in sample.jagged.items()}, name: values}
    with uproot.recreate(tmp_path / "s.root") as file:
        types = {
            key: ("string" if key == "strings" else array.type.content)
            if isinstance(array, ak.Array) else array.dtype
            for key, array in content.items()
        }  # fmt: skip
        file.mktree("Events", types)
        file["Events"].extend(content)
    with pytest.raises(InputFileError, match=message):
        predict(run.path, [str(tmp_path / "s.root")], tmp_path / "out", output_format="copy")


@pytest.mark.slow
@pytest.mark.skipif(not NANO.is_dir(), reason="no shared files beside the repository")
def test_a_copy_of_nanoaod(base, run, tmp_path):
    path = NANO / "ttH_M125_2017.root"
    (written,) = predict(
        run.path, [str(path)], tmp_path / "out", output_format="copy", process="sig"
    )
    with uproot.open(path) as before, uproot.open(written.path) as after:
        for branch in before["Events"].branches:
            found = after["Events"][branch.name]
            same = ak.array_equal(branch.array(), found.array(), equal_nan=True, dtype_exact=False)
            assert same, branch.name
            if branch.count_branch is not None:
                assert found.count_branch.name == branch.count_branch.name
        assert len(after["Events"]["score"].array()) == 100
    assert written.provenance["left_out"] == []


def test_parquet_in_parquet_out(base, run, tmp_path, chunks_of_20):
    write_parquet(tmp_path / "s.parquet", make_sample(0, EVENTS, first_event=0))
    (written,) = predict(run.path, [str(tmp_path / "s.parquet")], tmp_path / "out", process="sig")
    table = pq.read_table(written.path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    check(columns, expected(run, base, "s"))
    assert json.loads(table.schema.metadata[b"aot"]) == written.provenance
    (of_root,) = predict(
        run.path, [str(base / "s.root")], tmp_path / "two", output_format="parquet"
    )
    assert pq.read_table(of_root.path).select(["score"]).equals(table.select(["score"]))
    with pytest.raises(InputFileError, match=r"no ROOT file; --format copy is for those"):
        predict(
            run.path, [str(tmp_path / "s.parquet")], tmp_path, output_format="copy", process="sig"
        )
    with pytest.raises(InputFileError, match="output format 'csv': expected one of friend, copy"):
        predict(run.path, [str(base / "s.root")], tmp_path, output_format="csv")  # type: ignore[arg-type]


def test_what_is_there_is_not_made_again_and_what_has_changed_is(base, run, tmp_path):
    write_root(tmp_path / "s.root", make_sample(3, EVENTS))
    arguments = (run.path, [str(tmp_path / "s.root")], tmp_path / "out")
    (first,) = predict(*arguments)
    state = first.path.stat().st_mtime_ns
    (again,) = predict(*arguments)
    assert (first.made, again.made) == (True, False)
    assert first.path.stat().st_mtime_ns == state
    assert again.provenance == first.provenance
    (other,) = predict(*arguments, options=ScoreOptions(fill=-9))
    assert other.made
    write_root(tmp_path / "s.root", make_sample(4, EVENTS + 1))
    (new,) = predict(*arguments)
    assert new.made
    with uproot.open(new.path) as file:
        assert file["scores"].num_entries == EVENTS + 1


def test_a_file_without_entries(base, run, tmp_path):
    write_root(tmp_path / "s.root", make_sample(3, 3).taken(slice(0, 0)))
    for name in ("friend", "copy", "parquet"):
        out = tmp_path / name
        (written,) = predict(run.path, [str(tmp_path / "s.root")], out, output_format=name)
        assert written.provenance["counts"]["entries"] == 0
    assert pq.read_metadata(tmp_path / "parquet" / "s.parquet").num_rows == 0


def test_places_that_are_refused(base, run, tmp_path):
    inputs = [str(base / "s.root")]
    with pytest.raises(OutputError, match=r"s.root: is the input itself; give --out another"):
        predict(run.path, inputs, base)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s.root").write_text("mine")
    with pytest.raises(OutputError, match=r"exists and was not written by aot predict"):
        predict(run.path, inputs, tmp_path / "out")
    assert (tmp_path / "out" / "s.root").read_text() == "mine"
    (tmp_path / "a").mkdir()
    write_root(tmp_path / "a" / "s.root", make_sample(3, 3))
    with pytest.raises(
        OutputError, match=r"would both be written to .*; score them into different"
    ):
        predict(run.path, [*inputs, str(tmp_path / "a" / "s.root")], tmp_path / "two")
    (tmp_path / "held").mkdir()
    with held(tmp_path / "held", "x"), pytest.raises(OutputError, match="another aot predict is"):
        predict(run.path, inputs, tmp_path / "held")


def test_a_mistake_in_any_file_shows_before_any_is_scored(base, run, tmp_path):
    sample = make_sample(3, 30)
    flat = {("MET_pT" if name == "MET_pt" else name): sample.flat[name] for name in sample.flat}
    write_tree(tmp_path / "b.root", {**flat, **{k: ak.zip(v) for k, v in sample.jagged.items()}})
    with pytest.raises(InputFileError, match=r"b.root: 'MET_pt' is neither .*nearest: MET_pT"):
        predict(run.path, [str(base / "s.root"), str(tmp_path / "b.root")], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.root"))
    with pytest.raises(InputFileError, match=r"no.root: cannot be opened .*nearest: "):
        predict(run.path, [str(base / "no.root")], tmp_path / "out", process="sig")


def test_tampered_artefacts(base, tmp_path):
    run = untrained_run(make_analysis(base, **CHANGES), tmp_path / "run")
    inputs = [str(base / "s.root")]
    weights = run.network(2) / "model.safetensors"
    healthy = weights.read_bytes()
    weights.write_bytes(healthy[:-1] + bytes([healthy[-1] ^ 1]))
    with pytest.raises(InputFileError, match=r"fold-2/network-0/model.safetensors: sha256 is"):
        predict(run.path, inputs, tmp_path / "out")
    weights.write_bytes(healthy)
    config = run.network(1) / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"format_version": ', '"format_version": 9'))
    with pytest.raises(InputFileError, match=r"fold-1/.*format_version is 9\d.*upgrade"):
        predict(run.path, inputs, tmp_path / "out")
    config.write_text(text)
    config = run.network(0) / "config.json"
    config.write_text(config.read_text().replace("log(pt)", "pt"))
    with pytest.raises(InputFileError, match=r"fold-0/network-0/config.json: .*sha256"):
        predict(run.path, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


SLOWLY = """
import sys, time
from pathlib import Path
from particle_transformer.data.chunk import ChunkReader
from particle_transformer.inference.predict import predict, run as module
module.CHUNK_ENTRIES = 20
read = ChunkReader.read
def slow(self, *bounds):
    time.sleep(0.3)
    return read(self, *bounds)
ChunkReader.read = slow
predict(Path(sys.argv[1]), [sys.argv[2]], Path(sys.argv[3]), output_format="parquet")
"""


@pytest.mark.slow
def test_killed_and_resumed_to_the_same_bytes(base, run, tmp_path, chunks_of_20, monkeypatch):
    write_root(tmp_path / "s.root", make_sample(3, 200))
    inputs, out = [str(tmp_path / "s.root")], tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(run.path), *inputs, str(out)], env=os.environ
    )
    parts = out / ".unfinished"
    deadline = time.monotonic() + 120
    while not parts.is_dir() or len(list(parts.glob("*.arrow"))) < 3:
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = len(list(parts.glob("*.arrow")))
    assert 3 <= kept < 10
    assert not list(out.glob("*.parquet"))
    calls: list[int] = []
    predict(
        run.path, inputs, out, output_format="parquet",
        progress=lambda _, done, total: calls.append(done),
    )  # fmt: skip
    assert len(calls) == 10 - kept + 1  # the others were taken up; the last is the writing
    predict(run.path, inputs, tmp_path / "whole", output_format="parquet")
    assert (out / "s.parquet").read_bytes() == (tmp_path / "whole" / "s.parquet").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == ["s.parquet"]
    assert CHUNK_ENTRIES == 100_000
