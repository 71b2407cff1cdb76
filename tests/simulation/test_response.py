"""The tail of the jets' response, and the weights that undo its enhancement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.reconstruct import ELECTRON, Objects
from particle_transformer.simulation.response import ENHANCED_PT, lose_jets, tail_response

DETECTOR = Detector(tail_fraction=0.01)


@given(
    fraction=st.floats(0.001, 0.05),
    enhancement=st.floats(1, 19),
    pt=st.lists(st.floats(20, 500), min_size=1, max_size=8),
)
def test_every_weight_is_the_ratio_of_probabilities(fraction, enhancement, pt):
    response, weight = tail_response(np.array(pt), fraction, enhancement, np.random.default_rng(1))
    for one, jet_pt, found in zip(response, pt, weight, strict=True):
        drawn = fraction * (enhancement if jet_pt > ENHANCED_PT else 1)
        lost, kept = fraction / drawn, (1 - fraction) / (1 - drawn)
        assert drawn * lost + (1 - drawn) * kept == pytest.approx(1)
        assert found == pytest.approx(lost if one < 1 else kept)


@pytest.mark.parametrize("enhancement", [1.0, 20.0])
def test_the_response_is_that_of_the_declared_density(enhancement):
    pt = np.full(1_000_000, 300.0)
    response, weight = tail_response(pt, 0.01, enhancement, np.random.default_rng(2))
    # P(r < x) = 0.01 x² below 1.
    for edge in (0.25, 0.5, 0.75, 0.999):
        inside = np.where(response < edge, weight, 0)
        error = inside.std() / 1000
        assert inside.mean() == pytest.approx(0.01 * edge**2, abs=4 * error)
        assert error < 0.05 * 0.01 * edge**2 / edge
    if enhancement == 1:
        assert (weight == 1).all()


def test_soft_jets_are_never_enhanced():
    response, weight = tail_response(
        np.full(100_000, ENHANCED_PT), 0.01, 20, np.random.default_rng(3)
    )
    assert (weight == 1).all()
    assert np.mean(response < 1) == pytest.approx(0.01, abs=4 * 0.1 / 316)


def _two_jets(events):
    """Back to back in x: two objects of 100 GeV each, two of 50 GeV each, an electron, a stray."""
    rows = np.array(
        [
            [100, 1, 0, 101],
            [100, -1, 0, 101],
            [-50, 1, 0, 51],
            [-50, -1, 0, 51],
            [0, 80, 0, 80],
            [0, -5, 0, 5],
        ],
        dtype=np.float64,
    )
    kind = np.array([0, 22, 0, 22, ELECTRON, 0])
    return Objects(
        np.repeat(np.arange(events), len(rows)), np.tile(rows, (events, 1)), np.tile(kind, events)
    )


def test_a_jet_is_lost_as_a_whole_and_nothing_else_is():
    pytest.importorskip("fastjet")
    events = 4000
    before = _two_jets(events)
    after, weight = lose_jets(before, events, DETECTOR, 20.0, np.random.default_rng(4))
    scale = (after.momenta[:, 3] / before.momenta[:, 3]).reshape(events, 6)
    np.testing.assert_allclose(after.momenta, before.momenta * scale.reshape(-1, 1), rtol=1e-12)
    np.testing.assert_allclose(scale[:, 0], scale[:, 1], rtol=1e-12)
    np.testing.assert_allclose(scale[:, 2], scale[:, 3], rtol=1e-12)
    assert (scale[:, 4:] == 1).all()  # the electron, and what is too soft for a jet
    hard, soft = scale[:, 0] < 1, scale[:, 2] < 1
    # One of the jets is above 100 GeV: its weights alone differ from 1.
    np.testing.assert_allclose(weight, np.where(hard, 0.05, 0.99 / 0.8))
    assert np.mean(hard) == pytest.approx(0.2, abs=4 * 0.4 / events**0.5)
    assert np.mean(soft) == pytest.approx(0.01, abs=4 * 0.1 / events**0.5)
    # Missing momentum points along the jet that is lost.
    missing = after.missing(events)
    only = hard & ~soft
    gained = missing[only, 0] - before.missing(events)[only, 0]
    np.testing.assert_allclose(gained, 200 * (1 - scale[only, 0]))


def test_events_without_any_jet():
    pytest.importorskip("fastjet")
    stray = Objects(np.array([1]), np.array([[0.0, 5, 0, 5]]), np.array([0]))
    after, weight = lose_jets(stray, 3, DETECTOR, 20.0, np.random.default_rng(5))
    assert weight.tolist() == [1, 1, 1]
    assert after.momenta.tolist() == [[0, 5, 0, 5]]
