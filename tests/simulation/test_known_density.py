"""The known density: that it is one, and that its likelihood ratio is exact."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import auc_unweighted
from particle_transformer.simulation.known_density import PairProcess
from particle_transformer.simulation.point_events import MOST_OBJECTS, PointEvents

PROCESS = PairProcess()
EVENTS = 60_000
COLUMNS = ("pt", "eta", "phi", "mass", "tag")


@pytest.fixture(scope="module")
def sample() -> tuple[PointEvents, np.ndarray]:
    """Events of equal priors and their log likelihood ratio."""
    events = PROCESS.generate(np.arange(2 * EVENTS) % 2 == 1, 7)
    return events, PROCESS.log_likelihood_ratio(events)


def random_objects(number: int, seed: int) -> np.ndarray:
    """pt, η, φ, mass and tag, about as those of background; float64 (5, number)."""
    rng = np.random.default_rng(seed)
    pt, eta = 60 * np.exp(0.5 * rng.normal(size=number)), rng.normal(size=number)
    phi, tag = rng.uniform(-np.pi, np.pi, number), rng.uniform(-1, 1, number)
    return np.stack([pt, eta, phi, 0.1 * pt * np.exp(0.4 * rng.normal(size=number)), tag])


def log_ratio(objects: np.ndarray) -> float:
    """Of one event, objects (5, number)."""
    pt, eta, phi, mass, tag = objects
    number = np.array([objects.shape[1]])
    event = PointEvents(number, pt, eta, phi, mass, tag, np.array([True]))
    return float(PROCESS.log_likelihood_ratio(event)[0])


def peak(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> float:
    """g of two objects, (2,) each, from their momenta as the class says it."""
    momenta = pt * np.stack([np.cosh(eta), np.cos(phi), np.sin(phi), np.sinh(eta)])  # E, p: (4, 2)
    energy, *momentum = momenta.sum(1)
    m2 = energy**2 - np.square(momentum).sum()
    return float(np.exp(-(np.log(m2 / PROCESS.resonance**2) ** 2) / (2 * PROCESS.resolution**2)))


def marks(mass_ratio: float, tag: float) -> float:
    """Density of the marks of a decay product over that of another object's."""
    process = PROCESS
    logs, width = np.log(mass_ratio / process.mass_ratio), process.mass_ratio_width
    heavy = norm.pdf(logs, process.mass_ratio_shift, width) / norm.pdf(logs, 0, width)
    return float(heavy * (1 + process.tag_slope * tag) / (1 - process.tag_slope * tag))


@pytest.mark.parametrize(
    "process",
    [PROCESS, PairProcess(eta_width=0.3, resolution=0.2), PairProcess(resonance=200, pt_width=0.3)],
)
def test_the_density_of_a_pair_integrates_to_one(process: PairProcess) -> None:
    # Nested quadrature over log(pt₁ pt₂), Δη and Δφ, in the place of a convolution and of sums.
    s, weight = np.polynomial.hermite_e.hermegauss(60)
    pt = process.pt * np.exp(process.pt_width * s / np.sqrt(2))  # each of two of equal pt

    def of_eta(delta_eta: float) -> float:
        def of_phi(delta_phi: float) -> float:
            shape = np.ones_like(pt)
            ratio = process.peak_ratio((pt, pt), delta_eta * shape, delta_phi * shape)
            return float(ratio @ weight / weight.sum())

        density = norm.pdf(delta_eta, 0, np.sqrt(2) * process.eta_width)
        return float(density * quad(of_phi, 0, np.pi, epsabs=1e-6)[0] / np.pi)

    total = 2 * quad(of_eta, 0, 9 * process.eta_width, epsabs=1e-6)[0]
    assert total == pytest.approx(1, abs=2e-5)


def test_the_densities_of_the_marks_integrate_to_one() -> None:
    width, ratio = PROCESS.mass_ratio_width, PROCESS.mass_ratio
    logs = np.linspace(-9, 9, 3001) * width
    other = norm.pdf(logs, 0, width)
    heavy = PROCESS.object_ratio(ratio * np.exp(logs), np.zeros_like(logs))
    assert np.trapezoid(heavy * other, logs) == pytest.approx(1, abs=1e-9)
    tag = np.linspace(-1, 1, 3001)
    tagged = PROCESS.object_ratio(np.full_like(tag, ratio), tag) / PROCESS.object_ratio(
        np.array([ratio]), np.zeros(1)
    )
    assert np.trapezoid(tagged * (1 - PROCESS.tag_slope * tag) / 2, tag) == pytest.approx(1)


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
def test_the_ratio_is_the_mean_over_all_orders(number: int) -> None:
    # Signal as it is made: objects in some order, the first two and the next two are pairs.
    objects = random_objects(number, number)
    pt, eta, phi, mass, tag = objects
    products = []
    for order in permutations(range(number)):
        product = 1.0
        for first in (0, 2)[: number // 2]:
            pair = list(order[first : first + 2])
            product *= peak(pt[pair], eta[pair], phi[pair]) / PROCESS.peak_mean
            product *= float(np.prod([marks(mass[one] / pt[one], tag[one]) for one in pair]))
        products.append(product)
    prior = PROCESS.count_probabilities(True)[number] / PROCESS.count_probabilities(False)[number]
    assert log_ratio(objects) == pytest.approx(np.log(prior * np.mean(products)), abs=1e-8)


@pytest.mark.parametrize("number", [0, 1])
def test_without_a_pair_only_the_number_counts(number: int) -> None:
    # Poisson probabilities whose truncation at 16 changes the norm by 1e-4 at most.
    expected = -(6.0 - 5.0) + number * np.log(6.0 / 5.0)
    assert log_ratio(random_objects(number, 1)) == pytest.approx(expected, abs=2e-4)


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


def test_background_weighted_by_the_ratio_is_signal(
    sample: tuple[PointEvents, np.ndarray],
) -> None:
    # E_b[ratio × x] = E_s[x] for what can be said of an event: the ratio belongs to these events.
    events, logs = sample
    start = np.minimum(np.cumsum(events.counts) - events.counts, len(events.pt) - 2)
    pair = [events.phi[start] - events.phi[start + 1], events.eta[start] - events.eta[start + 1]]
    quantities = {
        "number": events.counts,
        "tag": events.tag[start],
        "tags": events.tag[start] * events.tag[start + 1],
        "mass": np.log(events.mass[start] / events.pt[start]),
        "pt": np.log(events.pt[start]),
        "eta": events.eta[start] ** 2,
        "cosine": np.cos(pair[0]),
        "apart": pair[1] ** 2,
    }
    ratio = np.exp(logs)
    for name, quantity in quantities.items():
        chosen = events.counts >= 2
        values = np.where(chosen, quantity, 0)
        signal, background = values[events.is_signal], (ratio * values)[~events.is_signal]
        error = np.sqrt((signal.var() + background.var()) / EVENTS)
        assert abs(signal.mean() - background.mean()) < 4 * error, name


def test_the_optimum_is_hard_but_not_hopeless(sample: tuple[PointEvents, np.ndarray]) -> None:
    events, logs = sample
    without = PROCESS.log_likelihood_ratio(events, masses_of_pairs=False)
    above_half = {}
    for name, score in (
        ("best", logs), ("without", without), ("number", events.counts.astype(float))
    ):  # fmt: skip
        value = auc_unweighted(score, events.is_signal).value
        assert value is not None
        above_half[name] = value - 0.5
    assert 0.30 < above_half["best"] < 0.42
    assert above_half["number"] < 0.13
    assert above_half["without"] < 0.76 * above_half["best"]


def test_the_masses_of_pairs_peak() -> None:
    # Events of two objects: the decay is the whole event. The density of log m² is that of
    # independent objects times the peak, which is all there is when it is narrow.
    process = PairProcess(mean_background=0.5, mean_signal=2.0, resolution=0.02)
    events = process.generate(np.ones(10_000, dtype=bool), 3)
    start = (np.cumsum(events.counts) - events.counts)[events.counts == 2]
    pt, eta, phi = (getattr(events, name) for name in ("pt", "eta", "phi"))
    opening = np.cosh(eta[start] - eta[start + 1]) - np.cos(phi[start] - phi[start + 1])
    away = np.log(2 * pt[start] * pt[start + 1] * opening) - 2 * np.log(process.resonance)
    error = process.resolution / np.sqrt(len(away))
    assert abs(away.mean()) < 5 * error
    assert away.std() == pytest.approx(process.resolution, rel=0.06)


@given(st.integers(0, MOST_OBJECTS), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_symmetries(number: int, seed: int) -> None:
    objects = random_objects(number, seed)
    found = log_ratio(objects)
    assert np.isfinite(found)
    order = np.random.default_rng(seed).permutation(number)
    assert log_ratio(objects[:, order]) == pytest.approx(found, abs=1e-9)
    pt, eta, phi, mass, tag = objects
    turned = np.stack([pt, -eta, phi + 1.0, mass, tag])
    assert log_ratio(turned) == pytest.approx(found, abs=1e-6)


def test_objects_in_one_direction() -> None:
    same = random_objects(1, 3).repeat(3, axis=1)
    with np.errstate(divide="ignore"):
        assert log_ratio(same) == -np.inf  # no signal event is like this
    one_pair = np.concatenate([same[:, :2], random_objects(3, 4)], axis=1)
    assert np.isfinite(log_ratio(one_pair))


def test_other_events_change_nothing_and_the_seed_gives_the_same_events() -> None:
    is_signal = np.arange(3000) % 3 == 0
    events = PROCESS.generate(is_signal, 5)
    again = PROCESS.generate(is_signal, 5)
    columns = np.stack([getattr(events, name) for name in COLUMNS])
    assert np.array_equal(columns, np.stack([getattr(again, name) for name in COLUMNS]))
    assert not np.array_equal(events.pt, PROCESS.generate(is_signal, 6).pt)
    start = np.cumsum(events.counts) - events.counts
    logs = PROCESS.log_likelihood_ratio(events)
    for row in (0, 17, 2999):
        alone = log_ratio(columns[:, start[row] : start[row] + events.counts[row]])
        assert alone == pytest.approx(logs[row], abs=1e-12)


def test_bad_process() -> None:
    with pytest.raises(SampleError, match=r"^resolution: got 0, expected a positive number$"):
        PairProcess(resolution=0)
    with pytest.raises(SampleError, match=r"^tag_slope: got 1, expected a number between 0 and 1$"):
        replace(PROCESS, tag_slope=1)


def test_no_event_at_all() -> None:
    events = PROCESS.generate(np.empty(0, dtype=bool), 1)
    assert PROCESS.log_likelihood_ratio(events).shape == (0,)
    assert len(events.to_events()) == 0
