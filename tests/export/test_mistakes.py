"""What `aot export` refuses, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from export.runs import analysis_of, random_run
from helpers.files import Sample, make_sample, write_root
from particle_transformer import errors
from particle_transformer.artefact import load_artefact
from particle_transformer.config import load_analysis
from particle_transformer.errors import InputFileError, MissingExtraError, OutputError
from particle_transformer.export.check import check, padded_inputs, random_events, reference_logits
from particle_transformer.export.graph import RawGraph
from particle_transformer.export.inputs import raw_columns
from particle_transformer.export.run import export_run

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.artefact.run_folder import RunFolder

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("mistakes")
    return random_run(folder, analysis_of(folder, events=60))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a.pt2"}, r"--out .*a\.pt2: expected a name that ends in \.onnx for --to onnx"),
        ({"to": "torch"}, r"expected a name that ends in \.pt2 for --to torch"),
        ({"name": "none/a.onnx"}, "there is no folder"),
        ({"to": "torch", "name": "a.pt2", "precision": "int8"}, "of ONNX files alone"),
        ({"fold": 2}, "--fold 2: the run has the folds 0 to 1"),
        ({"float_inputs": True}, "float32 cannot hold the event numbers .* --fold F"),
        ({"era": "2019"}, "--era 2019: no era of the analysis"),
    ],
)
def test_a_request_that_cannot_be(
    run: RunFolder, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    name = arguments.pop("name", "a.onnx")
    with pytest.raises(errors.AOTError, match=message):
        export_run(run.path, tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"not a run \(no run.json\)"):
        export_run(tmp_path, tmp_path / "a.onnx")


def test_a_file_that_lacks_a_branch_and_one_that_is_not_there(
    run: RunFolder, tmp_path: Path
) -> None:
    sample = make_sample(1, 5)
    jagged = {**sample.jagged, "Jet": {**sample.jagged["Jet"]}}
    jagged["Jet"]["puppi_mass"] = jagged["Jet"].pop("mass")
    other = write_root(tmp_path / "other.root", Sample(sample.flat, jagged))
    with pytest.raises(
        InputFileError, match=r"other.root: field 'mass' of jets .*nearest: .*puppi_mass"
    ):
        export_run(run.path, tmp_path / "a.onnx", like=other)
    with pytest.raises(InputFileError, match=r"--like .*: no such file"):
        export_run(run.path, tmp_path / "a.onnx", like=tmp_path / "no.root")


def test_inputs_that_are_gone_are_told_with_the_way_out(tmp_path: Path) -> None:
    run = random_run(tmp_path, analysis_of(tmp_path, events=20))
    (tmp_path / "s.root").unlink()
    with pytest.raises(InputFileError, match=r"s\.root.* give --like FILE"):
        export_run(run.path, tmp_path / "a.onnx")


def test_eras_with_other_names(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path, events=20)
    run = random_run(tmp_path, analysis)
    era = next(iter(analysis.eras.values()))
    eras = {"a": era, "b": era.model_copy(update={"aliases": {"btag": "deep"}})}
    content = analysis.model_copy(update={"eras": eras})
    with pytest.raises(
        InputFileError, match="--era: missing, but branches are called otherwise in b than in a"
    ):
        raw_columns(content, None, None, identity=True)
    assert run.path.exists()


def test_folds_of_a_hash_of_the_columns(tmp_path: Path) -> None:
    run = random_run(tmp_path, analysis_of(tmp_path, events=20, source={"event_number": None}))
    with pytest.raises(InputFileError, match=r"names no source.event_number.* give --fold F"):
        export_run(run.path, tmp_path / "a.onnx")


def test_a_missing_library_is_one_sentence(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(
        MissingExtraError, match=r"pip install 'analysis-object-transformer\[export\]'"
    ):
        export_run(run.path, tmp_path / "a.onnx")


def graph_of(run: RunFolder) -> RawGraph:
    raw = raw_columns(load_analysis(run.analysis), None, None, identity=True)
    networks = [[load_artefact(run.network(fold))[0]] for fold in range(2)]
    return RawGraph(raw, [], networks, two_scores=False, float_inputs=False, trimmed=False)


def test_a_graph_that_differs_is_refused(run: RunFolder) -> None:
    graph = graph_of(run)
    drawn = random_events(graph.raw, {})
    expected, finite, met = reference_logits(graph, drawn)
    done = 0

    def shifted(difference: float) -> Any:
        def score(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            nonlocal done
            count = len(inputs["event"])
            found = expected[done % len(expected) :][:count].copy()
            found[-1] += difference
            done += count
            return {"logits": found}

        return score

    assert finite.all()
    assert check(graph, drawn, shifted(9e-5)).difference == pytest.approx(9e-5)
    for wrong in (1.1e-4, np.nan):
        with pytest.raises(
            OutputError, match=r"differs from PyTorch by up to .*expected at most 0\.0001"
        ):
            check(graph, drawn, shifted(wrong))
    assert met["jets"] == (0, 1, 2, 3, 4), "none, some, and the cap"


def test_the_events_of_the_check_reach_beyond_the_cap(run: RunFolder) -> None:
    graph = graph_of(run)
    drawn = random_events(graph.raw, {})
    jets = drawn.columns["Jet_pt"]
    assert jets.offsets is not None
    counts = np.diff(jets.offsets)
    assert counts.min() == 0
    assert counts.max() >= 4 + 3
    numbers = drawn.columns["event"].values.astype(np.int64)
    assert (numbers < 0).any()
    assert (np.abs(numbers.astype(float)) > 2**60).any()
    inputs = padded_inputs(graph, drawn, 0, drawn.events, slots=30)
    assert inputs["Jet_pt"].shape == (drawn.events, 30)
    assert np.isnan(inputs["Jet_pt"]).sum() == inputs["Jet_mask"].sum() > 0


def test_an_output_that_cannot_be_written_leaves_nothing(run: RunFolder, tmp_path: Path) -> None:
    taken = tmp_path / "a.onnx"
    taken.mkdir()
    with pytest.raises(OutputError, match=r"a.onnx: cannot be written"):
        export_run(run.path, taken, fold=0)
    assert [each.name for each in tmp_path.iterdir()] == ["a.onnx"]
