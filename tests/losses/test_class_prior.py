"""Probabilities of several classes refer to half signal, half background as it is expected."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.events.packed import PackedBatch
from particle_transformer.losses import TrainingWeights
from particle_transformer.losses.class_prior import class_offsets
from particle_transformer.losses.signal_score import signal_score
from particle_transformer.training.batch import Batch
from particle_transformer.training.objective import Objective

# Signal, two processes of one background class, and a rare class of its own.
CLASSES = np.array([0, 1, 1, 2])


def fitted(yields: list[float], balance: str) -> TrainingWeights:
    process = np.repeat(np.arange(4), 50)
    weight = np.array(yields)[process] / 50
    return TrainingWeights.fit([(weight, process)], CLASSES, balance=balance)  # type: ignore[arg-type]


def test_offsets_by_hand() -> None:
    """Yields 1, 30 + 60, 10; in training a third each, in the prior 1/2, 0.45, 0.05."""
    offsets = class_offsets(fitted([1.0, 30.0, 60.0, 10.0], "class"), CLASSES)
    assert offsets == pytest.approx(np.log([2 / 3, 1 / 3 / 0.45, 1 / 3 / 0.05]))


@given(
    st.lists(st.floats(0.01, 1000.0), min_size=4, max_size=4), st.sampled_from(["class", "process"])
)
def test_the_best_logits_are_those_of_the_expected_mixture(
    yields: list[float], balance: str
) -> None:
    """Without features the best logits are constants: a signal probability of one half."""
    weights = fitted(yields, balance)
    offsets = class_offsets(weights, CLASSES)
    sums = np.bincount(CLASSES, weights.sums)
    # What minimises the weighted cross-entropy of logits + offsets: ln of the classes' sums.
    logits = np.log(sums) - offsets
    probability = np.exp(logits) / np.exp(logits).sum()
    expected = np.array([0.0, yields[1] + yields[2], yields[3]])
    expected[0] = expected[1:].sum()
    assert probability == pytest.approx(expected / expected.sum())


def test_a_trained_score_is_the_likelihood_ratio_of_the_mixture() -> None:
    """A feature of three values with known densities, logits free for each: exact optimum."""
    density = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
    yields = [1.0, 30.0, 60.0, 10.0]
    process, value = (grid.ravel() for grid in np.meshgrid(range(4), range(3), indexing="ij"))
    physics = (np.array(yields)[:, None] * density).ravel()
    weights = TrainingWeights.fit([(physics, process)], CLASSES)
    objective = Objective(offsets=tuple(class_offsets(weights, CLASSES).tolist()))
    weight = torch.tensor(weights(physics, process))
    table = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([table], max_iter=200, line_search_fn="strong_wolfe")
    batch = Batch(
        events=PackedBatch({}, {}, torch.zeros(len(value), 0)), target=torch.tensor(CLASSES[process]),
        weight=weight, spectators=torch.zeros(len(value), 0), physics_weight=torch.tensor(physics),
        process=torch.tensor(process),
    )  # fmt: skip

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        total = objective.terms(table[value], None, batch, None)["classification"]
        total.backward()
        return total

    optimiser.step(loss)
    found = signal_score(table.detach()).numpy()
    background = (30 * density[1] + 60 * density[2] + 10 * density[3]) / 100
    assert found == pytest.approx(density[0] / (density[0] + background), abs=1e-5)
