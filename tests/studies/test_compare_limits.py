"""Limits of a comparison against what is built by hand from the same scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from helpers.runs import small_analysis, write_inputs
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, prepare
from particle_transformer.errors import AnalysisFileError
from particle_transformer.evaluation import (
    FitChoices,
    SlicedBinning,
    calibration_error,
    fold_temperatures,
    limit_of,
    optimal_slices,
    with_temperatures,
)
from particle_transformer.inference.statistics import binning_rule
from particle_transformer.studies.compare import compare, limits
from particle_transformer.studies.compare.events import ComparedEvents, with_quantities
from particle_transformer.studies.compare.figures import SeedScores, calibration, validation_loss
from particle_transformer.studies.compare.limits import (
    Limits,
    binned_limits,
    limit_figure,
    score_limits,
)

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.config import Analysis

FREE = FitChoices(normalisation={"ttbar": 0.2, "wjets": 0.2})


def analysis_in(folder: Path, events: int = 400, **compared: Any) -> Analysis:
    path = small_analysis(folder, epochs=1, write=False)
    write_inputs(folder, events=events)
    content = yaml.safe_load(path.read_text())
    content["event"].pop("select")
    content["regions"] = {
        "search": {"select": "met.pt > 150", "role": "signal"},
        "low": {"select": "met.pt <= 150", "role": "control"},
    }
    content["compare"] = {"trees": {"rounds": 10}, **compared}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_analysis(path)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> ComparedEvents:
    folder = tmp_path_factory.mktemp("limits")
    analysis = with_quantities(analysis_in(folder, 3000, binned=["sum(jets.pt)", "log(met.pt)"]))
    prepare(analysis, folder / "store")
    return ComparedEvents.of(analysis, Store(folder / "store"))


def scores_like(compared: ComparedEvents, seed: int) -> SeedScores:
    """Scores that separate as much as a random shift leaves of the truth."""
    signal = np.array([name == "signal" for name in compared.manifest.classes])
    random = np.random.default_rng(seed)
    logit = random.normal(0, 1, len(compared.events)) + 1.5 * signal[compared.events.process]
    score = 1 / (1 + np.exp(-logit))
    return SeedScores(
        compared.test(score),
        compared.validation([score[part.validation_rows] for part in compared.folds]),
    )


def test_control_regions_are_in_the_fit_and_events_are_where_they_belong(
    compared: ComparedEvents,
) -> None:
    scores = scores_like(compared, 1)
    test = compared.with_control(scores.test)
    assert len(test) == len(compared.events) + len(compared.control)
    assert not np.any(test.regions["search"][len(compared.events) :])
    assert np.all(test.regions["low"][len(compared.events) :])
    found = score_limits(compared, [scores], FREE, replicas=0)
    expected = limit_of(
        test, scores.validation, ["search"], ["low"], folds=2, choices=FREE,
        rule=binning_rule(compared.analysis),
    )  # fmt: skip
    assert found.seeds == pytest.approx([expected.limit.median])
    assert {region.name for region in expected.regions} == {"search", "low"}


def test_a_replica_is_the_limit_of_events_that_occur_that_often(compared: ComparedEvents) -> None:
    """The first multiplicities of the generator, events written out one by one."""
    scores = scores_like(compared, 1)
    found = score_limits(compared, [scores], FREE, replicas=1)
    test = compared.with_control(scores.test)
    drawn = np.random.default_rng(1).poisson(1.0, len(test))
    rows = [row for row, times in enumerate(drawn) for _ in range(times)]
    varied, nominal = (
        limit_of(
            events, scores.validation, ["search"], ["low"], folds=2, choices=FREE,
            rule=binning_rule(compared.analysis),
        ).limit.median
        for events in (test.select(np.array(rows)), test)
    )  # fmt: skip
    assert varied != pytest.approx(nominal)
    assert found.replicas[0] == pytest.approx(varied / nominal)


def test_a_better_score_has_the_lower_limit_and_equal_ones_the_ratio_one(
    compared: ComparedEvents,
) -> None:
    weight = np.ones(10)
    good, bad = scores_like(compared, 1), scores_like(compared, 2)
    random = np.random.default_rng(3)
    noise = random.uniform(0, 1, len(bad.test))
    blind = SeedScores(
        compared.test(noise),
        compared.validation([noise[part.validation_rows] for part in compared.folds]),
    )
    ours, worse = (score_limits(compared, [each], FREE, replicas=4) for each in (good, blind))
    assert ours.seeds[0] < worse.seeds[0]
    same = limit_figure(ours, ours, weight)
    assert (same["value"], same["error"]) == (1.0, 0.0)
    ratio = limit_figure(worse, ours, weight)
    assert ratio["value"] == pytest.approx(worse.seeds[0] / ours.seeds[0])
    assert ratio["seed_error"] is None, "one seed has no spread"


def test_errors_of_a_ratio_by_hand() -> None:
    ours = Limits(np.array([1.0, 3.0]), np.array([0.9, 1.1]), "")
    theirs = Limits(np.array([4.0]), np.array([1.0, 1.0]), "", is_random=False)
    figure = limit_figure(theirs, ours, np.ones(4))
    assert figure["value"] == pytest.approx(2.0)
    # Standard error of the mean of 1 and 3 is 1, half of the mean; the fixed one adds nothing.
    assert figure["seed_error"] == pytest.approx(2.0 * 0.5)
    assert figure["event_error"] == pytest.approx(np.std([2 / 0.9, 2 / 1.1], ddof=1))
    assert figure["error"] == pytest.approx(np.hypot(1.0, figure["event_error"]))


def test_one_slice_and_one_bin_is_a_counting_experiment(compared: ComparedEvents) -> None:
    """A quantity that says nothing has a single bin: the limit is that of the yields."""
    flat = np.zeros(len(compared.events))
    scores = scores_like(compared, 1)
    counted = binned_limits(compared, (flat, flat), scores, FREE, replicas=0)
    blind = SeedScores(
        compared.test(flat + 0.5),
        compared.validation([flat[part.validation_rows] + 0.5 for part in compared.folds]),
    )
    expected = score_limits(compared, [blind], FREE, replicas=0)
    assert counted.seeds == pytest.approx(expected.seeds)
    assert counted.spread == 0.0


def test_the_bins_are_chosen_without_the_test_events(
    compared: ComparedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another quantity in rows that are nobody's validation events leaves the bins alone."""
    seen = np.zeros(len(compared.events), dtype=bool)
    for part in compared.folds:
        seen[part.validation_rows] = True
    assert (~seen).any()
    found: list[tuple[SlicedBinning, ...]] = []

    def recorded(*arguments: Any) -> tuple[SlicedBinning, ...]:
        found.append(optimal_slices(*arguments))
        return found[-1]

    monkeypatch.setattr(limits, "optimal_slices", recorded)
    ht, met = compared.columns(("sum(jets.pt)", "log(met.pt)"))
    scores = scores_like(compared, 1)
    nominal, moved = (
        binned_limits(compared, (ht, values), scores, FREE, replicas=0)
        for values in (met, np.where(seen, met, met.min()))
    )
    shares = np.linspace(0, 1, 101)
    grid = [part.ravel() for part in np.meshgrid(np.quantile(ht, shares), np.quantile(met, shares))]
    for before, after in zip(*found, strict=True):
        assert before.bins > 1
        np.testing.assert_array_equal(before.index(*grid), after.index(*grid))
    assert moved.seeds[0] != nominal.seeds[0], "the test events are in the limit"


def test_calibration_is_that_of_each_seed(compared: ComparedEvents) -> None:
    each = [scores_like(compared, seed) for seed in (1, 2)]
    found = calibration(each, folds=2, replicas=5)
    figures, noises = [], []
    for scores in each:
        temperatures, _ = fold_temperatures(scores.validation, 2)
        error = calibration_error(with_temperatures(scores.test, temperatures), replicas=5)
        figures.append((error.figure.value, error.figure.error))
        noises.append(error.noise)
    (first, first_error), (second, second_error) = np.array(figures, dtype=float)
    after = found["after"]
    assert after["value"] == pytest.approx((first + second) / 2)
    assert after["seed_error"] == pytest.approx(abs(first - second) / 2)
    assert after["event_error"] == pytest.approx((first_error + second_error) / 2)
    assert after["error"] == pytest.approx(np.hypot(after["seed_error"], after["event_error"]))
    assert found["noise"] == pytest.approx(np.mean(np.array(noises, dtype=float)))


def test_the_binned_analysis_is_in_the_tables(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path, binned=["sum(jets.pt)", "log(met.pt)"])
    result = compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
    binned = result["binned"]
    assert binned["label"] == "Binned in sum(jets.pt) and log(met.pt)"
    ours = result["methods"]["network"]["limit"]["value"]
    assert binned["versus"]["limit"]["value"] == pytest.approx(binned["limit"]["value"] / ours)


def test_one_binned_quantity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnalysisFileError, match=r"compare\.binned: got 1, expected two"):
        analysis_in(tmp_path, binned=["log(met.pt)"])


def test_validation_loss_by_hand(compared: ComparedEvents) -> None:
    """Scores 0.8 of signal and 0.4 of background: −(ln 0.8 + ln 0.6) / 2, whatever the weights."""
    signal = np.array([name == "signal" for name in compared.manifest.classes])
    score = np.where(signal[compared.events.process], 0.8, 0.4)
    rows = [score[part.validation_rows] for part in compared.folds]
    scores = SeedScores(compared.test(score), compared.validation(rows))
    assert validation_loss([scores]) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
