"""Bias-corrected distance correlation, against sums over quadruples of events written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import distance_correlation_squared, poisson_bootstrap
from particle_transformer.evaluation.pair_sums import distance_products, distance_sums


def _sample(events, seed=0, *, ties=False, signed=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=events)
    y = x**2 + rng.normal(size=events)
    weight = rng.uniform(0.3, 2, events)
    if ties:
        x, y = np.round(2 * x), np.round(2 * y)
    if signed:
        weight[::5] *= -0.5
    return x, y, weight


def _value(x, y, weight) -> float:
    value = distance_correlation_squared(x, y, weight).value
    assert value is not None
    return value


def _correlation(covariance, x, y, weight):
    a, b = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    scale = covariance(a, a, weight) * covariance(b, b, weight)
    return covariance(a, b, weight) / math.sqrt(scale)


def _over_quadruples(a, b, weight):
    """Mean of a_ij (b_ij + b_qr − 2 b_iq) over distinct events."""
    numerator = denominator = 0.0
    for i, j, q, r in itertools.permutations(range(len(weight)), 4):
        product = weight[i] * weight[j] * weight[q] * weight[r]
        numerator += product * a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q])
        denominator += product
    return numerator / denominator


def _over_matrices(a, b, weight):
    """The same numerator with the sums over the events not named in the distances done first."""
    total, w = weight.sum(), weight
    pair = w[:, None] * w * (1 - np.eye(len(w)))
    left = total - w[:, None] - w  # weight without i and j
    left_squares = (w**2).sum() - w[:, None] ** 2 - w**2
    same = (pair * a * b * (left**2 - left_squares)).sum()
    rows = (w * b).sum(1) * w
    without = rows.sum() - 2 * rows[:, None] - 2 * rows + 2 * pair * b  # Σ w w b without i and j
    apart = (pair * a * without).sum()
    shared = sum(w[i] * (pair * np.outer(a[i], b[i]) * (left - w[i])).sum() for i in range(len(w)))
    return same + apart - 2 * shared


def _u_centred(a, b, weight):
    """Székely & Rizzo 2014, definition 2 and eq. (2.3), where every event counts one."""
    n = len(weight)

    def centred(d):
        rows = d.sum(0) / (n - 2)
        matrix = d - rows[:, None] - rows + d.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(matrix, 0.0)
        return matrix

    return (centred(a) * centred(b)).sum() / (n * (n - 3))


@pytest.mark.parametrize("events", [1, 2, 3, 5, 64, 65, 200])
@pytest.mark.parametrize("ties", [False, True])
def test_pair_sums_are_those_of_the_matrices(events, ties):
    x, y, _ = _sample(events, events, ties=ties)
    weights = np.random.default_rng(1).normal(size=(3, events))
    a, b = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    np.testing.assert_allclose(distance_sums(x, weights), weights @ a, atol=1e-11)
    np.testing.assert_allclose(distance_products(x, y, weights), weights @ (a * b), atol=1e-11)


@pytest.mark.parametrize("events", [4, 5, 6, 8])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_mean_over_distinct_quadruples(events, seed):
    sample = _sample(events, seed)
    expected = _correlation(_over_quadruples, *sample)
    assert _value(*sample) == pytest.approx(expected, abs=1e-10)


def test_signed_weights_by_quadruples():
    x, y, weight = _sample(9, 3)
    sample = (x, y, weight - 0.5)
    assert (sample[2] < 0).any()
    expected = _correlation(_over_quadruples, *sample)
    assert _value(*sample) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_it_is_that_of_full_matrices(ties, signed):
    sample = _sample(300, 1, ties=ties, signed=signed)
    expected = _correlation(_over_matrices, *sample)
    assert _value(*sample) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("events", [4, 10, 300])
def test_equal_weights_give_the_u_centred_one(events):
    x, y, _ = _sample(events, 2)
    expected = _correlation(_u_centred, x, y, np.ones(events))
    figure = distance_correlation_squared(x, y, np.full(events, 3.0))
    assert figure.value == pytest.approx(expected, abs=1e-10)
    assert figure.effective_events == pytest.approx(events)
    assert figure.error is None


@given(
    st.integers(5, 40),
    st.integers(0, 2**31),
    st.floats(1e-3, 1e3),
    st.floats(-1e3, 1e3),
    st.booleans(),
    st.booleans(),
)
def test_units_order_and_events_without_weight_change_nothing(
    events, seed, factor, shift, mirrored, ties
):
    x, y, weight = _sample(events, seed, ties=ties)
    assume(min(x.max() - x.min(), y.max() - y.min()) > 0)
    expected = distance_correlation_squared(x, y, weight).value
    assume(expected is not None)
    moved = (-factor if mirrored else factor) * x + shift
    order = np.random.default_rng(seed).permutation(events + 1)
    again = distance_correlation_squared(
        np.append(moved, 1e3)[order], np.append(y, -1e3)[order], np.append(7 * weight, 0)[order]
    ).value
    assert again == pytest.approx(expected, rel=1e-6, abs=1e-7)
    swapped = _value(y, x, weight)
    assert swapped == pytest.approx(expected, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("rho", [0.3, 0.8, -0.8])
def test_two_normal_quantities_have_the_value_of_the_theorem(rho):
    # Székely et al. 2007, theorem 7.
    expected = (
        rho * math.asin(rho)
        + math.sqrt(1 - rho**2)
        - rho * math.asin(rho / 2)
        - math.sqrt(4 - rho**2)
        + 1
    ) / (1 + math.pi / 3 - math.sqrt(3))
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=(2, 20000))
    y = rho * x + math.sqrt(1 - rho**2) * z
    assert _value(x, y, np.ones(20000)) == pytest.approx(expected, abs=0.012)


def test_weights_make_the_distribution_they_describe():
    # Flat events with weights of a normal distribution of correlation 0.6, a fifth of them negative.
    rng = np.random.default_rng(6)
    x, y = rng.uniform(-4, 4, (2, 60000))
    weight = np.exp(-(x**2 + y**2 - 1.2 * x * y) / (2 * (1 - 0.36)))
    weight *= np.where(rng.random(60000) < 0.2, -1, 1)
    # Negative at random: 0.8 − 0.2 of the density remains, its shape unchanged.
    rho = 0.6
    expected = (
        rho * math.asin(rho) + 0.8 - rho * math.asin(rho / 2) - math.sqrt(4 - rho**2) + 1
    ) / (1 + math.pi / 3 - math.sqrt(3))
    figure = distance_correlation_squared(x, y, weight)
    assert figure.value == pytest.approx(expected, abs=0.04)


def test_a_line_gives_one():
    x = np.random.default_rng(0).exponential(size=5000)
    weight = np.random.default_rng(1).uniform(size=5000)
    assert _value(x, x, weight) == pytest.approx(1, abs=1e-9)
    assert _value(x, 3 - x, weight) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("kind", ["equal", "random", "signed", "by x"])
def test_independent_samples_scatter_round_zero(kind):
    rng = np.random.default_rng(7)
    for events, samples in ((100, 400), (500, 200)):
        values, effective = [], []
        for _ in range(samples):
            x, y = rng.normal(size=events), rng.exponential(size=events)
            weight = {
                "equal": np.ones(events),
                "random": rng.exponential(size=events),
                "signed": np.where(rng.random(events) < 0.1, -1.0, 1.0),
                "by x": np.exp(0.5 * x),
            }[kind]
            figure = distance_correlation_squared(x, y, weight)
            assert figure.value is not None
            values.append(figure.value)
            effective.append(figure.effective_events)
        scatter = np.std(values)
        # No bias: a mean within 4 errors of zero, where the one of the V-statistic is 30 away.
        assert abs(np.mean(values)) < 4 * scatter / math.sqrt(samples)
        if kind != "by x":
            assert scatter == pytest.approx(math.sqrt(2) / np.mean(effective), rel=0.35)


def test_the_bootstrap_gives_the_error_of_a_dependence():
    rng = np.random.default_rng(8)

    def sample():
        x, z = rng.normal(size=(2, 400))
        return x, x + z, ones

    ones = np.ones(400)
    scatter = np.std([_value(*sample()) for _ in range(200)])
    x, y, _ = sample()
    drawn = poisson_bootstrap(
        lambda multiplicity: {"d": _value(x, y, multiplicity)},
        400,
        replicas=100,
    )
    figure = distance_correlation_squared(x, y, ones).with_replicas(drawn["d"])
    assert figure.error == pytest.approx(scatter, rel=0.4)


@pytest.mark.parametrize(
    ("x", "y", "weight", "reason"),
    [
        ([], [], [], "no background event"),
        ([1, 2], [1, 2], [0, 0], "no background event"),
        ([1, 2, 3, 4, 5], [1, 3, 2, 5, 4], [1, 1, 1, -2, -2],
         "the total weight of the background events is -1, not positive"),
        ([1, 2, 3, 4], [1, 3, 2, 5], [1, 1, 1, 0],
         "3 background events with a weight, not 4 or more"),
        ([1, 2, 3, 4, 5], [1, 3, 2, 5, 4], [1, 1, 1, 1e-12, 1e-12],
         "fewer than 4 background events carry the whole weight"),
        ([0.5] * 5, [1, 3, 2, 5, 4], [1] * 5, "the first quantity is 0.5 in all background events"),
        ([1, 3, 2, 5, 4], [7, 7, 7, 7, 0], [1, 1, 1, 1, 0],
         "the second quantity is 7 in all background events"),
        ([1, 2, 3, 4], [1, 3, 2, 4], [1] * 4, None),
        ([1, 1, 1, 2], [1, 3, 2, 4], [1] * 4,
         "the distance variance of the first quantity in the background events is not positive"),
    ],
)  # fmt: skip
def test_undefined_says_why(x, y, weight, reason):
    figure = distance_correlation_squared(
        np.array(x, dtype=float), np.array(y, dtype=float), np.array(weight, dtype=float)
    )
    assert (figure.value is None) == (reason is not None)
    assert figure.reason == reason


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (np.zeros(4), np.zeros((4, 1)), np.ones(4), r"^y: got shape \(4, 1\), expected \(4,\)$"),
        (np.zeros(4), np.zeros(4), np.ones(1), r"^weight: got shape \(1,\), expected \(4,\)$"),
        (np.zeros(4), np.array([1, np.nan, np.inf, 0]), np.ones(4),
         "^y: 2 of 4 values are NaN or infinite, expected finite ones$"),
    ],
)  # fmt: skip
def test_errors(x, y, weight, message):
    with pytest.raises(SampleError, match=message):
        distance_correlation_squared(x, y, weight)
