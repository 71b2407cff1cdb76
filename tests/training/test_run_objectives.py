"""Whole runs whose networks do more than classify: from the analysis file to the figures."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from helpers.runs import small_analysis
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.evaluation import (
    auc,
    bias_and_resolution,
    distance_correlation_squared,
)
from particle_transformer.events import fold_of
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.events.packed import PackedBatch
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.inference.score import score_at, score_events, signal_probability
from particle_transformer.report.numbers import figure_text
from particle_transformer.report.run import evaluate
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer import AnalysisObjectTransformer
    from particle_transformer.events import Events


def _run(folder: Path, **training: Any) -> tuple[RunFolder, dict[str, Any], str]:
    """A run with two networks of each of two folds, two signals and a control region."""
    file = small_analysis(folder)
    content = yaml.safe_load(file.read_text())
    events = ak.from_parquet(folder / "signal.parquet")
    events["event"] = events.event + 50_000_000
    ak.to_parquet(events, folder / "heavy.parquet")
    processes = content["processes"]
    processes["signal"]["parameters"] = {"mass": 500}
    processes["heavy"] = {
        **processes["signal"], "files": ["heavy.parquet"], "parameters": {"mass": 1000}
    }  # fmt: skip
    event = content["event"]
    event["spectators"] = ["met.pt", "log(sum(jets.pt) + 1)"]
    content["regions"] = {
        "signal": {"select": event.pop("select"), "role": "signal"},
        "soft": {"select": "met.pt <= 110", "role": "control"},
    }
    content["training"] |= {"ensemble": 2, "batch_size": 256, **training}
    content["evaluation"]["bootstrap"] = 5
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    run = RunFolder(train(load_analysis(file), folder / "run"))
    metrics, page = evaluate(run.path)
    return run, metrics, html.unescape(page.read_text("utf-8"))


def _scores(run: RunFolder) -> dict[str, np.ndarray]:
    table = pq.read_table(run.evaluation / "scores.parquet")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any], str]:
    return _run(tmp_path_factory.mktemp("conditioned"), condition="mass")


def test_each_hypothesis_has_its_scores(
    conditioned: tuple[RunFolder, dict[str, Any], str],
) -> None:
    run, _, _ = conditioned
    events, scores = Store(run.store()).events(), _scores(run)
    fold = fold_of(events.identity, 2)
    for mass in (500, 1000):
        column = scores[f"score_mass_{mass}"]
        for number in range(2):
            own = np.flatnonzero(fold == number)
            members = [
                score_at(*load_artefact(run.network(number, n)), events.take(own), {"mass": mass})
                for n in range(2)
            ]
            np.testing.assert_allclose(column[own], np.mean(members, axis=0), rtol=1e-5)
    # The score is that of signal at its own mass, and of background at one that belongs to it.
    _, metadata = load_artefact(run.network(0))
    conditioning = Conditioning.from_json(metadata["conditioning"])
    own = np.flatnonzero(fold == 0)
    draws = conditioning.fixed_draws(events.identity)
    drawn = np.where(draws < conditioning.probabilities[0], 500, 1000)
    told = np.where(scores["process"] == "signal", 500, drawn)
    told[scores["process"] == "heavy"] = 1000
    expected = np.where(told == 500, scores["score_mass_500"], scores["score_mass_1000"])
    np.testing.assert_allclose(scores["score"][own], expected[own], rtol=1e-6)
    background = own[~np.isin(scores["process"][own], ["signal", "heavy"])]
    assert set(told[background]) == {500, 1000}


def test_each_hypothesis_has_its_figures(
    conditioned: tuple[RunFolder, dict[str, Any], str],
) -> None:
    run, metrics, page = conditioned
    events, scores = Store(run.store()).events(), _scores(run)
    assert [each["parameters"] for each in metrics["hypotheses"]] == [{"mass": 500}, {"mass": 1000}]
    for each, process, other in zip(
        metrics["hypotheses"], ("signal", "heavy"), ("heavy", "signal"), strict=True
    ):
        assert each["processes"] == [process]
        chosen = events.regions["signal"] & (scores["process"] != other)
        score = scores[f"score_mass_{each['parameters']['mass']:g}"][chosen]
        figure = auc(score, events.weight[chosen], scores["process"][chosen] == process)
        assert each["auc"]["value"] == pytest.approx(figure.value, abs=1e-12)
        assert list(each["rejection"]) == list(metrics["rejection"])
        assert each["significance"]["value"] is not None
        # The report's table and plot.
        assert f"mass = {each['parameters']['mass']:g}" in page
        assert figure_text(each["auc"]) in page
    assert 'alt="AUC by hypothesis"' in page
    assert (run.report / "plots" / "hypotheses.pdf").exists()


def test_the_artefact_knows_its_parameters(
    conditioned: tuple[RunFolder, dict[str, Any], str],
) -> None:
    run, _, _ = conditioned
    for number in range(2):
        model, metadata = load_artefact(run.network(1, number))
        assert metadata["event"] == ["log(met.pt)", "count(jets)", "mass"]
        assert model.arguments["input_dim_event"] == 3
        assert metadata["regression"] == []
        card = (run.network(1, number) / "README.md").read_text(encoding="utf-8")
        assert "- column 2: `mass`" in card
        assert "- mass = 500\n- mass = 1000" in card
        assert "arXiv:1601.07913" in card


def test_the_ensemble_scores_the_control_region_alone(
    conditioned: tuple[RunFolder, dict[str, Any], str],
) -> None:
    run, _, _ = conditioned
    events, scores = Store(run.store()).events(), _scores(run)
    ensemble = scores["score_ensemble"].astype(float)
    np.testing.assert_array_equal(np.isnan(ensemble), events.regions["signal"])
    control = np.flatnonzero(events.regions["soft"])
    taken = events.take(control)
    members = []
    for fold in range(2):
        for number in range(2):
            model, metadata = load_artefact(run.network(fold, number))
            conditioning = Conditioning.from_json(metadata["conditioning"])
            seen = conditioning.apply(taken, conditioning.fixed_draws(taken.identity))
            members.append(signal_probability(score_events(model, seen)))
    np.testing.assert_allclose(ensemble[control], np.mean(members, axis=0), rtol=1e-5)


def test_regressed_quantities_from_file_to_figure(tmp_path: Path) -> None:
    targets = ["log(sum(jets.pt) + 1)", "met.pt"]
    run, metrics, page = _run(tmp_path, regression={"targets": targets, "strength": 1.0}, epochs=8)
    events, scores = Store(run.store()).events(), _scores(run)
    assert not {"hypotheses", "abcd"} & metrics.keys()
    fold = fold_of(events.identity, 2)
    columns = {
        "log(sum(jets.pt) + 1)": "regression_log_sum_jets_pt_1",
        "met.pt": "regression_met_pt",
    }
    for place, (target, column) in enumerate(columns.items()):
        # Spectators are in the order of event.spectators, targets in that of the training.
        true = events.spectators[:, 1 - place].astype(np.float64)
        for number in range(2):
            own = events.take(np.flatnonzero(fold == number))
            members = []
            for n in range(2):
                model, metadata = load_artefact(run.network(number, n))
                assert metadata["regression"] == targets
                members.append(_regressed(model, own)[:, place])
            np.testing.assert_allclose(
                scores[column][fold == number], np.mean(members, axis=0), rtol=1e-4
            )
        for name in ("signal", "background"):
            chosen = events.regions["signal"] & (
                np.isin(scores["process"], ["signal", "heavy"]) == (name == "signal")
            )
            bias, resolution = bias_and_resolution(
                (scores[column] - true)[chosen], events.weight[chosen]
            )
            found = metrics["regression"][target][name]
            assert found["events"] == chosen.sum()
            assert found["bias"]["value"] == pytest.approx(bias.value)
            assert found["resolution"]["value"] == pytest.approx(resolution.value)
            assert found["bias"]["effective_events"] > 100
            assert figure_text(found["resolution"]) in page
            # Better than the mean of the class would be.
            _, spread = bias_and_resolution(true[chosen], events.weight[chosen])
            assert resolution.value is not None
            assert spread.value is not None
            assert resolution.value < spread.value
    card = (run.network(0) / "README.md").read_text(encoding="utf-8")
    assert "- column 0: `log(sum(jets.pt) + 1)`\n- column 1: `met.pt`" in card


def _regressed(model: AnalysisObjectTransformer, events: Events) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model.predict_packed(PackedBatch.from_events(events)).regression)


@pytest.mark.slow
def test_two_scores_from_file_to_figure(tmp_path: Path) -> None:
    run, metrics, page = _run(tmp_path, double_disco={"strength": 1.0}, condition="mass")
    events, scores = Store(run.store()).events(), _scores(run)
    logits = np.stack([scores["logit_0"], scores["logit_1"]], 1)
    for number in (1, 2):
        np.testing.assert_allclose(
            scores[f"score_{number}"], 1 / (1 + np.exp(-logits[:, number - 1])), rtol=1e-9
        )
    np.testing.assert_allclose(scores["score"], 1 / (1 + np.exp(-logits.sum(1))), rtol=1e-9)
    # Hypotheses are scored with both together.
    assert {"score_mass_500", "score_mass_1000"} <= scores.keys()

    found = metrics["abcd"]
    assert json.loads((run.evaluation / "metrics.json").read_text())["abcd"] == found
    background = events.regions["signal"] & ~np.isin(scores["process"], ["signal", "heavy"])
    dependence = distance_correlation_squared(
        scores["score_1"][background], scores["score_2"][background], events.weight[background]
    )
    assert found["distance_correlation"]["value"] == pytest.approx(dependence.value, abs=1e-12)
    pairs = [cut["background_efficiency"] for cut in found["cuts"]]
    assert pairs == [[0.1, 0.1], [0.1, 0.3], [0.3, 0.1], [0.3, 0.3]]
    for cut in found["cuts"]:
        thresholds = np.array([cut["thresholds"][str(fold)] for fold in range(2)])
        cuts = thresholds[scores["fold"]]
        inside = (scores["score_1"] >= cuts[:, 0]) & (scores["score_2"] >= cuts[:, 1])
        expected = events.weight[background & inside].sum()
        assert cut["background"]["A"]["value"] == pytest.approx(expected)
        whole = sum(cut["background"][region]["value"] for region in "ABCD")
        assert whole == pytest.approx(events.weight[background].sum())
        assert figure_text(cut["closure"]) in page
    assert "ABCD method" in page
    card = (run.network(0) / "README.md").read_text(encoding="utf-8")
    assert "Two logits per event" in card
    assert "softmax" not in card


@pytest.mark.slow
def test_several_classes_with_a_parameter_and_a_second_head(tmp_path: Path) -> None:
    """All at once: three classes, two networks per fold, a mass, a regressed quantity."""
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["processes"]["wjets"]["class"] = "electroweak"
    content["processes"]["signal"]["parameters"] = {"mass": 500}
    events = ak.from_parquet(tmp_path / "signal.parquet")
    events["event"] = events.event + 50_000_000
    ak.to_parquet(events, tmp_path / "heavy.parquet")
    content["processes"]["heavy"] = {
        **content["processes"]["signal"], "files": ["heavy.parquet"], "parameters": {"mass": 1000}
    }  # fmt: skip
    content["event"]["spectators"] = ["met.pt"]
    content["training"] |= {
        "ensemble": 2, "condition": "mass", "regression": {"targets": "met.pt"}, "epochs": 1,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    run = RunFolder(train(load_analysis(file), tmp_path / "run"))
    metrics, _ = evaluate_run(run)
    scores = _scores(run)
    logits = np.stack([scores[f"logit_{column}"] for column in range(3)], 1)
    # Logarithms of mean probabilities.
    np.testing.assert_allclose(np.exp(logits).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(logits[:, 0]), scores["score"], rtol=1e-6)
    assert list(metrics["regression"]["met.pt"]) == ["signal", "background", "electroweak"]
    assert [each["processes"] for each in metrics["hypotheses"]] == [["signal"], ["heavy"]]
