"""The optimiser of bins: laws for random events, and an exhaustive search as the reference."""

from __future__ import annotations

import dataclasses
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    Binning,
    BinningRule,
    Labelled,
    SlicedBinning,
    binned_significance,
    combined_significance,
    optimal_binning,
    optimal_binnings,
    optimal_slices,
)
from particle_transformer.evaluation.partition import best_partitions

RULE = BinningRule(scale=2.0, background_uncertainty=0.1, fine_bins=40)


def drawn(seed, events=1500, negative=0.1, separation=1.5):
    rng = np.random.default_rng(seed)
    is_signal = rng.random(events) < 0.4
    values = rng.normal(np.where(is_signal, separation, 0.0), 1.0)
    if seed % 3 == 0:
        values = np.round(values, 1)  # ties
    weight = rng.gamma(4, 1 / 4, events) * np.where(is_signal, 0.02, 0.5)
    return Labelled(values, weight * np.where(rng.random(events) < negative, -1, 1), is_signal)


def significance(binning, events, rule):
    return binned_significance(binning.index(events.values), binning.bins, events, rule)


rules = st.builds(
    BinningRule,
    scale=st.floats(0.5, 5),
    background_uncertainty=st.floats(0, 0.5),
    minimum_background=st.floats(0.5, 30),
    minimum_effective_events=st.floats(1, 60),
    maximum_bins=st.integers(1, 8),
    fine_bins=st.integers(2, 60),
    tolerance=st.floats(0, 0.1),
)
ONE = Binning(np.array([-np.inf, np.inf]))


@given(st.integers(0, 10**6), rules)
def test_no_bin_violates_the_rule_and_one_bin_is_never_better(seed, rule):
    events = drawn(seed)
    binning = optimal_binning(events, rule)
    background = ~events.is_signal
    histogram = binning.histogram(events.values[background], events.weight[background])
    signal = binning.histogram(events.values[events.is_signal], events.weight[events.is_signal])
    assert binning.bins <= rule.maximum_bins
    assert np.all(rule.scale * histogram.yields >= rule.minimum_background - 1e-9)
    effective = histogram.yields**2 / histogram.squares
    assert np.all(effective >= rule.minimum_effective_events - 1e-6)
    assert np.all(signal.yields >= -1e-9)
    reached = significance(binning, events, rule)
    assert reached >= significance(ONE, events, rule) * (1 - 1e-9)


@given(st.integers(0, 10**6))
def test_a_rising_transformation_of_the_score_transforms_the_edges_alone(seed):
    events = drawn(seed)
    binning = optimal_binning(events, RULE)
    moved = dataclasses.replace(events, values=np.exp(events.values) - 3)
    again = optimal_binning(moved, RULE)
    assert again.edges[1:-1].tolist() == (np.exp(binning.edges[1:-1]) - 3).tolist()
    assert again.index(moved.values).tolist() == binning.index(events.values).tolist()


@given(st.integers(0, 10**6))
def test_more_simulation_at_less_weight_each_is_the_same_sample(seed):
    """Every event four times at a quarter of the scale: the same yields, the same Σw²·scale."""
    events = drawn(seed)
    repeated = Labelled(
        *(np.repeat(part, 4) for part in (events.values, events.weight, events.is_signal))
    )
    rule = dataclasses.replace(RULE, minimum_effective_events=10)
    many = dataclasses.replace(RULE, minimum_effective_events=40, scale=RULE.scale / 4)
    assert optimal_binning(repeated, many).edges.tolist() == (
        optimal_binning(events, rule).edges.tolist()
    )


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 5))
def test_dynamic_programming_finds_what_trying_all_finds(seed, fine, most):
    rng = np.random.default_rng(seed)
    value = np.where(
        np.triu(rng.random((fine + 1, fine + 1)) < 0.8, 1),
        rng.random((fine + 1, fine + 1)),
        -np.inf,
    )
    for blocks, found in enumerate(best_partitions(value, most), start=1):
        totals = [
            sum(value[i, j] for i, j in zip((0, *inner), (*inner, fine), strict=True))
            for inner in combinations(range(1, fine), blocks - 1)
        ]
        best = max(totals, default=-np.inf)
        assert found.total == pytest.approx(best) or found.total == best
        if np.isfinite(best):
            bounds = found.bounds
            assert (bounds[0], bounds[-1], len(bounds)) == (0, fine, blocks + 1)
            sums = sum(value[i, j] for i, j in pairwise(bounds))
            assert sums == pytest.approx(best)


def test_two_obvious_bins_by_hand():
    """All signal above 1, where 25 of 100 background events are."""
    values = np.concatenate([np.full(75, 0.0), np.full(25, 1.0), np.full(10, 1.0)])
    is_signal = np.arange(110) >= 100
    events = Labelled(values, np.ones(110), is_signal)
    binning = optimal_binning(events, BinningRule())
    assert binning.edges.tolist() == [-np.inf, 1.0, np.inf]
    # s/√(b + Σw²) is about 10/√50; the lower bin adds nothing. Exactly, b = 25, σ² = 25:
    # 2·{35 ln[35·50/(625 + 875)] − 25 ln[1 + 250/1250]} = 2·(5.39527 − 4.55804) = 1.67446
    assert significance(binning, events, BinningRule()) == pytest.approx(1.29401, rel=1e-4)
    assert np.isclose(
        combined_significance([0, 10], [75, 25], [np.sqrt(75), 5]), 1.29401, rtol=1e-4
    )


def test_several_networks_share_the_number_of_bins_and_are_otherwise_their_own():
    first, second = drawn(1), drawn(2, separation=0.3)
    other_scale = dataclasses.replace(second, values=100 * second.values)
    together = optimal_binnings([first, other_scale], RULE)
    assert together[0].bins == together[1].bins > 1
    assert np.ptp(together[1].edges[1:-1]) > 20
    same = optimal_binnings([first, first], RULE)
    assert same[0].edges.tolist() == optimal_binning(first, RULE).edges.tolist()
    assert same[1].edges.tolist() == same[0].edges.tolist()


def test_fewer_bins_where_more_bring_nothing():
    exact = optimal_binning(drawn(1), dataclasses.replace(RULE, tolerance=0.0))
    loose = optimal_binning(drawn(1), dataclasses.replace(RULE, tolerance=0.05))
    assert 1 < loose.bins < exact.bins
    reached = significance(loose, drawn(1), RULE), significance(exact, drawn(1), RULE)
    assert 0.95 * reached[1] <= reached[0] <= reached[1]


def test_test_events_outside_the_range_of_the_validation_events_have_a_bin():
    binning = Binning(np.array([-np.inf, 0.5, np.inf]))
    filled = binning.histogram(np.array([-9.0, 0.49, 0.5, 99.0]), np.array([1.0, 2.0, 4.0, -8.0]))
    assert filled.yields.tolist() == [3.0, -4.0]
    assert filled.squares.tolist() == [5.0, 80.0]


@pytest.mark.parametrize("edges", [[0.0, 1.0], [-np.inf], [-np.inf, 1.0, 1.0, np.inf]])
def test_edges_must_rise_from_minus_to_plus_infinity(edges):
    with pytest.raises(
        SampleError, match=r"bin edges are .*, expected rising ones from -inf to inf"
    ):
        Binning(np.array(edges))


def test_too_little_background_says_how_little():
    events = Labelled(np.arange(8.0), np.ones(8), np.arange(8) >= 4)
    with pytest.raises(
        SampleError,
        match=r"a single bin has 4 expected background events from 4 effective simulated ones, "
        r"expected at least 3 and 10; simulate more",
    ):
        optimal_binning(events, BinningRule())
    with pytest.raises(SampleError, match="network 1, events to bin"):
        optimal_binnings([drawn(1), events], BinningRule())
    none = Labelled(np.arange(8.0), np.ones(8), np.ones(8, dtype=bool))
    with pytest.raises(SampleError, match="events to bin: no background event"):
        optimal_binning(none, BinningRule())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"scale": 0.0}, "scale is 0, expected more than 0"),
        ({"minimum_background": 0.0}, "minimum_background is 0, expected more than 0"),
        ({"maximum_bins": 0}, "maximum_bins is 0, expected 1 or more"),
        ({"tolerance": 1.0}, "tolerance is 1, expected from 0 to below 1"),
    ],
)
def test_rules_out_of_range(setting, message):
    with pytest.raises(SampleError, match=message):
        BinningRule(**setting)


def test_values_that_are_no_numbers():
    with pytest.raises(SampleError, match="1 of 2 are NaN or infinite"):
        Labelled(np.array([0.0, np.nan]), np.ones(2), np.array([True, False]))


def two_quantities(seed, events=3000):
    """Signal has more of both; MET tells more where HT is great."""
    rng = np.random.default_rng(seed)
    is_signal = rng.random(events) < 0.3
    ht = rng.normal(np.where(is_signal, 1.0, 0.0), 1.0)
    met = rng.normal(np.where(is_signal & (ht > 0.5), 2.0, 0.0), 1.0)
    weight = np.where(is_signal, 0.02, 1.0) * np.where(rng.random(events) < 0.05, -1, 1)
    return ht, Labelled(met, weight, is_signal)


def test_slices_gain_and_never_lose():
    rule = dataclasses.replace(RULE, fine_bins=20, maximum_bins=4)
    for seed in range(3):
        ht, met = two_quantities(seed)
        (sliced,) = optimal_slices([ht], [met], rule, maximum_slices=3, fine_slices=8)
        index = sliced.index(ht, met.values)
        reached = binned_significance(index, sliced.bins, met, rule)
        assert reached > 1.05 * significance(optimal_binning(met, rule), met, rule)
        background = ~met.is_signal
        filled = sliced.histogram(ht[background], met.values[background], met.weight[background])
        assert np.all(rule.scale * filled.yields >= rule.minimum_background)
        assert np.all(filled.yields**2 / filled.squares >= rule.minimum_effective_events)


def test_one_slice_is_the_binning_of_the_second_quantity():
    ht, met = two_quantities(1)
    (sliced,) = optimal_slices([ht], [met], RULE, maximum_slices=1)
    assert sliced.slices.bins == 1
    assert sliced.inner[0].edges.tolist() == optimal_binning(met, RULE).edges.tolist()


def test_slices_of_several_samples_have_the_same_numbers_of_bins():
    rule = dataclasses.replace(RULE, fine_bins=12, maximum_bins=3)
    drawn_pairs = [two_quantities(seed) for seed in (1, 2)]
    first, second = optimal_slices(
        [ht for ht, _ in drawn_pairs], [met for _, met in drawn_pairs], rule, fine_slices=6
    )
    assert [b.bins for b in first.inner] == [b.bins for b in second.inner]
    assert first.slices.edges.tolist() != second.slices.edges.tolist()


def test_bins_are_numbered_slice_by_slice():
    halves = Binning(np.array([-np.inf, 0.0, np.inf]))
    sliced = SlicedBinning(halves, (ONE, halves))
    first, second = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    assert sliced.index(first, second).tolist() == [0, 0, 1, 2]
    assert sliced.histogram(first, second, np.ones(4)).yields.tolist() == [2, 1, 1]
    with pytest.raises(SampleError, match="1 binnings for 2 slices, expected one each"):
        SlicedBinning(halves, (ONE,))


def test_combined_significance_adds_in_quadrature():
    rng = np.random.default_rng(1)
    s, b = rng.uniform(1, 5, (3, 4)), rng.uniform(5, 50, (3, 4))
    together = combined_significance(s, b, 0.1 * b)
    assert together.shape == (3,)
    # Equal bins of a known background: one bin of n-fold yields, √n more.
    assert combined_significance([2.0] * 9, [20.0] * 9) == pytest.approx(
        combined_significance([2.0 * 9], [20.0 * 9])
    )
    assert np.isnan(combined_significance([1.0, 1.0], [5.0, 0.0]))
