from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.leptons import isolated_leptons
from particle_transformer.simulation.reconstruct import Objects, reconstruct

DETECTOR = Detector()
PERFECT = replace(DETECTOR, track_efficiency=(1, 1), muon_efficiency=(1, 1))


def vector(pt, eta, phi, mass=0.0):
    pt, eta, phi = np.broadcast_arrays(np.asarray(pt, float), eta, phi)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2)], axis=-1)


def see(identity, charge, momenta, detector=PERFECT, event=None, seed=1):
    momenta = np.atleast_2d(momenta)
    count = len(momenta)
    return reconstruct(
        np.zeros(count, int) if event is None else event,
        np.broadcast_to(identity, count).astype(np.int64),
        np.broadcast_to(charge, count).astype(float),
        momenta,
        detector,
        np.random.default_rng(seed),
    )


def pt_of(objects):
    return np.hypot(objects.momenta[:, 0], objects.momenta[:, 1])


@pytest.mark.parametrize(
    ("identity", "charge", "eta", "seen"),
    [
        (12, 0, 0.0, False),
        (-16, 0, 0.0, False),
        (13, -1, 2.3, True),
        (13, -1, 2.45, False),  # beyond the muon chambers: no track, and no calorimeter
        (22, 0, 4.9, True),
        (22, 0, 5.1, False),
        (211, 1, 4.9, True),  # no track there, but the calorimeter
        (211, 1, 5.1, False),
        (2112, 0, 0.0, True),
        (11, -1, 2.0, True),
    ],
)
def test_acceptance(identity, charge, eta, seen):
    assert len(see(identity, charge, vector(100, eta, 1.0)).event) == seen


@pytest.mark.parametrize(
    ("identity", "charge", "pt", "eta", "relative"),
    [
        # The formulas of the Delphes CMS card by hand; E = pt·cosh(η).
        (211, 1, 100.0, 0.0, np.hypot(0.01, 1.5e-4 * 100)),
        (13, -1, 200.0, 1.0, np.hypot(0.015, 1.5e-4 * 200)),
        (22, 0, 50.0, 0.0, np.sqrt(0.008**2 + 0.11**2 / 50 + (0.40 / 50) ** 2)),
        (2112, 0, 80.0, 0.0, np.sqrt(0.05**2 + 1.5**2 / 80)),
        (2112, 0, 20.0, 3.5, np.sqrt(0.13**2 + 2.7**2 / (20 * np.cosh(3.5)))),
        (11, -1, 50.0, 0.0, np.sqrt(0.008**2 + 0.11**2 / 50 + (0.40 / 50) ** 2)),
    ],
)
def test_resolution_and_scale(identity, charge, pt, eta, relative):
    count = 20_000
    phi = np.linspace(-3, 3, count)
    ratio = pt_of(see(identity, charge, vector(pt, eta, phi), event=np.arange(count))) / pt
    assert len(ratio) == count
    assert ratio.mean() == pytest.approx(1, abs=5 * relative / np.sqrt(count))
    # The error of a standard deviation; twice it for the log-normal's larger tail.
    assert ratio.std() == pytest.approx(relative, rel=10 / np.sqrt(2 * count))


def test_track_efficiency():
    count = 20_000
    momenta = vector(10.0, np.where(np.arange(count) % 2, 0.5, 2.0), np.linspace(-3, 3, count))
    seen = see(13, -1, momenta, DETECTOR, event=np.arange(count)).event
    for half, expected in ((1, 0.99 * 0.95), (0, 0.98 * 0.95)):
        found = np.count_nonzero(seen % 2 == half) / (count / 2)
        assert found == pytest.approx(expected, abs=5 * np.sqrt(expected * 0.1 / (count / 2)))


def test_neutral_particles_of_one_cell_are_one_tower_and_events_stay_apart():
    momenta = np.concatenate([vector([30, 20], 0.501, 1.001), vector(25, 0.501, 1.001)[None]])
    objects = see(22, 0, momenta, event=np.array([0, 0, 1]))
    assert objects.event.tolist() == [0, 1]
    assert pt_of(objects) == pytest.approx([50, 25], rel=0.15)


@pytest.mark.filterwarnings("error")
def test_a_photon_without_momentum_is_nothing():
    momenta = vector([30, 20], 0.501, [1.001, 2.001])
    with_nothing = np.concatenate([momenta, np.zeros((1, 4))])
    objects = see(22, 0, with_nothing)
    assert pt_of(objects) == pytest.approx([30, 20], rel=0.15)


def test_missing_momentum_balances_what_is_seen():
    random = np.random.default_rng(3)
    count, events = 5000, 40
    event = np.sort(random.integers(0, events, count))
    identity = random.choice([22, 211, -211, 130, 13, 11, 12, 2212], count)
    charge = np.select([identity == 22, identity == 130, identity == 12], [0, 0, 0], 1)
    momenta = vector(
        random.exponential(10, count), random.uniform(-6, 6, count), random.uniform(-3, 3, count)
    )
    objects = see(identity, charge, momenta, DETECTOR, event)
    assert (np.diff(objects.event) >= 0).all()
    missing = objects.missing(events)
    for number in range(events):
        own = objects.momenta[objects.event == number]
        assert missing[number] == pytest.approx(-own[:, :2].sum(axis=0), abs=1e-9)
    # The part of the events that is kept gives the same numbers for these events.
    kept = random.random(events) < 0.5
    assert objects.of(kept).missing(int(kept.sum())) == pytest.approx(missing[kept])


def objects_of(*entries):
    return Objects(
        np.zeros(len(entries), int),
        np.array([vector(*entry[:3]) for entry in entries]),
        np.array([entry[3] for entry in entries]),
    )


SURE = replace(DETECTOR, electron_efficiency=(1, 1))


def test_isolation_is_the_scalar_sum_in_the_cone_over_pt():
    objects = objects_of(
        (40, 0.0, 3.1, 13),
        (2, 0.1, -3.1, 0),  # within the cone, across φ = ±π
        (3, -0.2, 3.1, 22),
        (50, 0.5, 3.1, 0),  # outside
    )
    leptons = isolated_leptons(objects, SURE, np.random.default_rng(1))
    assert leptons.kind.tolist() == [13]
    assert leptons.isolation == pytest.approx([5 / 40])
    assert leptons.used.tolist() == [True, False, False, False]


def test_a_lepton_in_a_jet_stays_in_the_jet():
    objects = objects_of((40, 0.0, 1.0, -13), (20, 0.1, 1.0, 0))
    leptons = isolated_leptons(objects, SURE, np.random.default_rng(1))
    assert not leptons.used.any()
    assert leptons.momenta.shape == (0, 4)


def test_an_electron_takes_in_its_bremsstrahlung_a_muon_does_not():
    near = (30, 0.05, 1.0, 22)
    electron = isolated_leptons(
        objects_of((60, 0.0, 1.0, -11), near), SURE, np.random.default_rng(1)
    )
    assert np.hypot(*electron.momenta[0, :2]) == pytest.approx(90)
    assert electron.used.all()
    assert electron.isolation.tolist() == [0]
    muon = isolated_leptons(objects_of((60, 0.0, 1.0, -13), near), SURE, np.random.default_rng(1))
    assert len(muon.kind) == 0  # 30 GeV beside 60 GeV: not isolated
