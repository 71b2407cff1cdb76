"""Three tenths of the events have negative weights, and the best network is known.

The classes have the weighted densities s(x) = N(1, 1) and b(x) = N(0, 1): with equal totals the
best logit is ln s/b = x − 1/2, and the best AUC Φ(1/√2). But events come as generators at
next-to-leading order give them: from (0.4 f + 0.3 n) / 0.7 with weight 1, and three tenths from n
with weight −1, where n is a narrower density beside f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.evaluation import auc
from particle_transformer.events import Events, Ragged
from particle_transformer.events.packed import PackedBatch
from particle_transformer.training.fit import fit_network
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.losses.weights import NegativeWeights

BEST_AUC = 0.76025  # Φ(1/√2)
X = np.linspace(-1, 2, 7)  # where both classes have events

pytestmark = pytest.mark.slow


def sample(number: int, seed: int) -> Events:
    """Events with x as the one feature of their one jet; process 1 is signal."""
    rng = np.random.default_rng(seed)
    process = np.arange(number) % 2
    kind = rng.random(number)
    # n is to the right of b and to the left of s.
    narrow = rng.normal(np.where(process == 1, 0.2, 0.8), 0.4)
    x = np.where(kind < 0.4, rng.normal(process, 1), narrow)
    weight = np.where(kind < 0.7, 1.0, -1.0)
    return Events.of(
        {"jets": Ragged.of(x[:, None], np.ones(number))}, np.zeros((number, 0)), process,
        weight=weight,
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What networks of several samples have learned.

    Attributes
    ----------
    bias
        float64 (seeds, points): logits at `X`, less the best ones.
    auc
        float64 (seeds,): with signed weights, of test events.
    losses
        float64 (seeds, epochs): validation loss.
    """

    bias: NDArray[np.float64]
    auc: NDArray[np.float64]
    losses: NDArray[np.float64]


def outcome(folder: Path, negative: NegativeWeights, seeds: int) -> Outcome:
    """Train networks with independent samples."""
    bias, areas, losses = [], [], []
    test = sample(40_000, 1000)
    is_signal = test.process == 1
    points = Events.of(
        {"jets": Ragged.of(X[:, None], np.ones(len(X)))}, np.zeros((len(X), 0)), np.zeros(len(X))
    )
    for seed in range(seeds):
        events = sample(12_500, seed)
        torch.manual_seed(seed)
        model = AnalysisObjectTransformer(
            {"jets": 1}, 0, 8, 8, 8, 8, 8, 1, num_att_blocks=1, num_class_blocks=1
        )
        fit = fit_network(
            model,
            make_sample(events, np.arange(10_000), [0, 1], negative_weights=negative),
            make_sample(events, np.arange(10_000, 12_500), [0, 1], negative_weights=negative),
            FitSettings(epochs=8, batch_size=250, learning_rate=3e-3, seed=seed),
            checkpoint_dir=folder / "checkpoints",
            log_dir=folder / "logs",
        )
        with torch.no_grad():
            logits, scores = (
                model.forward_packed(PackedBatch.from_events(each))[:, 0].double().numpy()
                for each in (points, test)
            )
        bias.append(logits - (X - 0.5))
        areas.append(auc(scores, test.weight, is_signal).value)
        losses.append([record["val_loss"] for record in fit.history])
    return Outcome(np.array(bias), np.array(areas), np.array(losses))


def test_the_sample_is_what_it_is_said_to_be() -> None:
    events = sample(400_000, 7)
    x, weight = events.objects["jets"].values[:, 0].astype(np.float64), events.weight
    assert (weight < 0).mean() == pytest.approx(0.3, abs=0.003)
    for process in (0, 1):
        own = events.process == process
        for power, moment in ((1, process), (2, 1 + process), (3, 4 * process)):  # of N(process, 1)
            found = (weight * x**power)[own].sum() / weight[own].sum()
            assert found == pytest.approx(moment, abs=0.1)
    assert auc(x, weight, events.process == 1).value == pytest.approx(BEST_AUC, abs=0.01)


def test_signed_weights_give_the_logarithm_of_the_ratio(tmp_path: Path) -> None:
    found = outcome(tmp_path, "keep", seeds=5)
    mean = found.bias.mean(0)
    error = found.bias.std(0, ddof=1) / np.sqrt(5)
    assert (np.abs(mean) < 0.25).all(), mean
    assert (np.abs(mean) < 4 * error).all(), mean / error
    # What the sample allows: 10⁴ events that are worth 1600.
    assert (error < 0.2).all()
    x = sample(40_000, 1000)
    best = auc(x.objects["jets"].values[:, 0].astype(np.float64), x.weight, x.process == 1).value
    assert best is not None
    np.testing.assert_allclose(found.auc, best, atol=0.003)
    # No epoch undoes what was learned.
    assert np.isfinite(found.losses).all()
    rise = found.losses - np.minimum.accumulate(found.losses, axis=1)
    assert rise.max() < 0.01
    assert (found.losses[:, -1] < found.losses[:, 0]).all()


def test_absolute_weights_learn_another_ratio(tmp_path: Path) -> None:
    # Of |weight| the densities are 0.4 f + 0.6 n: the logit at 0 is that of narrow peaks.
    found = outcome(tmp_path, "abs", seeds=2)
    at_zero, at_one = found.bias[:, X == 0], found.bias[:, X == 1]
    assert (at_zero > 1).all()
    assert (at_one < -1).all()
    assert (found.auc < BEST_AUC - 0.1).all()
