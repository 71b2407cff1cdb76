from __future__ import annotations

import numpy as np
import pytest

from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.jets import GHOST_AREA, btag_scores, cluster

fastjet = pytest.importorskip("fastjet")

DETECTOR = Detector()


def vector(pt, eta, phi):
    pt, eta, phi = np.broadcast_arrays(np.asarray(pt, float), eta, phi)
    return np.stack(
        [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=-1
    )


def run(event, momenta, events, hadrons=(), seed=1):
    """Cluster; `hadrons` are (event, flavour, pt, eta, phi)."""
    heavy = np.array(hadrons, dtype=float).reshape(-1, 5)
    return cluster(
        np.asarray(event, dtype=int),
        momenta,
        heavy[:, 0].astype(int),
        vector(heavy[:, 2], heavy[:, 3], heavy[:, 4]),
        heavy[:, 1].astype(int),
        events,
        DETECTOR,
        np.random.default_rng(seed),
    )


def test_jets_equal_those_without_ghosts():
    random = np.random.default_rng(5)
    events, each = 10, 150
    event = np.repeat(np.arange(events), each)
    momenta = vector(
        random.exponential(8, events * each),
        random.uniform(-4, 4, events * each),
        random.uniform(-3.1, 3.1, events * each),
    )
    jets = run(event, momenta, events)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)
    for number in range(events):
        particles = [fastjet.PseudoJet(*p.tolist()) for p in momenta[event == number]]
        sequence = fastjet._swig.ClusterSequence(particles, definition)
        expected = [
            [jet.px(), jet.py(), jet.pz(), jet.e()]
            for jet in fastjet.sorted_by_pt(sequence.inclusive_jets(20.0))
            if abs(jet.eta()) < 4.7
        ]
        assert len(expected) > 3
        np.testing.assert_allclose(jets.momenta[jets.event == number], expected, rtol=1e-9)


def test_the_area_of_a_lone_hard_particle_is_a_circle():
    events = 300
    eta = np.linspace(-4, 4, events)
    jets = run(np.arange(events), vector(100, eta, 3.1), events)
    assert len(jets.area) == events
    # The ghosts' positions are random within their cells: fewer fluctuations than Poisson's.
    spread = np.sqrt(np.pi * 0.16 * GHOST_AREA)
    assert jets.area.mean() == pytest.approx(np.pi * 0.16, abs=5 * spread / np.sqrt(events))
    assert jets.area.std() < spread


def test_flavour_comes_from_the_heaviest_hadron_inside():
    centres = [(0, 0.0, 0.0), (0, 1.5, 2.0), (0, -1.5, -2.0), (1, 0.0, 0.0)]
    momenta = np.array([vector(100 - i, eta, phi) for i, (_, eta, phi) in enumerate(centres)])
    jets = run(
        [event for event, _, _ in centres],
        momenta,
        3,  # the last event is empty
        hadrons=[(0, 4, 50, 0.1, 0.1), (0, 5, 9, -0.1, 0.2), (0, 4, 50, 1.4, 2.1), (1, 5, 9, 2, 2)],
    )
    assert jets.event.tolist() == [0, 0, 0, 1]
    assert jets.flavour.tolist() == [5, 4, 0, 0]
    np.testing.assert_allclose(jets.momenta, momenta, rtol=1e-9, atol=1e-90)  # ghosts weigh nothing


def test_no_event_gives_no_jet():
    assert len(run([], np.zeros((0, 4)), 0).event) == 0
    assert len(run([], np.zeros((0, 4)), 2).event) == 0


@pytest.mark.parametrize(("flavour", "rate"), [(5, 0.75), (4, 0.15), (0, 0.01)])
def test_btag_rates_are_those_configured(flavour, rate):
    count = 200_000
    scores = btag_scores(
        np.full(count, flavour), np.linspace(-2.49, 2.49, count), DETECTOR, np.random.default_rng(2)
    )
    assert ((scores > 0) & (scores < 1)).all()
    passing = np.mean(scores > DETECTOR.btag_threshold)
    assert passing == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / count))


def test_btag_curve_has_the_documented_working_points():
    count = 400_000
    random = np.random.default_rng(3)
    b, light = (
        btag_scores(np.full(count, flavour), np.zeros(count), DETECTOR, random)
        for flavour in (5, 0)
    )
    for mistag, efficiency in ((0.1, 0.91), (0.001, 0.57)):
        assert np.mean(b > np.quantile(light, 1 - mistag)) == pytest.approx(efficiency, abs=0.01)


def test_beyond_the_tracker_every_jet_scores_as_a_light_one():
    count = 100_000
    scores = btag_scores(
        np.full(count, 5), np.full(count, -2.6), DETECTOR, np.random.default_rng(4)
    )
    passing = np.mean(scores > DETECTOR.btag_threshold)
    assert passing == pytest.approx(0.01, abs=5 * np.sqrt(0.01 / count))
