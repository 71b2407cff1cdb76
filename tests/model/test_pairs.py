"""The pairwise features and the bias made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from model.samples import random_momenta
from particle_transformer.model.packing import EventGrid, PairList
from particle_transformer.model.pairs import PairBias, pair_features


def _pair(*rows: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (torch.tensor([row], dtype=torch.float64) for row in rows)
    return first, second


def test_two_massless_back_to_back_objects() -> None:
    # pt = 40 and 60 at η = 0, Δφ = π: Δ = π, m² = 4 · 40 · 60.
    features = pair_features(*_pair([40.0, 0, 0, 40.0], [-60.0, 0, 0, 60.0]))
    expected = [math.log(math.pi), math.log(40 * math.pi), math.log(0.4), math.log(9600)]
    assert_close(features, torch.tensor([expected], dtype=torch.float64))


def test_rapidity_and_not_pseudorapidity_enters() -> None:
    # A heavy object, y = ½ ln((E + pz)/(E − pz)) = ½ ln 3, at the φ of a central massless one.
    features = pair_features(*_pair([10.0, 0, 20.0, 40.0], [10.0, 0, 0, 10.0]))
    assert float(features[0, 0]) == pytest.approx(math.log(0.5 * math.log(3)))


def test_float32_keeps_the_digits_of_close_energetic_objects() -> None:
    # (E₁ + E₂)² − |p₁ + p₂|² in float32 would lose them: E ~ 2 TeV, m ~ 10 GeV.
    rng = np.random.default_rng(0)
    pt, eta, phi = (
        500 + 50 * rng.random((2, 200)),
        2.0 + 0.01 * rng.random((2, 200)),
        0.01 * rng.random((2, 200)),
    )
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1)
    exact = pair_features(torch.from_numpy(p[0]), torch.from_numpy(p[1]))
    single = pair_features(torch.from_numpy(p[0]).float(), torch.from_numpy(p[1]).float())
    # Single masses have float32 noise E² 1e-7 ~ 0.5 GeV² of their own.
    wide = exact[:, 3] > math.log(5)
    assert wide.sum() > 50
    assert_close(single[wide].double(), exact[wide], rtol=0, atol=0.35)
    assert_close(single[:, :3].double(), exact[:, :3], rtol=0, atol=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-4, 4))
def test_features_are_symmetric_and_turn_with_phi(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = torch.from_numpy(random_momenta(rng, (2, 20)))
    features = pair_features(a, b)
    assert_close(pair_features(b, a), features)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    assert_close(pair_features(a @ turn, b @ turn), features, rtol=1e-7, atol=1e-7)
    mirror = torch.tensor([1.0, 1.0, -1.0, 1.0])
    assert_close(pair_features(a * mirror, b * mirror), features)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.0, 0, 0, 0], [0.0, 0, 0, 0]),
        ([0.0, 0, 0, 0], [30.0, 40, 10, 60]),
        ([30.0, 40, 10, 60], [30.0, 40, 10, 60]),
        ([30.0, 40, 10, 60], [-30.0, -40, 10, 60]),
        ([0.0, 0, 500, 500], [0.0, 0, -500, 500]),
        ([0.0, 0, 6500, 6500], [1.0, 0, 0, 1]),
        ([30.0, 40, 10, 1.0], [-30.0, 40, 10, 0.0]),  # |p| > E
        ([3e4, 4e4, 1e5, 2e5], [1e-4, 0, 0, 1e-4]),
    ],
)
def test_degenerate_momenta_have_finite_features_and_gradients(
    first: list[float], second: list[float]
) -> None:
    a, b = (torch.tensor([row], requires_grad=True) for row in (first, second))
    features = pair_features(a, b)
    assert features.isfinite().all()
    torch.autograd.backward(features.sum())
    for momentum in (a, b):
        assert momentum.grad is not None
        assert momentum.grad.isfinite().all()


def test_the_bias_is_symmetric_and_zero_for_selves_and_empty_slots() -> None:
    torch.manual_seed(0)
    bias = PairBias(num_heads=3, hidden=[5, 4])
    offsets = torch.tensor([0, 3, 3, 4, 6])
    pairs = PairList.from_offsets(offsets)
    momenta = torch.from_numpy(random_momenta(np.random.default_rng(0), (6,))).float()
    rows = bias(momenta[pairs.first], momenta[pairs.second])  # (4, 3)
    values = pairs.spread(rows, EventGrid.from_offsets(offsets))  # (4, 3, 3, 3)
    assert values.shape == (4, 3, 3, 3)
    assert torch.equal(values, values.transpose(2, 3))
    assert (values.diagonal(dim1=2, dim2=3) == 0).all()
    counts = [3, 0, 1, 2]
    for event, count in enumerate(counts):
        assert (values[event, :, count:] == 0).all()
        off_diagonal = values[event, :, :count, :count][:, ~torch.eye(count, dtype=torch.bool)]
        assert (off_diagonal != 0).all()
    # The pair of the last event by hand: rows 4 and 5.
    features = pair_features(momenta[4:5], momenta[5:6])
    expected = bias.layers((features - bias.centre) / bias.spread)[0]
    assert_close(values[3, :, 0, 1], expected)
