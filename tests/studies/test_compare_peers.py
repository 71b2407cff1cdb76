"""The compared networks and trees: laws, hand-computed numbers, the published form's faults."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.config import Trees
from particle_transformer.events import Events, Ragged
from particle_transformer.events.packed import PackedBatch
from particle_transformer.studies.compare.peers import (
    DeepSetsNetwork,
    DenseNetwork,
    PartNetwork,
    PublishedNetwork,
)
from particle_transformer.studies.compare.tables import engineered, raw
from particle_transformer.studies.compare.trees import (
    Table,
    fit_trees,
    loss,
    loss_derivatives,
    predict_trees,
)

if TYPE_CHECKING:
    from particle_transformer.model import EventNetwork

FEATURES = {"jets": 3, "leptons": 2}


def random_events(counts: list[tuple[int, int]], seed: int = 1) -> Events:
    rng = np.random.default_rng(seed)
    objects = {}
    for place, (name, width) in enumerate(FEATURES.items()):
        own = [pair[place] for pair in counts]
        momentum = rng.normal(0, 50, (sum(own), 3))
        energy = np.sqrt(np.sum(momentum**2, axis=1, keepdims=True) + 25)
        objects[name] = Ragged.of(
            rng.normal(size=(sum(own), width)), own, np.concatenate([momentum, energy], axis=1)
        )
    return Events.of(objects, rng.normal(size=(len(counts), 2)), np.zeros(len(counts)))


def network(kind: str) -> EventNetwork:
    torch.manual_seed(3)
    sizes = (FEATURES, 2)
    if kind == "deep_sets":
        return DeepSetsNetwork(
            *sizes, momenta=True, num_outputs=1, object_widths=(8, 6), event_widths=(7,), dropout=0
        ).eval()
    if kind == "dense":
        return DenseNetwork(
            *sizes, momenta=True, num_outputs=1, slots={"jets": 4, "leptons": 2}, widths=(8,),
            dropout=0,
        ).eval()  # fmt: skip
    if kind == "published":
        return PublishedNetwork(*sizes, num_outputs=1, width=8, heads=2, head_widths=(6, 5)).eval()
    return PartNetwork(
        *sizes, momenta=True, num_outputs=1, embed_dims=(8, 8), pair_dims=(4,), heads=2, layers=1,
        class_layers=1,
    ).eval()  # fmt: skip


def logits(model: EventNetwork, events: Events, seed: int = 5) -> torch.Tensor:
    torch.manual_seed(seed)  # the published form's class token
    with torch.no_grad():
        return model.forward_packed(PackedBatch.from_events(events))


KINDS = [
    "deep_sets",
    "dense",
    "published",
    pytest.param(
        "part",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("weaver") is None, reason="weaver-core is optional"
        ),
    ),
]

COUNTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=6
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(counts=COUNTS, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_other_events_of_the_batch_change_nothing(
    kind: str, counts: list[tuple[int, int]], seed: int
) -> None:
    """Above all no padding, of which an event alone needs less than in company."""
    events = random_events(counts, seed)
    model = network(kind)
    together = logits(model, events)
    assert torch.isfinite(together).all()
    for number in range(len(events)):
        alone = logits(model, events.slice(number, number + 1))
        torch.testing.assert_close(alone[0], together[number], rtol=1e-4, atol=1e-5)


@given(counts=COUNTS, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_deep_sets_do_not_see_the_order_of_objects(
    counts: list[tuple[int, int]], seed: int
) -> None:
    events = random_events(counts, seed)
    rng = np.random.default_rng(seed)
    shuffled = {}
    for name, ragged in events.objects.items():
        spans = zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
        order = np.concatenate(
            [rng.permutation(np.arange(start, stop)) for start, stop in spans]
        ).astype(int)
        assert ragged.momenta is not None
        shuffled[name] = Ragged(ragged.values[order], ragged.offsets, ragged.momenta[order])
    other = Events.of(shuffled, events.event, events.process)
    model = network("deep_sets")
    torch.testing.assert_close(logits(model, other), logits(model, events), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["deep_sets", "dense"])
def test_momenta_and_every_feature_are_seen(kind: str) -> None:
    events = random_events([(3, 2), (1, 1)])
    model = network(kind)
    before = logits(model, events)
    for name in FEATURES:
        for column in ("values", "momenta"):
            changed = random_events([(3, 2), (1, 1)])
            getattr(changed.objects[name], column)[:] += 3.0
            assert not torch.allclose(logits(model, changed), before)
    changed = random_events([(3, 2), (1, 1)])
    changed.event[:] += 3.0
    assert not torch.allclose(logits(model, changed), before)


def test_the_published_form_draws_its_class_token_in_each_call() -> None:
    events = random_events([(3, 1), (2, 0)])
    model = network("published")
    assert not torch.equal(logits(model, events, seed=1), logits(model, events, seed=2))
    torch.testing.assert_close(logits(model, events, seed=1), logits(model, events, seed=1))
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    assert (1, 1, 8) not in shapes, "no token is trained"


def test_the_published_form_has_lost_its_skip_connections() -> None:
    """With a silent first linear layer nothing of a block's input is left in its output."""
    model = network("published")
    assert isinstance(model, PublishedNetwork)
    block = model.get_submodule("att_blocks.0")
    with torch.no_grad():
        for parameter in block.get_submodule("linear_1").parameters():
            parameter.zero_()
        mask = torch.zeros(2, 3, dtype=torch.bool)
        first, second = (block(torch.randn(2, 3, 8), mask) for _ in range(2))
    torch.testing.assert_close(first, second)


def test_derivatives_are_those_of_the_loss() -> None:
    """Finite differences of Σ w ℓ, with weights of both signs, for one and for three outputs."""
    rng = np.random.default_rng(2)
    weight = rng.normal(size=6)
    for outputs in (1, 3):
        target = rng.integers(0, max(2, outputs), 6)
        at = rng.normal(size=(6, outputs))
        gradient, curvature = loss_derivatives(at, target, weight)
        for event in range(6):
            for output in range(outputs):
                step = np.zeros_like(at)
                step[event, output] = 1e-4
                up, down = (6 * loss(at + sign * step, target, weight) for sign in (1, -1))
                assert gradient[event, output] == pytest.approx((up - down) / 2e-4, abs=1e-6)
                second = (up + down - 12 * loss(at, target, weight)) / 1e-8
                assert curvature[event, output] == pytest.approx(abs(second), abs=1e-5)


def test_with_positive_weights_the_trees_are_xgboosts_own() -> None:
    rng = np.random.default_rng(4)
    tables = []
    for events in (500, 200):
        columns = rng.normal(size=(events, 4)).astype(np.float32)
        columns[rng.uniform(size=columns.shape) < 0.1] = np.nan
        target = (np.nan_to_num(columns[:, 0]) + rng.normal(size=events) > 0).astype(np.int64)
        tables.append(Table(columns, target, rng.uniform(0.5, 2, events)))
    chosen = Trees(subsample=1.0, colsample=1.0, max_depth=3, rounds=60, patience=10)
    booster = fit_trees(tables[0], tables[1], chosen, outputs=1, seed=1)
    training = xgboost.QuantileDMatrix(tables[0].columns, tables[0].target, weight=tables[0].weight)
    watched = xgboost.QuantileDMatrix(
        tables[1].columns, tables[1].target, weight=tables[1].weight, ref=training
    )
    expected = xgboost.train(
        {"max_depth": 3, "eta": 0.05, "min_child_weight": 2.0, "base_score": 0.5, "seed": 1,
         "objective": "binary:logistic", "tree_method": "hist"},
        training, 60, evals=[(watched, "v")], verbose_eval=False,
        callbacks=[xgboost.callback.EarlyStopping(rounds=10, save_best=True)],
    )  # fmt: skip
    assert booster.best_iteration == expected.best_iteration
    np.testing.assert_allclose(
        predict_trees(booster, tables[1].columns, outputs=1)[:, 0],
        expected.predict(watched, output_margin=True),
        atol=1e-4,
    )


def test_engineered_features_by_hand() -> None:
    jets = Ragged.of([[1.0], [3.0], [2.0], [7.0]], [3, 0, 1])
    events = Events.of({"jets": jets}, [[10.0], [20.0], [30.0]], [0, 0, 0],
                       spectators=[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])  # fmt: skip
    nan = np.nan
    np.testing.assert_array_equal(
        engineered(events),
        # event feature; count; two leading; smallest, largest, mean, sum
        np.array(
            [
                [10, 3, 1, 3, 1, 3, 2, 6],
                [20, 0, nan, nan, nan, nan, nan, 0],
                [30, 1, 7, nan, 7, 7, 7, 7],
            ],
            dtype=np.float32,
        ),
    )
    np.testing.assert_allclose(engineered(events, [1]), [[10, 0.2], [20, 0.4], [30, 0.6]])
    np.testing.assert_array_equal(
        raw(events, {"jets": 2}), [[10, 1, 3], [20, nan, nan], [30, 7, nan]]
    )


def test_masses_by_hand() -> None:
    """Back to back, at right angles in a third: m² = (ΣE)² − |Σp|²."""
    momenta = [[30, 0, 0, 30], [-30, 0, 0, 30], [0, 40, 0, 40]]
    jets = Ragged.of([[0.0]] * 3, [3], momenta)
    table = engineered(Events.of({"jets": jets}, np.empty((1, 0)), [0]))
    np.testing.assert_allclose(table[0, -2:], [60, np.sqrt(100**2 - 40**2)], rtol=1e-6)
    single = Ragged.of([[0.0]], [1], momenta[:1])
    table = engineered(Events.of({"jets": single}, np.empty((1, 0)), [0]))
    assert np.isnan(table[0, -2:]).all()
