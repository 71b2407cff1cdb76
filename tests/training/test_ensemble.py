"""Several networks of each fold: seeds, scores, and what the run says of them."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file

from helpers.runs import small_analysis
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.cli.tables import print_training
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.training.roles import fold_samples
from particle_transformer.training.run import train
from particle_transformer.training.task import NetworkTask


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("ensemble")
    file = small_analysis(folder)
    content = yaml.safe_load(file.read_text())
    content["training"]["ensemble"] = 2
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    run = RunFolder(train(load_analysis(file), folder / "run"))
    evaluate_run(run)
    return run


def test_the_networks_of_a_fold_have_seeds_of_their_own(run: RunFolder) -> None:
    networks = run.read_record()["networks"]
    assert [(n["fold"], n["network"]) for n in networks] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert run.read_record()["ensemble"] == 2
    tasks = [NetworkTask(n["fold"], n["network"]) for n in networks]
    assert [n["seed"] for n in networks] == [task.seed(1) for task in tasks]
    assert len({n["seed"] for n in networks}) == 4
    weights = [load_file(run.network(*place) / "model.safetensors") for place in ((0, 0), (0, 1))]
    name = "att_blocks.0.attention.query_key_value.weight"
    assert not np.allclose(weights[0][name], weights[1][name], atol=0.1)
    # The same events, and so the same scaling.
    first, second = (each["event_scaling.mean"] for each in weights)
    assert np.array_equal(first, second)


def test_the_score_is_the_mean_of_the_probabilities(run: RunFolder) -> None:
    events = Store(run.store()).events()
    scores = pq.read_table(run.evaluation / "scores.parquet")
    fold = scores["fold"].to_numpy()
    for number in (0, 1):
        own = np.flatnonzero(fold == number)
        members = [
            signal_probability(
                score_events(load_artefact(run.network(number, n))[0], events.take(own))
            )
            for n in (0, 1)
        ]
        np.testing.assert_allclose(scores["score"].to_numpy()[own], np.mean(members, 0), atol=1e-6)
        assert np.abs(members[0] - members[1]).max() > 1e-3


def test_effective_events_are_said(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    analysis = load_analysis(run.analysis)
    store = Store(run.store())
    events = store.events()
    networks = run.read_record()["networks"]
    for network in networks:
        training, validation, test = fold_samples(
            analysis, events, store.manifest.classes, network["fold"]
        )
        assert network["events"] == {
            "training": len(training), "validation": len(validation), "test": test
        }  # fmt: skip
        chosen = next(training.source.chunks())
        flags = training.rows.flags(0, len(chosen))
        for number, process in enumerate(analysis.processes):
            weight = chosen.weight[flags & (chosen.process == number)]
            said = network["training_events"][process]
            assert said["events"] == len(weight)
            assert said["effective"] == pytest.approx(
                weight.sum() ** 2 / (weight**2).sum(), abs=0.05
            )
            assert said["effective"] < 0.9 * said["events"]  # a tenth has negative weights
    print_training(run.path)
    shown = capsys.readouterr().out
    for process in analysis.processes:
        found = [network["training_events"][process] for network in networks]
        (line,) = [line for line in shown.splitlines() if process in line]
        numbers = [word for word in line.split() if word.isdigit()]
        assert numbers == [
            f"{np.mean([each[key] for each in found]):.0f}" for key in ("events", "effective")
        ]
