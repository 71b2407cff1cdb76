"""What `aot evaluate` says of limit, calibration, overtraining and stability of a run."""

from __future__ import annotations

import json
import sys
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pyhf
import pytest
import yaml

from helpers.runs import small_analysis
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.cli.tables import print_metrics
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.evaluation import kolmogorov_smirnov
from particle_transformer.events import fold_of, split_roles
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.inference.out_of_fold import score_run
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.inference.varied import score_variations
from particle_transformer.training.run import train

# pyhf 0.7 validates with a part of jsonschema that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")

VARIATIONS = {
    "JES": {
        "up": {"jets.pt": "pt * 1.1"},
        "down": {"jets.pt": "pt * 0.9"},
        "propagate_to_met": True,
    },
    "pileup": {"up": {"weights.pileup": "1 + 0.2 * sign(MET_phi)"}},
    "tune": {"up": {"processes.ttbar.files": "tune.parquet"}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("statistics")
    file = small_analysis(folder)
    content = yaml.safe_load(file.read_text())
    tune = ak.from_parquet(folder / "ttbar.parquet")
    tune["event"] = tune.event + 50_000_000
    tune["MET_pt"] = tune.MET_pt * 1.1
    ak.to_parquet(tune, folder / "tune.parquet")
    del content["event"]["select"]
    content["regions"] = {
        "signal": {"select": "met.pt > 110 and count(jets) > 1", "role": "signal"},
        "few_jets": {"select": "met.pt > 110 and count(jets) <= 1", "role": "control"},
    }
    content["processes"]["signal"]["cross_section"] = 0.01
    content["weights"]["pileup"] = "1"
    content["variations"] = VARIATIONS
    content["evaluation"]["limit"] = {"maximum_bins": 2, "normalisation": {"wjets": 0.2}}
    file.write_text(yaml.safe_dump(content))
    return RunFolder(train(load_analysis(file), folder / "run"))


@pytest.fixture(scope="module")
def metrics(run: RunFolder) -> dict[str, Any]:
    return evaluate_run(run)[0]


def fold_scores(run: RunFolder, events: Any, fold: int) -> np.ndarray[Any, Any]:
    model, _ = load_artefact(run.network(fold))
    return signal_probability(score_events(model, events))


def test_pyhf_gives_the_limit_of_the_workspace(run: RunFolder, metrics: dict[str, Any]) -> None:
    spec = json.loads((run.evaluation / "workspace.json").read_text())
    pyhf.set_backend("numpy")
    settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    workspace = pyhf.Workspace(spec)  # validates it
    model = workspace.model(modifier_settings=settings)
    assert {"JES", "pileup", "tune", "unc_ttbar", "unc_wjets"} <= set(model.config.par_names)
    data = workspace.data(model)
    limit = metrics["limit"]
    # CLs at the limits, by pyhf's own fits: 5 % each at its own band.
    for place, strength in enumerate(limit["band"]):
        _, expected = pyhf.infer.hypotest(
            strength, data, model, test_stat="qtilde", return_expected_set=True
        )
        assert float(expected[place]) == pytest.approx(0.05, abs=5e-4)
    assert limit["median"] == limit["band"][2]


def test_workspace_holds_the_weights_of_the_scores(run: RunFolder, metrics: dict[str, Any]) -> None:
    spec = json.loads((run.evaluation / "workspace.json").read_text())
    scores = pq.read_table(run.evaluation / "scores.parquet").to_pydict()
    events = Store(run.store()).events()
    score, fold, weight = (np.array(scores[name]) for name in ("score", "fold", "weight"))
    process = np.array(scores["process"])
    for channel in spec["channels"]:
        block = metrics["limit"]["regions"][channel["name"]]
        assert block["role"] == {"signal": "signal", "few_jets": "control"}[channel["name"]]
        for sample in channel["samples"]:
            expected = np.zeros(len(sample["data"]))
            for number in (0, 1):
                own = events.regions[channel["name"]] & (process == sample["name"])
                own &= fold == number
                edges = [-np.inf, *block["edges"][str(number)], np.inf]
                expected += np.histogram(score[own], edges, weights=weight[own])[0]
            assert sample["data"] == pytest.approx(np.maximum(expected, 0).tolist())


def test_varied_events_are_scored_by_the_network_of_their_own_fold(run: RunFolder) -> None:
    scored = score_run(run)
    found = score_variations(scored)
    assert {name: list(sides) for name, sides in found.items()} == {
        "JES": ["up", "down"], "pileup": ["up"], "tune": ["up"],
    }  # fmt: skip
    store = scored.store
    files, entries = store.origin()
    nominal = list(zip(files.tolist(), entries.tolist(), strict=True))
    for name, side in (("JES", "down"), ("pileup", "up"), ("tune", "up")):
        varied = found[name][side]
        events = store.events(f"{name}.{side}")
        fold = fold_of(events.identity, 2)
        for number in (0, 1):
            own = np.flatnonzero(fold == number)
            expected = fold_scores(run, events.take(own), number)
            np.testing.assert_allclose(varied.events.score[own], expected, atol=1e-6)
        np.testing.assert_array_equal(varied.events.fold, fold)
        np.testing.assert_array_equal(varied.events.weight, events.weight)
        places = zip(*(column.tolist() for column in store.origin(f"{name}.{side}")), strict=True)
        known = {place: row for row, place in enumerate(nominal)}
        assert varied.row.tolist() == [known.get(place, -1) for place in places]
        assert (varied.row < 0).any() == (name != "pileup")
    same = found["pileup"]["up"]
    np.testing.assert_array_equal(same.events.score, scored.test.score[same.row])


def test_stability_is_that_of_the_two_selections(run: RunFolder, metrics: dict[str, Any]) -> None:
    scored = score_run(run)
    for name, side in (("JES", "up"), ("pileup", "up"), ("tune", "up")):
        varied = score_variations(scored)[name][side].events
        for process in ("signal", "ttbar"):
            number = scored.test.processes.index(process)
            means, totals = [], []
            for events in (scored.test, varied):
                own = events.regions["signal"] & (events.process == number)
                totals.append(events.weight[own].sum())
                means.append(np.average(events.score[own], weights=events.weight[own]))
            block = metrics["stability"][name][side][process]
            assert block["mean_shift"]["value"] == pytest.approx(means[1] - means[0], abs=1e-6)
            change = totals[1] / totals[0] - 1
            assert block["yield_change"]["value"] == pytest.approx(change, abs=1e-9)
            assert block["efficiency_change"].keys() == {"0.3", "0.5", "0.7"}
    still = metrics["stability"]["tune"]["up"]["wjets"]
    assert (still["mean_shift"]["value"], still["mean_shift"]["error"]) == (0, 0)


def test_overtraining_compares_events_that_each_network_was_trained_with(
    run: RunFolder, metrics: dict[str, Any]
) -> None:
    events = Store(run.store()).events()
    inside = events.regions["signal"]
    names = Store(run.store()).manifest.processes
    signal = events.process == names.index("signal")
    block = metrics["overtraining"]
    for fold in (0, 1):
        training, _, test = split_roles(events.identity, fold, 2)
        model = fold_scores(run, events, fold)
        for name, own in (("signal", signal), ("background", ~signal)):
            first, second = (rows[(inside & own)[rows]] for rows in (training, test))
            expected = kolmogorov_smirnov(
                model[first], events.weight[first], model[second], events.weight[second]
            )
            found = block["classes"][name][str(fold)]
            assert found["distance"] == pytest.approx(expected.distance, abs=1e-6)
            assert found["effective_events"] == pytest.approx(list(expected.effective_events))
    p_values = [fold["p_value"] for part in block["classes"].values() for fold in part.values()]
    assert block["comparisons"] == 4
    assert block["p_value"] == pytest.approx(min(1, 4 * min(p_values)))


def test_training_events_are_in_no_other_figure(run: RunFolder) -> None:
    scored = score_run(run)
    test = {
        (*row, fold)
        for row, fold in zip(scored.events.identity.tolist(), scored.test.fold, strict=False)
    }
    assert len(test) == len(scored.events)
    trained = scored.training
    # Of the network of fold f the events of the next fold, so that each is there once at most.
    assert len(trained) < len(scored.test)
    for fold in (0, 1):
        own = trained.select(trained.fold == fold)
        training, _, _ = split_roles(scored.events.identity, fold, 2)
        inside = scored.events.regions["signal"][training]
        np.testing.assert_array_equal(own.weight, scored.events.weight[training[inside]])


def test_equal_runs_give_equal_bytes(run: RunFolder, metrics: dict[str, Any]) -> None:
    names = ("metrics.json", "workspace.json")
    first = [(run.evaluation / name).read_bytes() for name in names]
    again, _ = evaluate_run(run)
    assert again == metrics
    assert [(run.evaluation / name).read_bytes() for name in names] == first


def test_without_pyhf_all_else_is_there(
    run: RunFolder, metrics: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "pyhf", None)
    found, _ = evaluate_run(run)
    assert found["limit"]["median"] is None
    assert "pip install 'analysis-object-transformer[report]'" in found["limit"]["reason"]
    assert not (run.evaluation / "workspace.json").exists()
    assert {**found, "limit": None} == {**metrics, "limit": None}
    print_metrics(found)
    shown = capsys.readouterr().out
    assert "strength: undefined: pyhf is not installed" in " ".join(shown.split())
    print_metrics(metrics)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"limit on the signal strength: {metrics['limit']['median']:.3g}"[:34] in shown
