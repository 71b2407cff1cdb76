"""What physics weights may not change in a training, and what they must."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.losses import TrainingWeights, training_weights
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.training.datamodule import EventDataset
from particle_transformer.training.fit import fit_network
from particle_transformer.training.sample import make_sample
from particle_transformer.training.sampler import BatchSampler
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.events import Events
    from particle_transformer.losses.weights import Balance, NegativeWeights
    from particle_transformer.training.callbacks import EpochRecord

BALANCE = st.sampled_from(["class", "process", "none"])
NEGATIVE = st.sampled_from(["keep", "abs", "drop"])
TARGET = [0, 0, 1]  # two processes of background, one of signal


def weighted_events(number: int, seed: int = 0) -> Events:
    """Toy events of three processes, with weights of both signs."""
    rng = np.random.default_rng(seed)
    events, target = toy_events(number, seed)
    process = np.where(target == 1, 2, rng.integers(0, 2, number)).astype(np.int16)
    weight = rng.exponential(size=number) * np.where(rng.random(number) < 0.1, -1, 1)
    return replace(events, process=process, weight=weight)


@settings(max_examples=50)
@given(st.integers(0, 50), BALANCE, NEGATIVE, st.floats(1e-6, 1e6), st.integers(-40, 40))
def test_the_unit_of_the_physics_weights_does_not_matter(
    seed: int, balance: Balance, negative: NegativeWeights, factor: float, power: int
) -> None:
    events = weighted_events(200, seed)
    weight, process = events.weight, events.process
    target = np.array(TARGET)[process]
    options = {"balance": balance, "negative_weights": negative}
    try:
        expected = training_weights(weight, target, process, **options)  # type: ignore[arg-type]
    except SampleError as error:
        with pytest.raises(SampleError, match=str(error).partition(" has ")[0]):
            training_weights(2.0**power * weight, target, process, **options)  # type: ignore[arg-type]
        return
    scaled = training_weights(2.0**power * weight, target, process, **options)  # type: ignore[arg-type]
    assert np.array_equal(scaled, expected)
    scaled = training_weights(factor * weight, target, process, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(scaled, expected, rtol=1e-12)


def _fit(events: Events, folder: Path) -> tuple[dict[str, torch.Tensor], list[EpochRecord]]:
    torch.manual_seed(0)
    model = toy_model(num_att_blocks=1, dropout=0.1)
    fit = fit_network(
        model,
        make_sample(events, np.arange(400), TARGET),
        make_sample(events, np.arange(400, 500), TARGET),
        FitSettings(epochs=2, batch_size=64, learning_rate=3e-3),
        checkpoint_dir=folder / "checkpoints",
        log_dir=folder / "logs",
    )
    return model.state_dict(), fit.history


def test_the_unit_of_the_physics_weights_changes_no_network(tmp_path: Path) -> None:
    events = weighted_events(500)
    state, history = _fit(events, tmp_path / "a")
    # Powers of two, in which floating point numbers are scaled without rounding: bit for bit.
    again, same = _fit(replace(events, weight=events.weight / 1024), tmp_path / "b")
    assert same == history
    assert all(torch.equal(again[name], value) for name, value in state.items())
    again, near = _fit(replace(events, weight=events.weight * 59.8e3), tmp_path / "c")
    for record, other in zip(history, near, strict=True):
        assert other == pytest.approx(record, rel=1e-4)
    for name, value in state.items():
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-4)


def _gradient(events: Events, balance: Balance, negative: NegativeWeights) -> torch.Tensor:
    """Gradient of the loss of all events in one batch."""
    rows = np.arange(len(events))
    sample = make_sample(events, rows, TARGET, balance=balance, negative_weights=negative)
    batch = EventDataset(sample, momenta=False)[rows]
    torch.manual_seed(0)
    model = toy_model(num_att_blocks=1)
    loss = CrossEntropy()(model.forward_packed(batch.events), batch.target, batch.weight)
    torch.autograd.backward(loss)
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(gradients).double()


@settings(max_examples=20)
@given(st.integers(0, 20), BALANCE, NEGATIVE, st.lists(st.integers(0, 119), max_size=30))
def test_an_event_of_weight_two_is_two_events_of_weight_one(
    seed: int, balance: Balance, negative: NegativeWeights, split: list[int]
) -> None:
    events = weighted_events(120, seed)
    weight = np.where(events.weight < 0, -0.1, 1.0)  # a few negative ones: totals stay positive
    weight[split] *= 2
    whole = replace(events, weight=weight)
    parts = whole.take(np.concatenate([np.arange(120), np.unique(split).astype(np.int64)]))
    halved = parts.weight.copy()
    halved[np.unique(split).astype(np.int64)] /= 2
    halved[120:] /= 2
    expected = _gradient(whole, balance, negative)
    found = _gradient(replace(parts, weight=halved), balance, negative)
    assert float((found - expected).norm()) < 1e-5 * float(expected.norm())


@settings(max_examples=20)
@given(st.integers(0, 20), BALANCE, st.integers(2, 4), st.integers(1, 90))
def test_a_weight_depends_on_the_training_set_and_on_no_batch(
    seed: int, balance: Balance, ranks: int, batch_size: int
) -> None:
    events = weighted_events(150, seed)
    rows = np.random.default_rng(seed).permutation(150)[:100]
    sample = make_sample(events, rows, TARGET, balance=balance)
    target = np.array(TARGET)[events.process[rows]]
    expected = np.full(150, np.nan)
    expected[rows] = training_weights(
        events.weight[rows], target, events.process[rows], balance=balance
    )
    dataset = EventDataset(sample, momenta=False)
    # As each rank finds them in its own part of any batch, without asking the others.
    batch_size = max(batch_size, 2 * ranks)
    for rank in range(ranks):
        sampler = BatchSampler([sample.rows], batch_size, seed, rank=rank, ranks=ranks)
        for batch_rows in sampler:
            found = dataset[batch_rows].weight.numpy()
            np.testing.assert_allclose(found, expected[batch_rows], rtol=1e-6)


def test_effective_events_by_hand() -> None:
    # (Σ w)² / Σ w² with the signs that the loss sees.
    weight = np.array([2.0, 2.0, -1.0, 5.0, 5.0, 1.0])
    process = np.array([0, 0, 0, 1, 1, 2])
    expected: dict[NegativeWeights, float] = {"keep": 9 / 9, "abs": 25 / 9, "drop": 16 / 8}
    for negative, first in expected.items():
        fitted = TrainingWeights.fit(
            [(weight, process)], np.array([0, 0, 1, 1]), negative_weights=negative
        )
        np.testing.assert_allclose(fitted.effective_events, [first, 2, 1, 0])
        assert fitted.events.tolist() == [3, 2, 1, 0]
    # The sums are those of the training weights themselves.
    training = fitted(weight, process)
    np.testing.assert_allclose(fitted.sums, np.bincount(process, training, minlength=4))
