"""Scores of arrays in memory and inside coffea: those of the files, row by row."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import pytest

from helpers.files import Sample, make_analysis, make_sample, write_root
from helpers.untrained import untrained_run
from particle_transformer import ArrayScorer
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.data.files import input_file
from particle_transformer.data.scan import open_input
from particle_transformer.errors import InputFileError
from particle_transformer.inference import array_scorer
from particle_transformer.inference.entries import RunScorer
from particle_transformer.inference.predict import predict

REPOSITORY = Path(__file__).parents[2]
NANOAOD = REPOSITORY.parent / "shared" / "data" / "nanoaod"
EVENTS = 60

NETWORK: dict[str, Any] = {
    "embed_dims": 8, "linear_dims1": 8, "linear_dims2": 8, "mlp_hidden_1": 8, "mlp_hidden_2": 8,
    "num_heads": 2, "num_att_blocks": 1, "num_class_blocks": 1,
}  # fmt: skip
CHANGES: dict[str, Any] = {
    "objects": {
        "jets": {
            "collection": "Jet", "select": "pt > 30 and abs(eta) < 2.5", "sort_by": "pt", "max": 2,
            "features": ["log(pt)", "eta", "delta_phi(phi, met.phi)"],
        },
        "muons": {"collection": "Muon", "select": "pt > 20", "features": ["log(pt)", "eta"]},
    },
    "event": {
        "define": {"met.pt": "MET_pt", "met.phi": "MET_phi", "ht": "sum(jets.pt)"},
        "select": "met.pt > 40",
        "features": ["met.pt", "ht", "count(jets)"],
    },
    "variations": {
        "JES": {"up": {"jets.pt": "pt * 1.1"}, "down": {"jets.pt": "pt * 0.9"}},
    },
    "training": {"folds": 3},
    "model": NETWORK,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, with its files s.root and b.root beside it."""
    path = tmp_path_factory.mktemp("arrays")
    write_root(path / "s.root", _sample())
    write_root(path / "b.root", make_sample(2, EVENTS, first_event=10_001))
    untrained_run(make_analysis(path, **CHANGES), path / "run")
    return path


@pytest.fixture(scope="module")
def scorer(folder: Path) -> ArrayScorer:
    return ArrayScorer(folder / "run")


def _sample() -> Sample:
    return make_sample(1, EVENTS)


def _of_file(
    run: Path, path: Path, *, entries: int | None = None, **options: Any
) -> dict[str, np.ndarray]:
    """Columns as ``aot predict`` gets them, `entries` of the file at a time."""
    found = RunScorer(RunFolder(run), **{"ensemble": False, **options})
    file = input_file(str(path), "sig", next(iter(found.analysis.eras)), "Events")
    with open_input(found.analysis, file) as reader:
        scorer, size = found.open(reader, file), entries or reader.entries
        parts = [scorer.read(n, n + size).columns for n in range(0, reader.entries, size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


ROUNDING = 1e-6
"""Sums of float32 are rounded otherwise where other events are scored together."""


def _assert_same(scores: ak.Array, expected: dict[str, np.ndarray], atol: float = 0.0) -> None:
    assert scores.fields == list(expected)
    for name, values in expected.items():
        found = ak.to_numpy(scores[name])
        assert found.dtype == values.dtype, name
        np.testing.assert_allclose(found, values, rtol=0, atol=atol, err_msg=name)


def _records(sample: Sample) -> ak.Array:
    """As NanoEvents are, without coffea: records of collections and of MET."""
    flat = {name: values for name, values in sample.flat.items() if not name.startswith("MET_")}
    met = ak.zip({name: sample.flat[f"MET_{name}"] for name in ("pt", "phi")})
    collections = {name: ak.zip(fields) for name, fields in sample.jagged.items()}
    return ak.Array({**flat, "MET": met, **collections})


def _forms(sample: Sample) -> dict[str, Any]:
    flat = sample.awkward()
    return {
        "flat awkward": flat,
        "records": _records(sample),
        "by name": {name: flat[name] for name in flat.fields},
        "numpy and records": {**sample.flat, "Jet": ak.zip(sample.jagged["Jet"]),
                              "Muon": ak.zip(sample.jagged["Muon"])},
    }  # fmt: skip


@pytest.mark.parametrize("form", ["flat awkward", "records", "by name", "numpy and records"])
def test_arrays_score_as_their_file_does(folder: Path, scorer: ArrayScorer, form: str) -> None:
    expected = _of_file(folder / "run", folder / "s.root")
    assert 10 < (expected["score"] >= 0).sum() < EVENTS
    assert (expected["score"] == -1).any()
    _assert_same(scorer(_forms(_sample())[form], process="sig"), expected)


def test_a_selection_before_is_one_after(scorer: ArrayScorer) -> None:
    events = _records(_sample())
    every = scorer(events, process="sig")
    for chosen in (np.arange(EVENTS)[::-1], np.arange(EVENTS) % 3 == 0, np.array([5, 5, 2])):
        _assert_same(
            scorer(events[chosen], process="sig"),
            {name: ak.to_numpy(every[name])[chosen] for name in every.fields},
            atol=ROUNDING,
        )
    empty = scorer(events[:0], process="sig")
    assert (len(empty), empty.fields) == (0, every.fields)


def test_changed_objects_change_scores(scorer: ArrayScorer) -> None:
    events = _records(_sample())
    shifted = ak.with_field(events, events.Jet.pt * np.float32(1.1), ["Jet", "pt"])
    nominal, moved = scorer(events, process="sig"), scorer(shifted, process="sig")
    # As the variation of the analysis file, up to float32.
    np.testing.assert_allclose(moved.score, nominal.score_JES_up, atol=1e-5)
    assert ak.any(moved.score != nominal.score)


def test_the_ensemble_and_the_fill_value(folder: Path) -> None:
    events = _records(_sample())
    options: dict[str, Any] = {"ensemble": True, "unseen": True, "fill": -9.0}
    scores = ArrayScorer(folder / "run", **options)(events, process="sig")
    _assert_same(scores, _of_file(folder / "run", folder / "s.root", **options))
    known = scores.score >= 0
    assert ak.all(scores.score_ensemble[known] >= 0)
    assert ak.any(scores.score_ensemble[known] != scores.score[known])
    assert ak.all(scores.score[~known] == -9)
    # Training events have no mean over networks that were trained with them.
    seen = ArrayScorer(folder / "run", ensemble=True)(events, process="sig")
    assert ak.all(seen.score_ensemble == -1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {k: v for k, v in x.items() if k != "Jet_eta"},
         r"events: field 'eta' of jets .* nearest: .*"),
        (lambda x: {("PuppiMET_pt" if k == "MET_pt" else k): v for k, v in x.items()},
         r"events: 'MET_pt'.* nearest: PuppiMET_pt"),
        (lambda x: {**x, "Jet_eta": x["Jet_eta"][:-1]}, r"Jet_eta has 59 events, run has 60"),
        (lambda x: {**x, "MET_pt": np.array(["a"] * EVENTS)}, r"branch 'MET_pt' holds"),
        (lambda x: {**x, "MET_pt": ak.Array([None] + [1.0] * (EVENTS - 1))},
         r"branch 'MET_pt' holds \?float64"),
        (lambda x: {}, r"events: no branches; expected an awkward array of records"),
        (lambda x: ak.Array([1.0, 2.0]), r"events: no branches"),
    ],
)  # fmt: skip
def test_mistakes_in_the_arrays(scorer: ArrayScorer, change: Any, message: str) -> None:
    flat = _sample().awkward()
    with pytest.raises(InputFileError, match=message) as caught:
        scorer(change({name: flat[name] for name in flat.fields}), process="sig")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("events", "found"), [("s.root", "str"), (None, "NoneType"), (np.zeros((3, 6)), "ndarray")]
)
def test_what_is_no_events(scorer: ArrayScorer, events: Any, found: str) -> None:
    with pytest.raises(InputFileError, match=f"events: got {found}; expected an awkward array"):
        scorer(events, process="sig")


def test_mistakes_in_the_call(folder: Path, scorer: ArrayScorer) -> None:
    events = _records(_sample())
    with pytest.raises(InputFileError, match=r"of which process they are is not said; .* sig, bkg"):
        scorer(events)
    with pytest.raises(InputFileError, match=r"process is 'sg', .* nearest: sig"):
        scorer(events, process="sg")
    with pytest.raises(InputFileError, match=r"era is '2018', which the analysis does not know"):
        scorer(events, process="sig", era="2018")
    with pytest.raises(InputFileError, match="not a run"):
        ArrayScorer(folder)


def test_a_pickled_scorer_is_where_its_run_is(folder: Path, scorer: ArrayScorer) -> None:
    text = pickle.dumps(scorer)
    assert len(text) < 1000
    events = _records(_sample())
    again = pickle.loads(text)
    expected = scorer(events, process="sig")
    _assert_same(
        again(events, process="sig"), {n: ak.to_numpy(expected[n]) for n in expected.fields}
    )
    # In another process, after the run has changed.
    record = folder / "run" / "run.json"
    kept = record.read_text()
    record.write_text(json.dumps({**json.loads(kept), "seed": 99}))
    try:
        with pytest.raises(InputFileError, match="another run has taken its place"):
            array_scorer._loaded.__wrapped__(again._path, again._digest, *again._options)
    finally:
        record.write_text(kept)


# Inside coffea.


@pytest.fixture(scope="module")
def coffea() -> Any:
    """The parts of coffea, told not to warn of what our small files lack."""
    pytest.importorskip("coffea")
    from coffea import nanoevents, processor

    nanoevents.NanoAODSchema.warn_missing_crossrefs = False
    return nanoevents, processor


def _nano(coffea: Any, path: Path, **options: Any) -> Any:
    nanoevents, _ = coffea
    return nanoevents.NanoEventsFactory.from_root(
        {str(path): "Events"}, mode="virtual", metadata={"dataset": "sig"}, **options
    ).events()


pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:coffea"),
]


def test_nanoevents_score_as_their_file_and_only_what_is_needed_is_read(
    folder: Path, scorer: ArrayScorer, coffea: Any
) -> None:
    read: list[Any] = []
    scores = scorer(_nano(coffea, folder / "s.root", access_log=read))
    _assert_same(scores, _of_file(folder / "run", folder / "s.root"))
    assert {access.branch for access in read} == {
        "run", "luminosityBlock", "event", "MET_pt", "MET_phi",
        "nJet", "Jet_pt", "Jet_eta", "Jet_phi", "nMuon", "Muon_pt", "Muon_eta",
    }  # fmt: skip


@pytest.mark.skipif(not NANOAOD.is_dir(), reason="no shared files beside the repository")
@pytest.mark.parametrize("name", ["ttH_M125_2017", "nano_tt_v12", "ggH_M125_amcatnlo_v13"])
def test_real_nanoaod_scores_as_its_file(
    folder: Path, scorer: ArrayScorer, coffea: Any, name: str
) -> None:
    path = NANOAOD / f"{name}.root"
    expected = _of_file(folder / "run", path)
    assert (expected["score"] >= 0).any()
    _assert_same(scorer(_nano(coffea, path)), expected)


@pytest.mark.skipif(not NANOAOD.is_dir(), reason="no shared files beside the repository")
def test_another_years_naming_names_the_nearest(scorer: ArrayScorer, coffea: Any) -> None:
    with pytest.raises(InputFileError, match=r"'MET_pt'.* nearest: .*MET_pt"):
        scorer(_nano(coffea, NANOAOD / "nano_tt_v15.root"))


class _Rows:
    """A processor that gives the scores of each chunk with the events' numbers."""

    def __init__(self, scorer: ArrayScorer) -> None:
        self.scorer = scorer

    def __call__(self, events: Any) -> dict[str, Any]:
        scores = self.scorer(events)
        start = events.metadata["entrystart"]
        columns = {name: ak.to_numpy(scores[name]) for name in scores.fields}
        event = ak.to_numpy(events.event)
        return {events.metadata["dataset"]: {start: {"event": event, **columns}}}


def _run(coffea: Any, folder: Path, scorer: ArrayScorer, executor: Any) -> None:
    nanoevents, processor = coffea
    runner = processor.Runner(
        executor=executor, schema=nanoevents.NanoAODSchema, chunksize=EVENTS // 3
    )
    files = {"sig": [str(folder / "s.root")], "bkg": [str(folder / "b.root")]}
    found = runner(files, treename="Events", processor_instance=_Rows(scorer))
    expected = _of_file(folder / "run", folder / "s.root", entries=EVENTS // 3)
    chunks = [found["sig"][start] for start in sorted(found["sig"])]
    assert len(chunks) == 3
    np.testing.assert_array_equal(
        np.concatenate([chunk["event"] for chunk in chunks]), _sample().flat["event"]
    )
    for name, values in expected.items():
        joined = np.concatenate([chunk[name] for chunk in chunks])
        np.testing.assert_array_equal(joined, values, err_msg=name)


def test_the_iterative_executor(folder: Path, scorer: ArrayScorer, coffea: Any) -> None:
    _run(coffea, folder, scorer, coffea[1].IterativeExecutor(status=False))


@pytest.mark.slow
def test_the_futures_executor(folder: Path, scorer: ArrayScorer, coffea: Any) -> None:
    _run(coffea, folder, scorer, coffea[1].FuturesExecutor(status=False, workers=1))


@pytest.mark.slow
def test_the_dask_executor(folder: Path, scorer: ArrayScorer, coffea: Any) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        _run(coffea, folder, scorer, coffea[1].DaskExecutor(client=client, status=False))


@pytest.mark.parametrize("output_format", ["copy", "friend"])
def test_coffea_reads_back_what_predict_has_written(
    folder: Path,
    scorer: ArrayScorer,
    coffea: Any,
    tmp_path: Path,
    output_format: Literal["copy", "friend"],
) -> None:
    (written,) = predict(
        folder / "run", [str(folder / "s.root")], tmp_path / "scores", output_format=output_format
    )
    scores = scorer(_nano(coffea, folder / "s.root"))
    tree = "Events" if output_format == "copy" else "scores"
    nanoevents, _ = coffea
    for schema in (nanoevents.BaseSchema, nanoevents.NanoAODSchema):
        events = nanoevents.NanoEventsFactory.from_root(
            {str(written.path): tree}, mode="virtual", schemaclass=schema
        ).events()
        np.testing.assert_array_equal(ak.to_numpy(events.score), ak.to_numpy(scores.score))
        assert ak.any(events.score >= 0)
    flat = nanoevents.NanoEventsFactory.from_root(
        {str(written.path): tree}, mode="virtual", schemaclass=nanoevents.BaseSchema
    ).events()
    for name in scores.fields:
        np.testing.assert_array_equal(
            ak.to_numpy(flat[name]), ak.to_numpy(scores[name]), err_msg=name
        )


@pytest.mark.slow
def test_the_example_runs(folder: Path) -> None:
    pytest.importorskip("coffea")
    words = [str(folder / "run"), f"sig={folder / 's.root'}", f"bkg={folder / 'b.root'}"]
    result = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / "coffea_processor.py", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    expected = _of_file(folder / "run", folder / "s.root")
    weight = _sample().flat["genWeight"][expected["score"] >= 0]
    assert f"sig: {EVENTS} events, sum of weights {weight.sum():.6g} ±" in result.stdout
