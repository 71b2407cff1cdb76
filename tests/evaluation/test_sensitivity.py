"""From scored events to the limit, on toys with two networks, regions and a variation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    BinnedEvents,
    Binning,
    BinningRule,
    FitChoices,
    ScoredEvents,
    bin_events,
    limit_of,
    limit_of_binned,
    region_bins,
)

pytest.importorskip("pyhf")

FOLDS = 2
RULE = BinningRule(background_uncertainty=0.1, maximum_bins=4, fine_bins=40)
SHARE = 0.5
BOTH = (["signal"], ["control"])
FREE = FitChoices(free=["top"], normalisation={"zjets": 0.1})


def toy(seed, events=6000, share=1.0, separation=1.5, shift=0.0):
    """Signal, top and Z: top mostly in the control region; `shift` moves all scores."""
    rng = np.random.default_rng(seed)
    process = rng.choice(3, size=events, p=[0.3, 0.4, 0.3]).astype(np.int16)
    control = rng.random(events) < np.array([0.02, 0.7, 0.05])[process]
    latent = rng.normal(np.where(process == 0, separation, 0.0), 1.0) + shift
    weight = rng.gamma(8, 1 / 8, events) * np.where(rng.random(events) < 0.05, -1, 1)
    for number, total in enumerate((40.0, 3000.0, 800.0)):
        own = process == number
        weight[own] *= share * total / weight[own].sum()
    return ScoredEvents(
        score=1 / (1 + np.exp(-latent)),
        weight=weight,
        is_signal=process == 0,
        process=process,
        fold=rng.integers(0, FOLDS, events).astype(np.int16),
        processes=("sig", "top", "zjets"),
        process_class=("signal", "background", "background"),
        regions={"signal": ~control, "control": control},
    )


# Each network's validation events are half of the other fold: a quarter of all events.
def validation(**settings):
    return toy(7, share=2 * SHARE * (1 - 1 / FOLDS), **settings)


def limit(test, chosen=None, *, own=None, **settings):
    return limit_of(
        test,
        own or validation(),
        *BOTH,
        folds=FOLDS,
        rule=RULE,
        validation_share=SHARE,
        choices=chosen or FREE,
        **settings,
    )


def test_result_holds_what_led_to_it():
    result = limit(toy(1))
    signal, control = result.regions
    assert 1 < signal.bins <= 4
    assert control.bins == 1
    total = sum(t.yields.sum() for region in result.regions for t in region.nominal.values())
    assert total == pytest.approx(3840)
    assert 0 < result.limit.band[0] < result.limit.median < result.limit.band[4]
    # Roughly: a limit of 1 is where a signal of strength 1 is a two-sigma matter.
    assert result.significance == pytest.approx(1.9 / result.limit.median, rel=0.3)
    assert result.workspace.spec["measurements"][0]["config"]["poi"] == "mu"


def test_a_better_score_gives_a_better_limit():
    worse, better = (
        limit(toy(1, separation=s), own=validation(separation=s)).limit.median for s in (0.5, 2.0)
    )
    assert better < 0.8 * worse


def test_bins_gain_over_counting():
    one = dataclasses.replace(RULE, maximum_bins=1)
    counted = limit_of(
        toy(1), validation(), *BOTH, folds=FOLDS, rule=one, validation_share=SHARE, choices=FREE
    )
    assert limit(toy(1)).limit.median < 0.7 * counted.limit.median


def test_each_network_has_edges_of_its_own():
    """Scores of fold 1 as another network would give them, on another scale: nothing changes."""

    def rescaled(events):
        return dataclasses.replace(
            events, score=np.where(events.fold == 1, events.score**3 / 2, events.score)
        )

    first = limit(toy(1))
    second = limit(rescaled(toy(1)), own=rescaled(validation()))
    assert second.limit == first.limit
    bins = region_bins(rescaled(validation()), ["signal"], folds=2, rule=RULE)
    edges = [binning.edges[1:-1] for binning in bins["signal"]]
    assert edges[1].max() < 0.5 < edges[0].max()


def test_test_events_choose_no_edge():
    bins = region_bins(validation(), ["signal"], ["control"], folds=FOLDS, rule=RULE)
    assert set(bins) == {"signal", "control"}
    assert bins["control"][1].edges.tolist() == [-np.inf, np.inf]
    placed = bin_events(toy(1), bins)
    inside = toy(1).regions["signal"]
    for fold in range(FOLDS):
        own = inside & (toy(1).fold == fold)
        expected = np.digitize(toy(1).score[own], bins["signal"][fold].edges[1:-1])
        assert placed.index["signal"][own].tolist() == expected.tolist()
    assert np.all(placed.index["signal"][~inside] == -1)


def test_minimum_background_counts_at_the_yields_of_all_events():
    """Validation events are a quarter of all: 40 expected ones are 10 of theirs."""
    rule = dataclasses.replace(RULE, minimum_background=40.0, minimum_effective_events=1.0)
    bins = region_bins(validation(), ["signal"], folds=2, rule=rule, validation_share=SHARE)
    events = validation()
    least = []
    for fold, binning in enumerate(bins["signal"]):
        own = events.regions["signal"] & (events.fold == fold) & ~events.is_signal
        least.append(binning.histogram(events.score[own], events.weight[own]).yields.min())
    assert 10 <= min(least) < 20


def test_control_region_determines_the_free_background():
    loose = FitChoices(normalisation={"top": 0.3, "zjets": 0.1})
    with_control = limit(toy(1), loose).limit.median
    alone = limit_of(
        toy(1), validation(), ["signal"], folds=2, rule=RULE, validation_share=SHARE, choices=loose
    ).limit.median
    assert with_control < alone


def test_variations_and_statistical_errors_weaken_the_limit():
    varied = {"JES": {"up": toy(1, shift=0.1), "down": toy(1, shift=-0.1)}}
    nominal = limit(toy(1))
    shifted = limit(toy(1), variations=varied)
    infinite = limit(toy(1), dataclasses.replace(FREE, statistical=False))
    assert infinite.limit.median < nominal.limit.median < shifted.limit.median
    assert "JES" in shifted.likelihood.names
    assert "JES" not in nominal.likelihood.names
    one_sided = limit(toy(1), variations={"JES": {"up": varied["JES"]["up"]}})
    assert nominal.limit.median < one_sided.limit.median


def test_any_bins_will_do():
    """Binned by hand, such as in slices of two quantities, it is the same calculation."""
    test = toy(1)
    bins = region_bins(
        validation(), ["signal"], ["control"], folds=2, rule=RULE, validation_share=SHARE
    )
    by_hand = BinnedEvents(test, dict(bin_events(test, bins).index))
    numbers = {name: binnings[0].bins for name, binnings in bins.items()}
    assert limit_of_binned(by_hand, numbers, choices=FREE).limit == limit(test).limit


def test_regions_that_share_events():
    test = toy(1)
    test.regions["signal"][:] = True
    with pytest.raises(SampleError, match="regions signal and control of the fit share"):
        limit(test)


def test_signal_region_without_background():
    none = dataclasses.replace(validation())
    chosen = none.select(none.is_signal)
    with pytest.raises(SampleError, match="region signal: events to bin: no background event"):
        limit(toy(1), own=chosen)
    without = toy(1).select(toy(1).is_signal)
    with pytest.raises(SampleError, match="region signal, bin 0: no expected background"):
        limit(without)


def test_unknown_names():
    with pytest.raises(SampleError, match=r"unknown region 'signl' .*signal"):
        region_bins(validation(), ["signl"], folds=2)
    with pytest.raises(SampleError, match="region signal is both signal and control region"):
        region_bins(validation(), ["signal"], ["signal"], folds=2)
    one = {"signal": [Binning(np.array([-np.inf, np.inf]))]}
    with pytest.raises(SampleError, match="events have folds up to 1, expected up to 0"):
        bin_events(toy(1), one)
    other = dataclasses.replace(toy(1), processes=("sig", "tt", "zjets"))
    with pytest.raises(SampleError, match="variation JES up: processes sig, tt, zjets, expected"):
        limit(toy(1), variations={"JES": {"up": other}})
