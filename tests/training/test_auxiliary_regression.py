"""The second head learns what the objects tell, by its own strength, with its own scaling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from particle_transformer.events.packed import PackedBatch
from particle_transformer.inference.score import predict_events
from particle_transformer.losses.regression import Regression
from particle_transformer.training.fit import FitResult, fit_network
from particle_transformer.training.objective import Auxiliary, Objective
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer import AnalysisObjectTransformer
    from particle_transformer.events import Events

TRAINING, VALIDATION = 1600, 400


def _events(number: int, seed: int = 0) -> Events:
    """Toy events with two spectators: noise, and the sum of the jets' first feature."""
    events, _ = toy_events(number, seed)
    jets = events.objects["jets"]
    event = np.repeat(np.arange(number), jets.counts)
    total = np.bincount(event, jets.values[:, 0], number)
    noise = np.random.default_rng(seed).normal(size=number)
    return replace(events, spectators=np.stack([noise, total], 1).astype(np.float32))


def _fit(
    events: Events, folder: Path, strength: float, epochs: int
) -> tuple[AnalysisObjectTransformer, FitResult]:
    torch.manual_seed(0)
    model = toy_model(regression_targets=1)
    auxiliary = Auxiliary(Regression(), (1,), strength)
    return model, fit_network(
        model,
        make_sample(events, np.arange(TRAINING), [0, 1]),
        make_sample(events, np.arange(TRAINING, TRAINING + VALIDATION), [0, 1]),
        FitSettings(
            epochs=epochs, batch_size=100, learning_rate=5e-3,
            objective=Objective(regression=auxiliary),
        ),
        checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs",
    )  # fmt: skip


@pytest.mark.slow
def test_a_function_of_the_objects_is_learned_by_its_strength(tmp_path: Path) -> None:
    events, test = _events(TRAINING + VALIDATION), _events(1000, seed=9)
    true = test.spectators[:, 1].astype(np.float64)
    found = {}
    for strength in (1.0, 1e-4):
        model, _ = _fit(events, tmp_path / str(strength), strength, epochs=8)
        regressed = predict_events(model, test).regression[:, 0]
        found[strength] = np.corrcoef(regressed, true)[0, 1]
        if strength == 1:
            # In the target's own units, hundreds of GeV, not in those of the scaling.
            assert np.std(regressed - true) < 0.4 * np.std(true)
            assert abs(np.mean(regressed - true)) < 0.1 * np.std(true)
    assert found[1.0] > 0.9
    assert found[1e-4] < found[1.0]


def test_the_loss_is_the_classification_and_the_strength_times_the_regression(
    tmp_path: Path,
) -> None:
    events = _events(TRAINING + VALIDATION)
    model, result = _fit(events, tmp_path, 0.3, epochs=1)
    record: dict[str, Any] = dict(result.history[0])
    validation = make_sample(events, np.arange(TRAINING, TRAINING + VALIDATION), [0, 1])
    own = events.slice(TRAINING, TRAINING + VALIDATION)
    weight = torch.from_numpy(validation.weights(own.weight, own.process))
    with torch.no_grad():
        outputs = model.predict_packed(PackedBatch.from_events(own))
        assert model.target_scaling is not None
        scaled = model.target_scaling(torch.from_numpy(own.spectators[:, 1:]))
        huber = F.huber_loss(outputs.scaled_regression, scaled, reduction="none")[:, 0]
        target = torch.from_numpy(own.process.astype(np.float32))
        entropy = F.binary_cross_entropy_with_logits(outputs.logits[:, 0], target, reduction="none")
    expected = float((weight * entropy).mean()), 0.3 * float((weight * huber).mean())
    assert record["val_classification"] == pytest.approx(expected[0], rel=1e-4)
    assert record["val_regression"] == pytest.approx(expected[1], rel=1e-4)
    assert record["val_loss"] == pytest.approx(sum(expected), rel=1e-4)


def test_the_scaling_of_the_targets_is_that_of_training_events_alone(tmp_path: Path) -> None:
    events = _events(TRAINING + VALIDATION)
    events.spectators[TRAINING:, 1] += 1e4
    model, _ = _fit(events, tmp_path, 0.1, epochs=1)
    assert model.target_scaling is not None
    own = events.spectators[:TRAINING, 1].astype(np.float64)
    np.testing.assert_allclose(model.target_scaling.mean, [own.mean()], rtol=1e-5)
    np.testing.assert_allclose(model.target_scaling.scale, [own.std()], rtol=1e-5)
