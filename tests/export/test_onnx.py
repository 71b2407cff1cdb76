"""Exported ONNX files against the pipeline: the same files, numpy's expressions, PyTorch's networks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from export.runs import MODEL, OBJECTS, analysis_of, events_of, random_run
from particle_transformer.artefact import load_artefact
from particle_transformer.events import fold_of
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.export.run import export_run
from particle_transformer.inference.networks import RunNetworks
from particle_transformer.inference.score import signal_probability

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.events import Events

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

JET = ("pt", "eta", "phi", "mass", "btag")
MUON = ("pt", "eta", "phi", "mass")


def session_of(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def padded_file(path: Path, names: set[str], *, slots: int = 0) -> dict[str, np.ndarray]:
    """The branches of a file as awkward pads them; NaN where padded."""
    with uproot.open(path) as file:
        events = file["Events"].arrays()
    found: dict[str, np.ndarray] = {}
    for name in ak.fields(events):
        if name not in names:
            continue
        column = events[name]
        if column.ndim == 1:
            values = ak.to_numpy(column)
            found[name] = values.astype(np.int64) if values.dtype.kind in "iu" else values
            continue
        width = max(int(ak.max(ak.num(column))), slots)
        masked = ak.to_numpy(ak.pad_none(column, width, clip=True))
        found[name] = masked.filled(np.nan)
        found[f"{name.split('_')[0]}_mask"] = np.ma.getmaskarray(masked).copy()
    return found


def outputs_of(session: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def run_on_file(session: Any, path: Path, **more: np.ndarray) -> dict[str, np.ndarray]:
    names = {each.name for each in session.get_inputs()}
    inputs = {**padded_file(path, names), **more}
    assert set(inputs) == names
    return outputs_of(session, inputs)


def predictions(run: RunFolder, events: Events, parameters: dict[str, float] | None = None) -> Any:
    """By numpy and PyTorch: of each event's own fold, and the mean of all."""
    networks = RunNetworks(run, run.read_record())
    folds = int(run.read_record()["folds"])
    every = [
        networks.of_fold(fold).predict(events, parameters, lambda _: None) for fold in range(folds)
    ]
    fold = fold_of(events.identity, folds)
    logits = np.stack([each.logits for each in every])[fold, np.arange(len(events))]
    regression = np.stack([each.regression for each in every])[fold, np.arange(len(events))]
    return logits, regression, networks.mean(every).logits, fold


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Path, dict[str, Any]]:
    """Two folds of two networks each, with pair bias."""
    folder = tmp_path_factory.mktemp("exported")
    analysis = analysis_of(
        folder, training={"folds": 2, "ensemble": 2}, model={**MODEL, "pair_bias": True}
    )
    run = random_run(folder, analysis)
    metadata = export_run(run.path, folder / "scorer.onnx")
    return run, folder / "scorer.onnx", metadata


@pytest.fixture(scope="module")
def session(exported: tuple[RunFolder, Path, dict[str, Any]]) -> Any:
    return session_of(exported[1])


def test_scores_of_raw_columns_are_those_of_the_pipeline(exported: Any, session: Any) -> None:
    run, path, _ = exported
    from particle_transformer.config import load_analysis

    events = events_of(load_analysis(run.analysis))
    logits, _, mean, fold = predictions(run, events)
    found = run_on_file(session, path.parent / "s.root")
    assert len(events) == len(found["fold"])  # every event is in a region and finite
    np.testing.assert_array_equal(found["fold"], fold)
    np.testing.assert_allclose(found["logits"], logits, atol=2e-6)
    np.testing.assert_allclose(found["ensemble_logits"], mean, atol=2e-6)
    np.testing.assert_allclose(found["score"], signal_probability(logits), atol=1e-6)
    np.testing.assert_allclose(found["ensemble_score"], signal_probability(mean), atol=1e-6)
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(found["probabilities"][:, 0], found["score"])
    assert logits.std() > 1e-2, "random networks tell events apart"
    assert len(np.unique(fold)) == 2


def test_truncated_counts_what_the_cap_cut(exported: Any, session: Any) -> None:
    run, path, _ = exported
    found = run_on_file(session, path.parent / "s.root")
    from particle_transformer.config import load_analysis

    analysis = load_analysis(run.analysis)
    uncapped = analysis.model_copy(
        update={
            "objects": {
                name: each.model_copy(update={"max": None})
                for name, each in analysis.objects.items()
            }
        }
    )
    selected = events_of(uncapped).objects
    assert found["truncated"].sum() > 0
    np.testing.assert_array_equal(
        found["truncated"][:, 1], np.maximum(selected["jets"].counts - 4, 0)
    )
    assert not found["truncated"][:, 0].any()


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 2**60 + 1, -(2**63), 0])


@settings(max_examples=40)
@given(st.lists(NUMBERS, min_size=1, max_size=6))
def test_the_fold_of_any_event_number_is_numpys(session: Any, numbers: list[int]) -> None:
    identity = np.array(numbers, dtype=np.int64)
    found = outputs_of(session, empty_events(session, identity))
    np.testing.assert_array_equal(found["fold"], fold_of(identity[:, np.newaxis], 2))


def empty_events(session: Any, identity: np.ndarray, slots: int = 0) -> dict[str, np.ndarray]:
    """Events without any object, in as many padded slots."""
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    found: dict[str, np.ndarray] = {}
    for each in session.get_inputs():
        shape = (len(identity), slots)[: len(each.shape)]
        found[each.name] = np.full(shape, 50, types[each.type])
    return {**found, "event": identity}


def test_events_without_objects_have_scores_whatever_is_padded(session: Any) -> None:
    identity = np.arange(4)
    none = outputs_of(session, empty_events(session, identity))
    padded = outputs_of(session, empty_events(session, identity, slots=3))
    assert np.isfinite(none["logits"]).all()
    np.testing.assert_allclose(none["logits"], padded["logits"], atol=1e-6)


def test_padding_order_and_the_other_events_change_nothing(exported: Any, session: Any) -> None:
    names = {each.name for each in session.get_inputs()}
    inputs = padded_file(exported[1].parent / "s.root", names)
    whole = outputs_of(session, inputs)["logits"]
    wide = padded_file(exported[1].parent / "s.root", names, slots=20)
    np.testing.assert_allclose(outputs_of(session, wide)["logits"], whole, atol=2e-6)
    alone = outputs_of(session, {name: values[5:6] for name, values in inputs.items()})
    np.testing.assert_allclose(alone["logits"], whole[5:6], atol=2e-6)
    # The jets are sorted in the graph, the muons' order means nothing to the network.
    turned = {
        name: values[:, ::-1].copy() if values.ndim == 2 else values
        for name, values in inputs.items()
    }
    same = outputs_of(session, turned)["logits"]
    single = (~inputs["Muon_mask"]).sum(1) <= 1  # leading(muons.pt) is of the first
    np.testing.assert_allclose(same[single], whole[single], atol=2e-6)


def test_the_metadata_says_what_the_file_is(exported: Any) -> None:
    _, path, returned = exported
    model = onnx.load(path, load_external_data=False)
    found = {each.key: each.value for each in model.metadata_props}
    assert {key: json.loads(value) for key, value in found.items() if key in ("inputs", "parity")} == {
        "inputs": returned["inputs"], "parity": returned["parity"],
    }  # fmt: skip
    assert json.loads(found["classes"]) == ["signal", "background"]
    assert json.loads(found["features"])["jets"]["features"] == OBJECTS["jets"]["features"]
    assert json.loads(found["features"])["jets"]["max"] == 4
    assert json.loads(found["identity"]) == ["event"]
    assert (found["fold"], found["folds"], found["networks_per_fold"]) == ("null", "2", "2")
    assert found["licence"] == "Apache-2.0"
    assert found["precision"] == "fp32"
    assert len(found["training_fingerprint"]) == 64
    units = {each["name"]: each["unit"] for each in json.loads(found["inputs"])}
    assert units["Jet_pt"] == units["MET_pt"] == "GeV"
    assert units["Jet_phi"] == "rad"
    assert units["Jet_eta"] == "1"
    assert [each.name for each in model.graph.input] == list(units)
    assert all(
        tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer
    )
    parity = returned["parity"]
    assert parity["max_abs_logit_difference"] <= 1e-4
    assert parity["multiplicities"]["jets"] == [0, 1, 2, 3, 4]


def test_one_fold_alone(exported: Any, tmp_path: Path) -> None:
    run, path, every = exported
    from particle_transformer.config import load_analysis

    metadata = export_run(run.path, tmp_path / "one.onnx", fold=1, float_inputs=True)
    assert metadata["fold"] == 1
    assert metadata["training_fingerprint"] != every["training_fingerprint"]
    session = session_of(tmp_path / "one.onnx")
    assert {each.type for each in session.get_inputs()} == {"tensor(float)"}
    names = {each.name for each in session.get_inputs()}
    assert "event" not in names
    inputs = padded_file(path.parent / "s.root", names)
    found = outputs_of(session, {name: each.astype(np.float32) for name, each in inputs.items()})
    assert "fold" not in found
    events = events_of(load_analysis(run.analysis))
    expected = RunNetworks(run, run.read_record()).of_fold(1).predict(events, None, lambda _: None)
    np.testing.assert_allclose(found["logits"], expected.logits, atol=2e-6)


def conditioning_of(analysis: Any) -> dict[str, Any]:
    return Conditioning(("mass",), ((500.0,), (1000.0,)), (0.5, 0.5), (0, -1)).to_json()


@pytest.mark.slow  # four exports
@pytest.mark.parametrize("kind", ["classes", "two_scores", "regression", "conditioned"])
def test_other_networks(kind: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {}
    if kind == "classes":
        changes["processes"] = {
            "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
            "bkg": {"class": "tt", "cross_section": 20.0, "files": ["b.root"]},
            "third": {"class": "w", "cross_section": 20.0, "files": ["c.root"]},
        }
        (tmp_path / "c.root").write_bytes(b"")
    analysis = analysis_of(tmp_path, events=40, **changes)
    choices: dict[str, dict[str, Any]] = {
        "classes": {}, "two_scores": {"two_scores": True}, "regression": {"regression": ["gen"]},
        "conditioned": {"conditioning": conditioning_of(analysis)},
    }  # fmt: skip
    run = random_run(
        tmp_path, analysis, outputs={"classes": 3, "two_scores": 2}.get(kind, 1),
        targets=int(kind == "regression"), **choices[kind],
    )  # fmt: skip
    export_run(run.path, tmp_path / "scorer.onnx")
    more: dict[str, np.ndarray] = {}
    parameters = None
    if kind == "conditioned":
        more, parameters = {"mass": np.full(40, 750, np.float32)}, {"mass": 750.0}
    found = run_on_file(session_of(tmp_path / "scorer.onnx"), tmp_path / "s.root", **more)
    logits, regression, mean, _ = predictions(run, events_of(analysis), parameters)
    np.testing.assert_allclose(found["logits"], logits, atol=3e-6)
    np.testing.assert_allclose(found["ensemble_logits"], mean, atol=3e-6)
    two_scores = kind == "two_scores"
    np.testing.assert_allclose(
        found["score"], signal_probability(logits, two_scores=two_scores), atol=1e-6
    )
    assert found["probabilities"].shape == (40, 3 if kind == "classes" else 2)
    if kind == "regression":
        np.testing.assert_allclose(found["regression"], regression, atol=3e-6)
    else:
        assert "regression" not in found


def test_a_network_of_the_file_is_the_one_of_the_run(exported: Any) -> None:
    run, path, _ = exported
    weights = load_artefact(run.network(1, 1))[0].state_dict()["class_token"].numpy()
    model = onnx.load(path)
    held = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer]
    assert any(each.shape == weights.shape and (each == weights).all() for each in held)
