"""The known density: that it is one, and that its likelihood ratio is exact."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import auc_unweighted
from particle_transformer.simulation.known_density import MOST_OBJECTS, PairProcess, PointEvents

PROCESS = PairProcess()
EVENTS = 60_000


@pytest.fixture(scope="module")
def sample() -> tuple[PointEvents, np.ndarray]:
    """Events of equal priors and their log likelihood ratio."""
    events = PROCESS.generate(np.arange(2 * EVENTS) % 2 == 1, 7)
    return events, PROCESS.log_likelihood_ratio(events)


def one_event(pt: list[float], eta: list[float], phi: list[float]) -> PointEvents:
    return PointEvents(
        np.array([len(pt)]), np.array(pt), np.array(eta), np.array(phi), np.array([True])
    )


def log_ratio(pt: list[float], eta: list[float], phi: list[float]) -> float:
    return float(PROCESS.log_likelihood_ratio(one_event(pt, eta, phi))[0])


def angle_density(
    pt: tuple[float, float], delta_eta: float, delta_phi: np.ndarray, process: PairProcess = PROCESS
) -> np.ndarray:
    """Density of Δφ of a resonance on the circle, as the class says it, in plain steps."""

    def cumulative(angle: np.ndarray) -> np.ndarray:
        log_m2 = np.log(2 * pt[0] * pt[1] * (np.cosh(delta_eta) - np.cos(angle)))
        away = (log_m2 - np.log(process.mass**2)) / process.mass_width
        return np.asarray(1 / (1 + np.exp(-away)))

    edge = 1e-6
    change = cumulative(delta_phi + edge) - cumulative(delta_phi - edge)
    reach = cumulative(np.array(np.pi)) - cumulative(np.array(0.0))
    # Both signs of Δφ share the peak; what it does not reach is spread over the circle.
    return np.asarray(np.abs(change) / (2 * edge) / 2 + (1 - reach) / (2 * np.pi))


@pytest.mark.parametrize("delta_eta", [0.01, 0.3, 1.5])
@pytest.mark.parametrize("pt", [(60.0, 60.0), (20.0, 35.0), (200.0, 90.0)])
def test_the_ratio_of_a_pair_is_that_of_its_definition(
    pt: tuple[float, float], delta_eta: float
) -> None:
    angles = np.linspace(0.02, 3.1, 50)
    found = PROCESS.pair_ratio(
        (np.full(50, pt[0]), np.full(50, pt[1])), np.full(50, delta_eta), angles
    )
    expected = 2 * np.pi * angle_density(pt, delta_eta, angles)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@given(
    st.floats(5, 500), st.floats(5, 500), st.floats(0.05, 3), st.floats(0.08, 0.6), st.floats(10, 200)
)  # fmt: skip
@settings(deadline=None, max_examples=20)
def test_the_density_of_a_pair_integrates_to_one(
    pt_one: float, pt_other: float, delta_eta: float, width: float, mass: float
) -> None:
    # Every φ₁ and pt and η has the same, so that this is the norm of the pair's whole density.
    angles = (np.arange(40_000) + 0.5) * np.pi / 40_000
    ones = np.ones_like(angles)
    process = PairProcess(mass=mass, mass_width=width)
    ratio = process.pair_ratio((pt_one * ones, pt_other * ones), delta_eta * ones, angles)
    assert ratio.mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
def test_the_ratio_is_the_mean_over_all_orders(number: int) -> None:
    # Signal as it is made: objects in some order, the first two and the next two are pairs.
    rng = np.random.default_rng(number)
    pt, eta = 60 * np.exp(0.5 * rng.normal(size=number)), 0.5 * rng.normal(size=number)
    phi = rng.uniform(-np.pi, np.pi, number)
    products = []
    for order in permutations(range(number)):
        product = 1.0
        for first in (0, 2)[: number // 2]:
            i, j = order[first], order[first + 1]
            angle = np.arccos(np.cos(phi[i] - phi[j]))  # into [0, π]
            density = angle_density((pt[i], pt[j]), eta[i] - eta[j], np.array([angle]))
            product *= 2 * np.pi * float(density[0])
        products.append(product)
    prior = PROCESS.count_probabilities(True)[number] / PROCESS.count_probabilities(False)[number]
    found = log_ratio(list(pt), list(eta), list(phi))
    assert found == pytest.approx(np.log(prior * np.mean(products)), abs=1e-4)


@pytest.mark.parametrize("number", [0, 1])
def test_without_a_pair_only_the_number_counts(number: int) -> None:
    # Poisson probabilities whose truncation at 16 changes the norm by 1e-4 at most.
    expected = -(6.0 - 5.0) + number * np.log(6.0 / 5.0)
    found = log_ratio([50.0] * number, [0.3] * number, [1.0] * number)
    assert found == pytest.approx(expected, abs=2e-4)


def test_the_ratio_has_the_mean_one_in_background(sample: tuple[PointEvents, np.ndarray]) -> None:
    events, logs = sample
    ratio, counts = np.exp(logs[~events.is_signal]), events.counts[~events.is_signal]
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
    signal, background = (PROCESS.count_probabilities(which) for which in (True, False))
    for number in range(2, 11):
        some = ratio[counts == number] * background[number] / signal[number]
        assert abs(some.mean() - 1) < 4.5 * some.std() / np.sqrt(len(some)), number


@pytest.mark.parametrize("least", [0.02, 0.2, 1.0, 5.0])
def test_signal_is_drawn_from_its_density(
    sample: tuple[PointEvents, np.ndarray], least: float
) -> None:
    # P_b(ratio > t) = E_s[1 / ratio; ratio > t]; with t = 0 the variance would be infinite.
    events, logs = sample
    inverse = np.where(logs > np.log(least), np.exp(-logs), 0)[events.is_signal]
    above = (logs > np.log(least))[~events.is_signal]
    error = np.sqrt((inverse.var() + above.var()) / EVENTS)
    assert abs(inverse.mean() - above.mean()) < 4 * error


def test_calibrated_at_equal_priors(sample: tuple[PointEvents, np.ndarray]) -> None:
    events, logs = sample
    probability = 1 / (1 + np.exp(-logs))
    order = np.argsort(probability)
    pulls = []
    for some in np.array_split(order, 20):
        expected = probability[some]
        error = np.sqrt((expected * (1 - expected)).sum())
        pulls.append((events.is_signal[some].sum() - expected.sum()) / error)
    assert np.abs(pulls).max() < 4
    assert np.square(pulls).sum() < 45.3  # χ² of 20 bins, one in a thousand


def test_the_optimum_is_hard_but_not_hopeless(sample: tuple[PointEvents, np.ndarray]) -> None:
    events, logs = sample
    best = auc_unweighted(logs, events.is_signal).value
    assert best is not None
    assert 0.80 < best < 0.92
    number = auc_unweighted(events.counts.astype(float), events.is_signal).value
    assert number is not None
    assert number < 0.65


def test_single_objects_tell_nothing(sample: tuple[PointEvents, np.ndarray]) -> None:
    events, _ = sample
    owner = np.repeat(events.is_signal, events.counts)
    for name in ("pt", "eta", "phi"):
        values = np.sort(getattr(events, name))
        signal, background = (
            np.searchsorted(np.sort(getattr(events, name)[owner == which]), values)
            / np.count_nonzero(owner == which)
            for which in (True, False)
        )
        # Kolmogorov–Smirnov at one in ten thousand; objects of a pair share their φ in part.
        critical = 2.2 * np.sqrt(1 / owner.sum() + 1 / (~owner).sum())
        assert np.abs(signal - background).max() < 1.5 * critical, name


def test_the_masses_of_pairs_peak() -> None:
    # Events of two objects: the decay is the whole event.
    process = PairProcess(mean_background=0.5, mean_signal=2.0)
    events = process.generate(np.ones(40_000, dtype=bool), 3)
    start = (np.cumsum(events.counts) - events.counts)[events.counts == 2]
    pt, eta, phi = (getattr(events, name) for name in ("pt", "eta", "phi"))
    opening = np.cosh(eta[start] - eta[start + 1]) - np.cos(phi[start] - phi[start + 1])
    log_m2 = np.log(2 * pt[start] * pt[start + 1] * opening)
    within = np.abs(log_m2 - 2 * np.log(process.mass)) < 2 * process.mass_width
    # Logistic: tanh(1) within two widths, less what the pair's pt and η do not reach.
    assert 0.4 < within.mean() < np.tanh(1)


@given(st.integers(0, MOST_OBJECTS), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_symmetries(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pt, eta = 60 * np.exp(rng.normal(size=number)), rng.normal(size=number)
    phi = rng.uniform(-np.pi, np.pi, number)
    found = log_ratio(list(pt), list(eta), list(phi))
    assert np.isfinite(found)
    order = rng.permutation(number)
    assert log_ratio(list(pt[order]), list(eta[order]), list(phi[order])) == pytest.approx(
        found, abs=1e-9
    )
    assert log_ratio(list(pt), list(-eta), list(phi + 1.0)) == pytest.approx(found, abs=1e-6)


def test_objects_in_one_direction() -> None:
    assert np.isfinite(log_ratio([50.0] * 4, [0.2] * 4, [1.0] * 4))


def test_other_events_change_nothing_and_the_seed_gives_the_same_events() -> None:
    is_signal = np.arange(3000) % 3 == 0
    events = PROCESS.generate(is_signal, 5)
    again = PROCESS.generate(is_signal, 5)
    assert np.array_equal(events.phi, again.phi)
    assert not np.array_equal(events.pt, PROCESS.generate(is_signal, 6).pt)
    start = np.cumsum(events.counts) - events.counts
    logs = PROCESS.log_likelihood_ratio(events)
    for row in (0, 17, 2999):
        mine = slice(start[row], start[row] + events.counts[row])
        alone = log_ratio(list(events.pt[mine]), list(events.eta[mine]), list(events.phi[mine]))
        assert alone == pytest.approx(logs[row], abs=1e-12)


def test_chunks_are_all_events_in_order() -> None:
    events = PROCESS.generate(np.arange(45_000) % 2 == 0, 1)
    parts = list(events.chunks())
    assert [len(part) for part in parts] == [20_000, 20_000, 5_000]
    for name in ("counts", "pt", "eta", "phi", "is_signal"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(events, name)), name


def test_what_the_network_sees() -> None:
    point = PointEvents(
        np.array([0, 2]), np.array([10.0, 20.0]), np.array([0.0, 1.0]), np.array([0.0, np.pi / 2]),
        np.array([False, True]),
    )  # fmt: skip
    events = point.to_events()
    objects = events.objects["objects"]
    assert objects.offsets.tolist() == [0, 0, 2]
    np.testing.assert_allclose(
        objects.values, np.array([[np.log(10), 0, 1, 0], [np.log(20), 1, 0, 1]]), atol=1e-6
    )
    assert objects.momenta is not None
    np.testing.assert_allclose(
        objects.momenta,
        np.array([[10, 0, 0, 10], [0, 20, 23.504024, 30.861613]]),
        rtol=1e-6,
        atol=1e-5,
    )
    assert (events.event.tolist(), events.process.tolist()) == ([[0], [2]], [0, 1])


def test_bad_input() -> None:
    empty = np.empty(0)
    with pytest.raises(SampleError, match=r"^mass_width: got 0, expected a positive number$"):
        PairProcess(mass_width=0)
    with pytest.raises(SampleError, match=r"^counts: got 17 objects in an event, expected 0 to 16"):
        PointEvents(np.array([17]), np.ones(17), np.ones(17), np.ones(17), np.array([True]))
    with pytest.raises(SampleError, match=r"^counts: got -1 objects"):
        PointEvents(np.array([-1]), empty, empty, empty, np.array([True]))
    with pytest.raises(SampleError, match=r"^phi: got \(0,\), expected \(2,\)$"):
        PointEvents(np.array([2]), np.ones(2), np.ones(2), empty, np.array([True]))
    with pytest.raises(SampleError, match=r"^is_signal: got \(2,\), expected \(1,\)$"):
        PointEvents(np.array([0]), empty, empty, empty, np.array([True, False]))


def test_no_event_at_all() -> None:
    events = PROCESS.generate(np.empty(0, dtype=bool), 1)
    assert PROCESS.log_likelihood_ratio(events).shape == (0,)
    assert len(events.to_events()) == 0
