"""Scores of every entry, against the networks asked one event at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import torch

from helpers.files import Sample, make_analysis, make_sample, write_root
from helpers.fold_hash import reference_hash
from helpers.untrained import untrained_run
from particle_transformer.artefact import load_artefact
from particle_transformer.data.files import InputFile, input_file
from particle_transformer.data.scan import open_input
from particle_transformer.errors import InputFileError, SampleError
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.inference.entries import RunScorer
from particle_transformer.inference.out_of_fold import score_run
from particle_transformer.inference.varied import score_variations

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.inference.entry_scores import EntryScores

EVENTS, FOLDS, MAX = 60, 3, 2

NETWORK: dict[str, Any] = {
    "embed_dims": 8, "linear_dims1": 8, "linear_dims2": 8, "mlp_hidden_1": 8, "mlp_hidden_2": 8,
    "num_heads": 2, "num_att_blocks": 1, "num_class_blocks": 1,
}  # fmt: skip

CHANGES: dict[str, Any] = {
    "processes": {
        "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
        "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
        "met": {"class": "data", "files": ["d.root"]},
    },
    "objects": {
        "jets": {
            "collection": "Jet", "select": "pt > 30 and abs(eta) < 2.5", "sort_by": "pt",
            "max": MAX, "features": ["log(pt)", "eta"],
        }
    },
    "event": {
        "define": {"met.pt": "MET_pt", "ht": "sum(jets.pt)"},
        "features": ["met.pt", "ht", "count(jets)"],
    },
    "regions": {
        "signal": {"select": "met.pt > 50 and ht > 30", "role": "signal", "blind": True},
        "control": {"select": "met.pt > 20 and met.pt <= 50", "role": "control"},
    },
    "weights": {"generator": "genWeight", "pileup": "puWeight"},
    "variations": {
        "JES": {"up": {"jets.pt": "pt * 1.3"}, "down": {"jets.pt": "pt * 0.8"}},
        "pileup": {"up": {"weights.pileup": "puWeight * 1.1"}},
    },
    "training": {"folds": FOLDS},
    "model": NETWORK,
}  # fmt: skip


def write_samples(base: Path) -> dict[str, Sample]:
    samples = {
        name: make_sample(number, EVENTS, first_event=1000 * number)
        for number, name in enumerate(("s", "b", "d"))
    }
    for name, sample in samples.items():
        write_root(base / f"{name}.root", sample)
    return samples


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("entries")


@pytest.fixture(scope="module")
def samples(base: Path) -> dict[str, Sample]:
    return write_samples(base)


@pytest.fixture(scope="module")
def run(base: Path, samples: dict[str, Sample]) -> RunFolder:
    return untrained_run(make_analysis(base, **CHANGES), base / "run")


def file_of(base: Path, name: str) -> InputFile:
    process = {"s": "sig", "b": "bkg", "d": "met"}[name]
    return input_file(str(base / f"{name}.root"), process, "all", "Events")


def scores_of(
    scorer: RunScorer, file: InputFile, start: int = 0, stop: int = EVENTS
) -> EntryScores:
    with open_input(scorer.analysis, file) as reader:
        return scorer.open(reader, file).read(start, stop)


class Truth:
    """Features and regions by hand, from the columns that were written."""

    def __init__(self, sample: Sample, scale: float = 1.0) -> None:
        self.met = sample.flat["MET_pt"]
        self.jets = []
        self.cut = 0
        for pt, eta in zip(
            *(ak.to_list(sample.jagged["Jet"][f]) for f in ("pt", "eta")), strict=True
        ):
            kept = [(p * scale, e) for p, e in zip(pt, eta, strict=True)]
            self.jets.append(
                sorted((j for j in kept if j[0] > 30 and abs(j[1]) < 2.5), reverse=True)
            )
        self.ht = np.array([sum(pt for pt, _ in jets) for jets in self.jets])
        self.signal = (self.met > 50) & (self.ht > 30)
        self.control = (self.met > 20) & (self.met <= 50)
        self.selected = self.signal | self.control

    def probability(self, run: RunFolder, entry: int, fold: int) -> float:
        model, _ = load_artefact(run.network(fold))
        jets = self.jets[entry]
        objects = torch.tensor([[[np.log(pt), eta] for pt, eta in jets[:MAX]]], dtype=torch.float32)
        event = torch.tensor([[self.met[entry], self.ht[entry], len(jets)]], dtype=torch.float32)
        with torch.no_grad():
            return float(
                torch.sigmoid(model({"jets": objects.reshape(1, -1, 2)}, event)[0, 0].double())
            )


def fold_of_event(sample: Sample, entry: int) -> int:
    return reference_hash([int(sample.flat["event"][entry])], 0) % FOLDS


@pytest.mark.parametrize("name", ["s", "b"])
def test_every_entry_by_the_network_of_its_own_fold(base, samples, run, name):
    scores = scores_of(RunScorer(run), file_of(base, name))
    truth = Truth(samples[name])
    np.testing.assert_array_equal(scores.nominal["region_signal"], truth.signal)
    np.testing.assert_array_equal(scores.nominal["region_control"], truth.control)
    assert scores.selected == truth.selected.sum() < EVENTS
    for entry in range(EVENTS):
        if not truth.selected[entry]:
            assert scores.nominal["score"][entry] == -1
            assert scores.nominal["fold"][entry] == -1
            continue
        fold = fold_of_event(samples[name], entry)
        assert scores.nominal["fold"][entry] == fold
        expected = truth.probability(run, entry, fold)
        assert scores.nominal["score"][entry] == pytest.approx(expected, abs=1e-5)
    beyond = sum(
        max(len(jets) - MAX, 0) for jets, ok in zip(truth.jets, truth.selected, strict=True) if ok
    )
    assert scores.truncated == {"jets": beyond}
    assert beyond > 3


@pytest.mark.parametrize(("side", "scale"), [("JES.up", 1.3), ("JES.down", 0.8)])
def test_variations(base, samples, run, side, scale):
    scores = scores_of(RunScorer(run), file_of(base, "s"))
    assert set(scores.varied) == {"JES.up", "JES.down"}  # that of weights scores as the nominal
    varied, truth = scores.varied[side], Truth(samples["s"], scale)
    np.testing.assert_array_equal(varied["region_signal"], truth.signal)
    moved = 0
    for entry in range(EVENTS):
        expected = -1.0
        if truth.selected[entry]:
            fold = fold_of_event(samples["s"], entry)
            expected = truth.probability(run, entry, fold)
        assert varied["score"][entry] == pytest.approx(expected, abs=1e-5)
        moved += varied["score"][entry] != scores.nominal["score"][entry]
    assert moved > 10
    column = f"score_{side.replace('.', '_')}"
    np.testing.assert_array_equal(scores.columns[column], varied["score"])


def test_columns_are_those_announced_in_their_order(base, samples, run):
    scorer = RunScorer(run, unblind=True)
    for name in ("s", "d"):
        file = file_of(base, name)
        assert list(scores_of(scorer, file).columns) == scorer.columns(file)
    assert scorer.columns(file) == [
        "score",
        "score_ensemble",
        "fold",
        "region_signal",
        "region_control",
    ]


def test_the_ensemble_is_refused_for_what_may_have_been_trained_with(base, samples, run):
    scores, truth = scores_of(RunScorer(run), file_of(base, "b")), Truth(samples["b"])
    ensemble = scores.nominal["score_ensemble"]
    assert (ensemble[truth.signal] == -1).all()
    assert scores.refused == truth.signal.sum()
    for entry in np.flatnonzero(truth.control).tolist():
        each = [truth.probability(run, entry, fold) for fold in range(FOLDS)]
        assert ensemble[entry] == pytest.approx(np.mean(each), abs=1e-5)
    # The nominal event is in the training, also where the varied one is in no signal region.
    left = truth.signal & ~scores.varied["JES.down"]["region_signal"]
    assert (scores.varied["JES.down"]["score_ensemble"][truth.signal] == -1).all()
    assert left.any()


def test_the_ensemble_of_declared_events_and_of_none(base, samples, run):
    truth = Truth(samples["s"])
    declared = scores_of(RunScorer(run, unseen=True), file_of(base, "s"))
    assert declared.refused == 0
    entry = int(np.flatnonzero(truth.signal)[0])
    each = [truth.probability(run, entry, fold) for fold in range(FOLDS)]
    assert declared.nominal["score_ensemble"][entry] == pytest.approx(np.mean(each), abs=1e-5)
    none = scores_of(RunScorer(run, ensemble=False), file_of(base, "s"))
    assert not [name for name in none.columns if "ensemble" in name]
    np.testing.assert_allclose(none.nominal["score"], declared.nominal["score"], atol=1e-6)


def test_blind_data_has_no_score_until_unblinded(base, samples, run):
    truth = Truth(samples["d"])
    blind = scores_of(RunScorer(run), file_of(base, "d"))
    assert not blind.nominal["region_signal"].any()
    np.testing.assert_array_equal(blind.nominal["score"] == -1, ~truth.control)
    assert blind.varied == {}
    seen = scores_of(RunScorer(run, unblind=True), file_of(base, "d"))
    np.testing.assert_array_equal(seen.nominal["score"] == -1, ~truth.selected)
    # Data is no training event: its ensemble mean is there in the signal region, too.
    np.testing.assert_array_equal(seen.nominal["score_ensemble"] == -1, ~truth.selected)
    assert seen.refused == 0


def test_chunks_change_nothing_and_a_chunk_may_be_empty(base, samples, run):
    scorer = RunScorer(run, fill=-7)
    whole = scores_of(scorer, file_of(base, "s"))
    parts = [scores_of(scorer, file_of(base, "s"), *bounds) for bounds in ((0, 7), (7, 7), (7, 60))]
    for name, column in whole.columns.items():
        joined = np.concatenate([part.columns[name] for part in parts])
        np.testing.assert_allclose(joined, column, atol=1e-6, err_msg=name)
    assert whole.nominal["score"].min() == -7
    np.testing.assert_array_equal(whole.identity["event"], samples["s"].flat["event"])


def test_the_same_as_evaluate_row_by_row(base, samples, run):
    scored = score_run(run)
    files, entries = scored.store.origin()
    names = [record.path for record in scored.store.manifest.inputs]
    varied = score_variations(scored)["JES"]["up"].events
    places = scored.store.origin("JES.up")
    scorer, checked = RunScorer(run), 0
    for name in ("s", "b"):
        found = scores_of(scorer, file_of(base, name))
        own = files[scored.index] == names.index(str(base / f"{name}.root"))
        np.testing.assert_allclose(
            found.nominal["score"][entries[scored.index][own]], scored.test.score[own], atol=1e-6
        )
        expected = np.nan_to_num(scored.ensemble[own], nan=-1)
        np.testing.assert_allclose(
            found.nominal["score_ensemble"][entries[scored.index][own]], expected, atol=1e-6
        )
        assert (found.nominal["score"] != -1).sum() == own.sum()
        # Varied scores come in the store's order as well; data is behind simulation in it.
        chosen = (places[0] == names.index(str(base / f"{name}.root")))[: len(varied.score)]
        np.testing.assert_allclose(
            found.varied["JES.up"]["score"][places[1][: len(varied.score)][chosen]],
            varied.score[chosen], atol=1e-6,
        )  # fmt: skip
        checked += own.sum()
    assert checked == len(scored.events)


def test_scores_need_no_weights(base, samples, run, tmp_path):
    sample = samples["s"]
    flat = {k: v for k, v in sample.flat.items() if k not in ("genWeight", "puWeight")}
    write_root(tmp_path / "s.root", Sample(flat, sample.jagged))
    file = replace(file_of(base, "s"), path=str(tmp_path / "s.root"))
    there = scores_of(RunScorer(run), file).columns
    for name, column in scores_of(RunScorer(run), file_of(base, "s")).columns.items():
        np.testing.assert_array_equal(there[name], column)


def test_a_feature_that_is_not_finite_gets_no_score_and_is_counted(base, samples, run, tmp_path):
    met = samples["s"].flat["MET_pt"].copy()
    entry = int(np.flatnonzero(Truth(samples["s"]).signal)[0])
    met[entry] = np.inf
    write_root(tmp_path / "s.root", samples["s"].replaced(MET_pt=met))
    scores = scores_of(RunScorer(run), replace(file_of(base, "s"), path=str(tmp_path / "s.root")))
    assert scores.nominal["score"][entry] == -1
    assert scores.non_finite["event: met.pt"] == 1


def test_a_missing_branch_names_the_nearest(base, samples, run, tmp_path):
    sample = samples["s"]
    flat = {("PuppiMET_pt" if k == "MET_pt" else k): v for k, v in sample.flat.items()}
    write_root(tmp_path / "s.root", Sample(flat, sample.jagged))
    file = replace(file_of(base, "s"), path=str(tmp_path / "s.root"))
    with pytest.raises(
        InputFileError, match=r"s.root: 'MET_pt' is neither .* nearest: PuppiMET_pt"
    ):
        scores_of(RunScorer(run), file)


def test_an_altered_analysis_file_is_refused(base, samples, tmp_path):
    altered = untrained_run(make_analysis(base, **CHANGES), tmp_path / "run")
    text = altered.analysis.read_text()
    assert "log(pt)" in text
    altered.analysis.write_text(text.replace("log(pt)", "pt"))
    with pytest.raises(InputFileError, match="features are not those that the networks"):
        RunScorer(altered)


def test_three_classes_and_a_regression(base, samples, tmp_path):
    processes = {**CHANGES["processes"], "bkg": {**CHANGES["processes"]["bkg"], "class": "tt-bar"}}
    processes["other"] = {"class": "other", "cross_section": 1.0, "files": ["o.root"]}
    write_root(base / "o.root", make_sample(9, EVENTS, first_event=90_000))
    event = {**CHANGES["event"], "spectators": ["MET_phi"]}
    training = {"folds": FOLDS, "regression": {"targets": ["MET_phi"], "strength": 1.0}}
    changes = {**CHANGES, "processes": processes, "event": event, "training": training}
    run = untrained_run(make_analysis(base, **changes), tmp_path / "run")
    file = file_of(base, "s")
    found = scores_of(RunScorer(run), file).nominal
    known = found["score"] != -1
    classes = ["probability_signal", "probability_tt_bar", "probability_other"]
    assert [name for name in found if name.startswith("probability")] == classes
    total = sum(found[name][known] for name in classes)
    np.testing.assert_allclose(total, 1, atol=1e-9)
    np.testing.assert_allclose(found["score"][known], found["probability_signal"][known], rtol=1e-9)
    scored = score_run(run)
    own = scored.events.process == 0
    np.testing.assert_allclose(
        found["regression_MET_phi"][known], scored.regression[own][:, 0], atol=1e-5
    )


def test_two_scores(base, samples, tmp_path):
    training = {"folds": FOLDS, "double_disco": {"strength": 1.0}}
    run = untrained_run(make_analysis(base, **{**CHANGES, "training": training}), tmp_path / "run")
    found = scores_of(RunScorer(run), file_of(base, "s")).nominal
    known = found["score"] != -1
    logit = sum(
        np.log(found[name][known] / (1 - found[name][known])) for name in ("score_1", "score_2")
    )
    np.testing.assert_allclose(
        found["score"][known], 1 / (1 + np.exp(-logit)), rtol=1e-6, atol=1e-9
    )


def test_hypotheses(base, samples, tmp_path):
    signal = {**CHANGES["processes"]["sig"], "parameters": {"mass": 500}}
    other = {**signal, "parameters": {"mass": 750.5}, "files": ["o.root"]}
    write_root(base / "o.root", make_sample(9, EVENTS, first_event=90_000))
    processes = {**CHANGES["processes"], "sig": signal, "sig2": other}
    training = {"folds": FOLDS, "condition": ["mass"]}
    changes = {**CHANGES, "processes": processes, "training": training}
    conditioning = Conditioning(("mass",), ((500.0,), (750.5,)), (0.5, 0.5), (0, -1, -1, 1))
    run = untrained_run(make_analysis(base, **changes), tmp_path / "run", conditioning=conditioning)
    file = file_of(base, "b")
    found = scores_of(RunScorer(run), file).nominal
    assert list(found)[:4] == [
        "score_mass_500", "score_ensemble_mass_500", "score_mass_750p5", "score_ensemble_mass_750p5",
    ]  # fmt: skip
    scored = score_run(run)
    own = scored.events.process == 1
    for point, name in enumerate(("score_mass_500", "score_mass_750p5")):
        known = found[name] != -1
        np.testing.assert_allclose(
            found[name][known], scored.hypotheses[point].test[own], atol=1e-6
        )
    one = scores_of(RunScorer(run, at=[{"mass": 500.0}]), file).nominal
    np.testing.assert_array_equal(one["score_mass_500"], found["score_mass_500"])
    assert "score_mass_750p5" not in one
    with pytest.raises(SampleError, match=r"got 'mas', expected a parameter .*nearest: mass"):
        RunScorer(run, at=[{"mas": 500.0}])


def test_a_hypothesis_for_networks_without_parameters(run):
    with pytest.raises(SampleError, match="got mass, but the networks have no parameters"):
        RunScorer(run, at=[{"mass": 900.0}])


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(base, samples, tmp_path):
    """A worker of a cluster has one, this process as many as there are cores."""
    model = {**NETWORK, "embed_dims": 32, "linear_dims1": 32, "linear_dims2": 32}
    run = untrained_run(make_analysis(base, **{**CHANGES, "model": model}), tmp_path / "run")
    write_root(tmp_path / "s.root", make_sample(0, 800))
    file = replace(file_of(base, "s"), path=str(tmp_path / "s.root"))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(scores_of(RunScorer(run), file, 0, 800).columns)
    finally:
        torch.set_num_threads(before)
    for name, column in found[0].items():
        assert all(column.tobytes() == other[name].tobytes() for other in found[1:]), name
