"""What a run's networks look at: laws and exact cases, and the command."""

from __future__ import annotations

import html
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from helpers.runs import small_analysis
from particle_transformer.cli.main import app
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError
from particle_transformer.evaluation import auc
from particle_transformer.events import Events, Ragged
from particle_transformer.inference.score import mean_logits, signal_probability
from particle_transformer.model import fit_scaling
from particle_transformer.studies.explain import explain
from particle_transformer.studies.explain.attributions import completeness
from particle_transformer.studies.explain.examples import attention_of, choose_examples
from particle_transformer.studies.explain.gradients import integrated_gradients
from particle_transformer.studies.explain.inputs import Input, inputs_of, permuted
from particle_transformer.studies.explain.permutation import permutation_importances
from particle_transformer.studies.explain.plane import plane_of
from particle_transformer.studies.explain.signal_logit import signal_logit
from particle_transformer.studies.explain.summary import summarised
from particle_transformer.training.run import train
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.events.packed import PackedBatch
    from particle_transformer.model import AnalysisObjectTransformer

JETS, MUONS = ("log(pt)", "eta", "phi"), ("pt", "eta")
NAMES = {"jets": JETS, "muons": MUONS}


def scaled_model(events: Events, **options: object) -> AnalysisObjectTransformer:
    torch.manual_seed(3)
    model = toy_model(layer_scale=1.0, **options)
    fit_scaling(model, {name: r.values for name, r in events.objects.items()}, events.event)
    return model.eval()


# Integrated gradients


@pytest.mark.parametrize("options", [{}, {"pair_bias": True}, {"num_outputs": 3}])
@pytest.mark.parametrize("networks", [1, 2])
def test_attributions_add_up_the_better_the_more_steps(
    options: dict[str, object], networks: int
) -> None:
    events, _ = toy_events(60)
    model = scaled_model(events, **options)
    with torch.no_grad():  # a network with little curvature would need no steps
        for parameter in model.parameters():
            parameter.mul_(1.5)
    other = scaled_model(events, **options)
    models = [model, other][:networks]
    errors = []
    for steps in (1, 4, 64):
        found = integrated_gradients(models, events, steps=steps, tolerance=np.inf)
        errors.append(float(np.abs(completeness(found, events)).max()))
        moved = found.logit - found.baseline
    assert np.abs(moved).max() > 0.1
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-3 * np.abs(moved).max()


class Step(torch.nn.Module):
    """A logit that is a step at some value of the event feature."""

    collections = ("jets", "muons")

    def __init__(self, like: AnalysisObjectTransformer) -> None:
        super().__init__()
        self.object_scaling = like.object_scaling
        self.event_scaling = like.event_scaling

    def forward_packed(self, batch: PackedBatch) -> torch.Tensor:
        distance = batch.event.sum(1) - self.event_scaling.mean.sum() - 0.3
        return 3 * torch.tanh(100 * distance)[:, None]


def test_steps_of_the_logit_are_found() -> None:
    events, _ = toy_events(40)
    model = Step(scaled_model(events))
    few, found = (
        integrated_gradients([model], events, steps=8, tolerance=tolerance)  # type: ignore[list-item]
        for tolerance in (np.inf, 0.01)
    )
    errors = [np.abs(completeness(each, events)) for each in (few, found)]
    assert errors[0].max() > 0.1
    assert errors[1].max() < 0.01
    assert not found.objects["jets"].any()
    # What was good enough is left alone.
    good = errors[0] < 0.01
    assert 0 < good.sum() < 40
    np.testing.assert_array_equal(found.event[good], few.event[good])


class Linear(torch.nn.Module):
    """A logit that is linear in all features: Σ objects w·x + v·e + the number of jets."""

    collections = ("jets", "muons")

    def __init__(self, like: AnalysisObjectTransformer) -> None:
        super().__init__()
        self.object_scaling = like.object_scaling
        self.event_scaling = like.event_scaling
        self.weights = {"jets": torch.tensor([0.5, -1.0, 2.0]), "muons": torch.tensor([3.0, 0.25])}

    def forward_packed(self, batch: PackedBatch) -> torch.Tensor:
        total = -0.75 * batch.event.sum(1)
        for name, offsets in batch.offsets.items():
            own = batch.objects[name] @ self.weights[name]
            sums = torch.cat([own.new_zeros(1), own.cumsum(0)])
            total = total + sums[offsets[1:]] - sums[offsets[:-1]]
        return (total + batch.offsets["jets"].diff())[:, None]


@pytest.mark.parametrize("steps", [1, 3])
def test_attributions_of_a_linear_model_are_weight_times_distance(steps: int) -> None:
    events, _ = toy_events(40)
    model = Linear(scaled_model(events))
    found = integrated_gradients([model], events, steps=steps)  # type: ignore[list-item]
    for name, ragged in events.objects.items():
        mean = ragged.values.astype(np.float64).mean(axis=0)
        expected = model.weights[name].numpy() * (ragged.values - mean)
        np.testing.assert_allclose(found.objects[name], expected, atol=1e-3)
    expected = -0.75 * (events.event - events.event.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(found.event, expected, atol=1e-5)
    # Fixed event features are as in the event all along the path, and get nothing.
    fixed = integrated_gradients([model], events, fixed=1, steps=steps)  # type: ignore[list-item]
    assert not fixed.event.any()
    np.testing.assert_allclose(
        found.baseline + found.event[:, 0], fixed.baseline, rtol=1e-4, atol=1e-3
    )


def test_attributions_of_no_event() -> None:
    events, _ = toy_events(40)
    found = integrated_gradients([scaled_model(events)], events.take(np.empty(0, dtype=np.int64)))
    assert found.logit.shape == (0,)
    assert found.objects["jets"].shape == (0, 3)


# The logit that is explained


@given(
    st.integers(1, 3), st.sampled_from([(1, False), (2, True), (2, False), (4, False)]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_logit_is_that_of_the_score(networks: int, kind: tuple[int, bool], seed: int) -> None:
    outputs, two_scores = kind
    logits = np.random.default_rng(seed).normal(scale=3, size=(networks, 5, outputs))
    found = signal_logit([torch.from_numpy(each) for each in logits], two_scores=two_scores)
    score = signal_probability(
        mean_logits(list(logits), two_scores=two_scores), two_scores=two_scores
    )
    np.testing.assert_allclose(found.numpy(), np.log(score) - np.log1p(-score), atol=1e-8)


# Permutation


def rows_of(table: np.ndarray) -> list[tuple[float, ...]]:
    return sorted(map(tuple, table.tolist()))


@given(st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_a_permutation_changes_what_it_names_and_nothing_else(seed: int, number: int) -> None:
    events, _ = toy_events(30, seed % 5)
    parts = inputs_of(NAMES, ["ht"], momenta=True)
    assert [part.kind for part in parts].count("object feature") == 5
    assert len(parts) == 10
    part = parts[number]
    changed = permuted(events, part, np.random.default_rng(seed))
    assert changed.weight is events.weight
    for name, before in events.objects.items():
        after = changed.objects[name]
        assert before.momenta is not None
        assert after.momenta is not None
        # The same values in other places, column by column and, whole objects, row by row.
        assert rows_of(before.momenta) == rows_of(after.momenta)
        for column in range(before.values.shape[1]):
            assert sorted(before.values[:, column]) == sorted(after.values[:, column])
            if part.collection != name or (part.kind, part.column) != ("object feature", column):
                same = np.array_equal(before.values[:, column], after.values[:, column])
                assert same or (part.kind, part.collection) == ("collection", name)
        if part.kind == "collection":
            assert sorted(before.counts) == sorted(after.counts)
            whole = [(before.values, before.momenta), (after.values, after.momenta)]
            both = [np.hstack(tables) for tables in whole]
            assert rows_of(both[0]) == rows_of(both[1])
        else:
            np.testing.assert_array_equal(before.offsets, after.offsets)
    assert rows_of(events.event) == rows_of(changed.event)
    if part.kind != "event feature":
        np.testing.assert_array_equal(events.event, changed.event)


def test_all_event_features_are_permuted_together() -> None:
    events, _ = toy_events(200)
    two = np.column_stack([events.event, 2 * events.event]).astype(np.float32)
    events = Events.of(events.objects, two, events.process)
    generator = np.random.default_rng(1)
    together = permuted(events, Input("all", "event features"), generator)
    np.testing.assert_array_equal(together.event[:, 1], 2 * together.event[:, 0])
    assert not np.array_equal(together.event, two)
    single = permuted(events, Input("ht", "event feature", None, "ht", 0), generator)
    np.testing.assert_array_equal(single.event[:, 1], two[:, 1])
    assert not np.array_equal(single.event[:, 0], two[:, 0])


def test_importances_are_differences_of_weighted_figures() -> None:
    rng = np.random.default_rng(5)
    is_signal = rng.random(300) < 0.4
    weight = rng.normal(1, 0.6, 300)
    logit = rng.normal(is_signal, 1.0)
    changed = rng.normal(size=(2, 3, 300)) + [[[0.0]], [[1.0]]] * is_signal
    found = permutation_importances(logit, changed, weight, is_signal, replicas=50, seed=1)

    def loss(z: np.ndarray) -> float:
        each = -np.log(1 / (1 + np.exp(-np.where(is_signal, z, -z))))
        return float(
            np.mean([np.average(each[c], weights=weight[c]) for c in (is_signal, ~is_signal)])
        )

    def area(z: np.ndarray) -> float:
        pairs = (z[is_signal][:, None] > z[~is_signal]) * np.outer(
            weight[is_signal], weight[~is_signal]
        )
        return float(pairs.sum() / (weight[is_signal].sum() * weight[~is_signal].sum()))

    assert found.auc.value == pytest.approx(area(logit))
    assert found.loss.value == pytest.approx(loss(logit))
    for part, logits in zip(found.inputs, changed, strict=True):
        for name, values in (
            ("auc", [area(logit) - area(z) for z in logits]),
            ("loss", [loss(z) - loss(logit) for z in logits]),
        ):
            figure = part[name]
            assert figure["value"] == pytest.approx(np.mean(values))
            assert figure["permutation_error"] == pytest.approx(np.std(values, ddof=1) / 3**0.5)
            assert figure["event_error"] > 0
            assert figure["error"] == pytest.approx(
                np.hypot(figure["event_error"], figure["permutation_error"])
            )


def test_importances_without_positive_weight_say_why() -> None:
    is_signal = np.array([True, False, True])
    logit = np.array([1.0, 0.0, 2.0])
    found = permutation_importances(
        logit, logit[None, None], np.array([1.0, 1.0, -2.0]), is_signal, replicas=3, seed=1
    )
    for figure in (found.inputs[0]["auc"], found.inputs[0]["loss"], found.loss.to_json()):
        assert figure["value"] is None
        assert "the total weight of the signal events is -1, not positive" in figure["reason"]


# Events


def test_examples_are_those_of_their_rules() -> None:
    logit = np.array([0.0, 5.0, -3.0, 2.0, 9.0, 1.0, 4.0])
    is_signal = np.array([True, True, False, True, False, True, True])
    assert choose_examples(logit, is_signal) == {
        "most signal-like signal": 1,
        "most signal-like background": 4,
        "median signal": 3,
        "least signal-like signal": 0,
    }


@pytest.mark.parametrize("event_features", ["both", "concatenated"])
def test_attention_of_an_event_is_complete(event_features: str) -> None:
    events, _ = toy_events(30)
    model = scaled_model(events, pair_bias=True, event_features=event_features)
    rows = [int(np.argmax(events.objects["jets"].counts)), 0, 1]
    for row in rows:
        event = events.take(np.array([row]))
        found = attention_of(model, event)
        objects = sum(len(ragged.values) for ragged in event.objects.values())
        assert len(found.labels) == objects + (event_features == "both")
        np.testing.assert_allclose(found.between.sum(axis=1), 1, atol=1e-5)
        assert found.itself + found.class_token.sum() == pytest.approx(1, abs=1e-5)
    counts = events.objects["jets"].counts
    assert attention_of(model, events.take(np.array([rows[0]]))).labels[: counts.max()] == tuple(
        f"jets {number}" for number in range(1, counts.max() + 1)
    )


def test_plane_from_momenta_and_from_features() -> None:
    pt, eta, phi = np.array([50.0, 30.0]), np.array([0.5, -1.0]), np.array([3.0, -2.0])
    met = -3.1
    difference = np.angle(np.exp(1j * (phi - met)))
    momenta = np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * 3])
    texts = {"jets": ["delta_phi(phi, met.phi)", "log(pt)", "eta"]}
    values = np.column_stack([difference, np.log(pt), eta])
    expected = np.column_stack([pt, eta, phi])

    def plane(values: np.ndarray, texts: dict[str, list[str]], momenta: np.ndarray | None) -> Any:
        objects = {"jets": Ragged.of(values, [2], momenta)}
        event = Events.of(objects, [[np.log(120.0)]], [0])
        return plane_of(event, texts, ["log(max(met.pt, 1))"])

    found = plane(values, texts, momenta)
    np.testing.assert_allclose(found.objects["jets"], expected, rtol=1e-5)
    assert found.origin is None
    (direction,) = found.directions
    assert (direction.name, direction.phi) == ("met", pytest.approx(met, abs=1e-5))
    assert direction.pt == pytest.approx(120, rel=1e-5)

    # Without momenta φ is known but for that of the MET.
    found = plane(values, texts, None)
    assert found.origin == "met.phi"
    np.testing.assert_allclose(
        found.objects["jets"], np.column_stack([pt, eta, difference]), rtol=1e-5
    )
    assert [(each.name, each.phi) for each in found.directions] == [("met", 0.0)]

    found = plane(np.column_stack([values, phi]), {"jets": [*texts["jets"], "phi"]}, None)
    assert found.origin is None
    np.testing.assert_allclose(found.objects["jets"], expected, rtol=1e-5)

    found = plane(values, {"jets": ["delta_phi(phi, met.phi)", "pt", "abs(eta)"]}, None)
    assert not found.objects


def test_summary_sums_the_objects_of_an_event() -> None:
    events, target = toy_events(50)
    weight = np.random.default_rng(1).normal(1, 0.3, 50)
    found = integrated_gradients([scaled_model(events)], events, steps=2)
    result = summarised(found, events, weight, target == 1, NAMES, ["ht"])
    assert [each["name"] for each in result["features"]][-2:] == ["muons: eta", "ht"]
    offsets = events.objects["muons"].offsets
    sums = np.array([found.objects["muons"][a:b, 1].sum() for a, b in itertools.pairwise(offsets)])
    eta = result["features"][-2]
    for name, chosen in (("signal", target == 1), ("background", target == 0)):
        mean = np.average(sums[chosen], weights=weight[chosen])
        assert eta[name]["value"] == pytest.approx(mean)
    both = [np.average(abs(sums[target == c]), weights=weight[target == c]) for c in (0, 1)]
    assert eta["size"]["value"] == pytest.approx(np.mean(both))
    counts = events.objects["jets"].counts
    third = result["objects"]["jets"][2]
    assert (third["position"], third["events"]) == (3, (counts > 2).sum())


# A run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    return train(load_analysis(small_analysis(folder, epochs=1, pair_bias=True)), folder / "run")


def test_the_command_explains_a_run(trained: Path) -> None:
    arguments = ["explain", str(trained), "--repeats", "1", "--gradient-events", "20"]
    found = CliRunner().invoke(app, [*arguments, "--events", "300"], catch_exceptions=False)
    assert found.exit_code == 0
    assert f"report {trained / 'report' / 'explain.html'}" in found.output
    result = json.loads((trained / "evaluation" / "explain.json").read_text())
    assert [part["name"] for part in result["permutation"]] == [
        "jets: log(pt)", "jets: eta", "jets: delta_phi(phi, met.phi)", "jets: momenta (pairs)",
        "log(met.pt)", "count(jets)", "all of jets", "all event features",
    ]  # fmt: skip
    assert result["events"]["permuted"] == 300
    assert result["events"]["gradients"] == 20
    assert result["gradients"]["completeness"]["largest"] < 1e-4
    page = html.unescape((trained / "report" / "explain.html").read_text("utf-8"))
    assert not re.search(r'(src|href)="(?!data:|index\.html)', page)
    for example in result["examples"]:
        assert f"{example['file']}, entry {example['entry']}" in page
        steps = [value for each in [example["event"], *example["objects"]["jets"]]
                 for value in each["attributions"].values()]  # fmt: skip
        moved = example["logit"] - example["baseline_logit"]
        assert sum(steps) == pytest.approx(moved, abs=1e-5)
    # The events are where the page says, and what it says.
    store = Store(trained / "store")
    files, entries = store.origin()
    events = store.events()
    for example in result["examples"]:
        paths = np.array([record.path for record in store.manifest.inputs])[files]
        (row,) = np.flatnonzero((paths == example["file"]) & (entries == example["entry"]))
        assert example["identity"] == events.identity[row].tolist()
        jets = events.objects["jets"].take(np.array([row]))
        assert [jet["pt"] for jet in example["objects"]["jets"]] == pytest.approx(
            np.exp(jets.values[:, 0]), rel=1e-5
        )


def test_the_same_seed_explains_the_same_and_all_events_have_the_runs_auc(trained: Path) -> None:
    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.inference.out_of_fold import score_run

    options: dict[str, Any] = {"repeats": 1, "gradient_events": 5}
    first, second = (explain(trained, **options, seed=4) for _ in range(2))
    assert first == second
    test = score_run(RunFolder(trained)).test
    test = test.select(test.in_any(["signal"]))
    expected = auc(test.score, test.weight, test.is_signal).value
    assert first["events"]["permuted"] == len(test)
    assert first["auc"]["value"] == pytest.approx(expected)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"not a run \(no run.json\); make one with aot train"):
        explain(tmp_path)
