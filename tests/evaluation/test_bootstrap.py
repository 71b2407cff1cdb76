"""The bootstrap's errors against known ones, and its coverage on a toy with known AUC."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from evaluation.samples import realistic, scored
from particle_transformer.evaluation import Figure, Ranking, poisson_bootstrap, roc_band, roc_curve


def test_error_of_a_sum_of_weights_is_the_root_of_its_squares():
    weight = np.random.default_rng(1).normal(0.5, 1.0, 3000)
    drawn = poisson_bootstrap(lambda m: {"sum": m @ weight}, len(weight), replicas=2000)["sum"]
    # The relative error of a standard deviation from 2000 values is 1/√4000 = 1.6 %.
    assert np.std(drawn) == pytest.approx(np.sqrt(np.sum(weight**2)), rel=0.08)
    assert np.mean(drawn) == pytest.approx(weight.sum(), abs=5 * np.std(drawn) / np.sqrt(2000))


def test_coverage_of_the_auc_of_two_gaussians():
    """AUC = Φ(μ/√2); the interval value ± error covers it in 68 % of the experiments."""
    rng = np.random.default_rng(2)
    truth = norm.cdf(1.0 / np.sqrt(2))
    experiments, covered = 300, 0
    is_signal = np.arange(300) < 120
    for experiment in range(experiments):
        ranking = Ranking(rng.normal(is_signal * 1.0), is_signal)
        # One event in ten is subtracted, as at next-to-leading order.
        weight = rng.uniform(0.5, 1.5, 300) * np.where(rng.random(300) < 0.1, -1, 1)
        value = ranking.auc(weight)

        def statistic(m, ranking=ranking, weight=weight):
            return {"auc": ranking.auc(m * weight)}

        replicas = poisson_bootstrap(statistic, 300, replicas=60, seed=experiment)
        error = Figure(value).with_replicas(replicas["auc"]).error
        assert error is not None
        covered += abs(value - truth) < error
    # Binomial standard deviation 2.7 %; 60 replicas and small samples cost about 1 %.
    assert covered / experiments == pytest.approx(0.683, abs=0.09)


def test_same_seed_same_replicas():
    def total(m):
        return {"n": m.sum()}

    first = poisson_bootstrap(total, 50, replicas=5, seed=7)["n"]
    assert first.tolist() == poisson_bootstrap(total, 50, replicas=5, seed=7)["n"].tolist()
    assert first.tolist() != poisson_bootstrap(total, 50, replicas=5, seed=8)["n"].tolist()


def test_progress_counts_replicas():
    seen = []
    poisson_bootstrap(
        lambda m: {"n": m.sum()}, 3, replicas=3, progress=lambda *done: seen.append(done)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_replicas_that_do_not_define_the_figure_leave_it_without_error():
    figure = Figure(2.0, effective_events=1.0).with_replicas(np.array([1.0, np.nan, 3.0]))
    assert figure.value == 2.0
    assert figure.error is None
    assert figure.reason == "no error: undefined in 1 of 3 bootstrap replicas"


def test_band_covers_the_curve_and_shrinks_with_the_square_root_of_the_events():
    grid = np.linspace(0.2, 0.9, 8)
    wide, narrow = (roc_band(realistic(n, seed=3), grid, replicas=80) for n in (2000, 18000))
    events = realistic(2000, seed=3)
    curve = roc_curve(events.score, events.weight, events.is_signal)
    assert curve is not None
    assert wide is not None
    assert narrow is not None
    assert wide.background_efficiency.tolist() == curve.background_at(grid).tolist()
    assert np.all(wide.low <= wide.background_efficiency)
    assert np.all(wide.high >= wide.background_efficiency)
    relative = [np.mean((b.high - b.low) / b.background_efficiency) for b in (wide, narrow)]
    assert relative[0] / relative[1] == pytest.approx(3, rel=0.3)


def test_band_of_an_undefined_curve():
    assert roc_band(scored([0.1], [True]), np.array([0.5])) is None


def test_a_figure_is_finite_or_undefined_with_a_reason():
    with pytest.raises(ValueError, match="finite"):
        Figure(float("nan"))
    with pytest.raises(ValueError, match="reason"):
        Figure(None)
    assert Figure(1.0, interval=(0.5, 1.5)).to_json()["interval"] == [0.5, 1.5]
