"""A whole run: its folder, its honesty, its figures recomputed independently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from helpers.runs import PROCESSES, small_analysis
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError, OutputError, SampleError
from particle_transformer.events import fold_of
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.training.run import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("trained")
    run = RunFolder(train(load_analysis(small_analysis(folder, epochs=10)), folder / "run"))
    metrics, _ = evaluate_run(run)
    return run, metrics


def test_run_folder_is_complete(trained: tuple[RunFolder, dict[str, Any]]) -> None:
    run, metrics = trained
    assert load_analysis(run.analysis).name == "small"
    for fold in range(2):
        assert (run.network(fold) / "model.safetensors").exists()
        assert (run.network(fold) / "config.json").exists()
        card = (run.network(fold) / "README.md").read_text(encoding="utf-8")
        assert f"\n# small: network of fold {fold} of 2\n" in card
        assert (run.logs(fold) / "metrics.csv").exists()
    members = json.loads((run.artefact / "config.json").read_text())["members"]
    assert members == ["fold-0/network-0", "fold-1/network-0"]
    assert json.loads((run.evaluation / "metrics.json").read_text()) == metrics
    assert {"auc", "auc_unweighted", "rejection", "significance"} <= metrics.keys()
    assert not list(run.path.parent.glob("*.partial*"))


def test_every_event_is_scored_by_the_network_of_its_own_fold(
    trained: tuple[RunFolder, dict[str, Any]],
) -> None:
    run, _ = trained
    events = Store(run.store()).events()
    scores = pq.read_table(run.evaluation / "scores.parquet")
    fold = fold_of(events.identity, 2)
    np.testing.assert_array_equal(scores["fold"].to_numpy(), fold)
    np.testing.assert_array_equal(scores["identity_0"].to_numpy(), events.identity[:, 0])
    for number in range(2):
        model, metadata = load_artefact(run.network(number))
        assert metadata["fold"] == number
        own = np.flatnonzero(fold == number)
        expected = signal_probability(score_events(model, events.take(own)))
        np.testing.assert_allclose(scores["score"].to_numpy()[own], expected, atol=1e-6)


def test_scores_point_back_to_their_file_and_entry(
    trained: tuple[RunFolder, dict[str, Any]],
) -> None:
    run, _ = trained
    scores = pq.read_table(run.evaluation / "scores.parquet")
    for path in set(scores["file"].to_pylist()):
        numbers = pq.read_table(path)["event"].to_numpy()
        rows = np.array([name == path for name in scores["file"].to_pylist()])
        entries = scores["entry"].to_numpy()[rows]
        np.testing.assert_array_equal(numbers[entries], scores["identity_0"].to_numpy()[rows])


def test_auc_agrees_with_scikit_learn(trained: tuple[RunFolder, dict[str, Any]]) -> None:
    # scikit-learn cannot have negative weights: an event of weight −w among positives is the
    # difference of two areas, so only the unweighted figure can be compared directly.
    run, metrics = trained
    scores = pq.read_table(run.evaluation / "scores.parquet")
    label = np.array([name == "signal" for name in scores["process"].to_pylist()])
    expected = roc_auc_score(label, scores["score"].to_numpy())
    assert metrics["auc_unweighted"]["value"] == pytest.approx(expected, abs=1e-12)
    assert expected > 0.7  # the sample is separable


def test_physics_weights_in_the_scores(trained: tuple[RunFolder, dict[str, Any]]) -> None:
    run, _ = trained
    scores = pq.read_table(run.evaluation / "scores.parquet")
    for process in PROCESSES:
        rows = np.array([name == process for name in scores["process"].to_pylist()])
        path = scores["file"].to_pylist()[int(np.flatnonzero(rows)[0])]
        inputs = ak.from_parquet(path)
        kept = inputs[inputs.MET_pt > 110]
        # 1 pb × 1000 fb/pb × 10 fb⁻¹ / Σ generator weights of all events
        expected = 1e4 / ak.sum(inputs.genWeight) * ak.to_numpy(kept.genWeight)
        np.testing.assert_allclose(scores["weight"].to_numpy()[rows], expected, rtol=1e-12)


def test_a_network_never_reads_its_own_fold(tmp_path: Path) -> None:
    """Spoil every event of fold 0: the network of fold 0 must come out bit for bit the same."""
    weights = []
    for spoil in (False, True):
        folder = tmp_path / str(spoil)
        folder.mkdir()
        file = small_analysis(folder)
        for process in PROCESSES:
            path = folder / f"{process}.parquet"
            events = ak.from_parquet(path)
            fold = fold_of(ak.to_numpy(events.event)[:, np.newaxis], 2)
            if spoil:
                events["MET_pt"] = np.where(fold == 0, events.MET_pt * 3 + 7, events.MET_pt)
                events["Jet_pt"] = ak.where(fold == 0, events.Jet_pt * 2, events.Jet_pt)
            # Everything passes the selection, spoilt or not, so that the events stay the same.
            events["MET_pt"] = events.MET_pt + 20
            ak.to_parquet(events, path)
        run = RunFolder(train(load_analysis(file), folder / "run"))
        weights.append([(run.network(n) / "model.safetensors").read_bytes() for n in range(2)])
    assert weights[0][0] == weights[1][0]
    assert weights[0][1] != weights[1][1]


def test_same_seed_same_networks(tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        run = RunFolder(train(load_analysis(small_analysis(folder)), folder / "run"))
        weights.append((run.network(1) / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_recorded_data_is_neither_trained_on_nor_in_any_figure(tmp_path: Path) -> None:
    """A data process between the simulated ones changes no network and no figure."""
    found = []
    for with_data in (False, True):
        folder = tmp_path / str(with_data)
        folder.mkdir()
        file = small_analysis(folder)
        if with_data:
            data = ak.from_parquet(folder / "ttbar.parquet")
            data["event"] = data.event + 10_000_000
            ak.to_parquet(data[[name for name in data.fields if name != "genWeight"]],
                          folder / "met.parquet")  # fmt: skip
            content = yaml.safe_load(file.read_text())
            (first, signal), *rest = content["processes"].items()
            content["processes"] = {
                first: signal, "met": {"class": "data", "files": ["met.parquet"]}, **dict(rest)
            }  # fmt: skip
            file.write_text(yaml.safe_dump(content, sort_keys=False))
        run = RunFolder(train(load_analysis(file), folder / "run"))
        metrics, scored = evaluate_run(run)
        found.append(metrics)
        scores = pq.read_table(run.evaluation / "scores.parquet")
        assert set(scores["process"].to_pylist()) == set(PROCESSES)
        assert scored.test.processes == tuple(PROCESSES)
    assert found[1] == found[0]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_evaluation_that_fails_leaves_the_old_one(
    trained: tuple[RunFolder, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    run, _ = trained
    before = {path.name: path.read_bytes() for path in run.evaluation.iterdir()}

    def fail(table: object, where: Path) -> None:
        where.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        evaluate_run(run)
    assert {path.name: path.read_bytes() for path in run.evaluation.iterdir()} == before


def test_a_changed_store_is_refused(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    train(load_analysis(file), tmp_path / "run", store=tmp_path / "store")
    manifest = tmp_path / "store" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "fingerprint": "other"}))
    with pytest.raises(InputFileError, match=r"has changed since .* train again"):
        evaluate_run(RunFolder(tmp_path / "run"))


def test_more_folds_than_events_allow(tmp_path: Path) -> None:
    file = small_analysis(tmp_path, folds=300)
    with pytest.raises(SampleError, match=r"fold .*: no .* event of class .*; use fewer folds"):
        train(load_analysis(file), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize("lacking", ["signal", "top"])
def test_the_class_that_a_fold_lacks_is_named(tmp_path: Path, lacking: str) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["processes"].pop("wjets")
    content["processes"]["ttbar"]["class"] = "top"
    file.write_text(yaml.safe_dump(content))
    # All of its events have one number, and so one fold.
    path = tmp_path / ("signal.parquet" if lacking == "signal" else "ttbar.parquet")
    events = ak.from_parquet(path)
    events["event"] = np.ones(len(events), dtype=np.int64)
    ak.to_parquet(events, path)
    with pytest.raises(SampleError, match=rf"no \w+ event of class {lacking} among"):
        train(load_analysis(file), tmp_path / "run")


def test_the_working_folder_cannot_become_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = load_analysis(small_analysis(tmp_path))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(OutputError, match=r"give --out a folder with its own name"):
        train(analysis, Path())


def test_output_below_a_file_is_an_output_error(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        train(load_analysis(file), file / "run")


def test_failure_removes_the_parents_it_made(tmp_path: Path) -> None:
    file = small_analysis(tmp_path, folds=300)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SampleError):
        train(load_analysis(file), tmp_path / "zz" / "a" / "b")
    assert sorted(tmp_path.rglob("*")) == before


def test_augmentation_of_the_analysis_file_reaches_the_training(tmp_path: Path) -> None:
    path = small_analysis(tmp_path, epochs=1, pair_bias=True)
    losses = []
    for number, chosen in enumerate(([], ["flip_eta", "flip_phi", "rotate_phi"])):
        content = yaml.safe_load(path.read_text())
        content["training"]["augmentation"] = chosen
        path.write_text(yaml.safe_dump(content))
        run = RunFolder(train(load_analysis(path), tmp_path / f"run{number}"))
        assert list(load_analysis(run.analysis).training.augmentation) == chosen
        record = json.loads(run.record.read_text())
        losses.append([network["history"][0]["train_loss"] for network in record["networks"]])
    assert all(plain != augmented for plain, augmented in zip(*losses, strict=True))
