"""Limits, significances and fits against closed forms, and against pyhf's own numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from particle_transformer.errors import MissingExtraError, SampleError
from particle_transformer.evaluation import (
    FitRegion,
    Likelihood,
    Template,
    asimov_significance,
    build_workspace,
    combined_significance,
    expected_limit,
    expected_significance,
    fitted_yields,
    impacts,
    pulls,
    workspace_model,
)

pyhf = pytest.importorskip("pyhf")

# pyhf 0.7 validates with a part of jsonschema that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")

N = (-2, -1, 0, 1, 2)


def template(yields, relative=0.0):
    y = np.atleast_1d(np.asarray(yields, dtype=float))
    return Template(y, (relative * y) ** 2)


def likelihood(regions, **choices):
    workspace = build_workspace(regions, ["sig"], **choices)
    return Likelihood(workspace_model(workspace.spec))


def counting(signal, background, relative=0.0, **choices):
    """One signal region; statistical errors of the background alone."""
    found = {"sig": template(signal), "bkg": template(background, relative)}
    return likelihood([FitRegion("sr", found)], **choices)


def closed_form(signal, background, quantile):
    """CLs limit of Poisson counts with known background, from the likelihood ratio itself."""
    s, b = np.atleast_1d(signal).astype(float), np.atleast_1d(background).astype(float)

    def root(mu):
        return np.sqrt(2 * np.sum(mu * s - b * np.log1p(mu * s / b)))

    def excess(mu):
        return norm.sf(root(mu) - quantile) / norm.cdf(quantile) - 0.05

    return brentq(excess, 1e-6, 1e3 * np.sqrt(b.sum()) / s.sum() + 1e3 / s.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("signal", "background"), [(10.0, 100.0), (1.0, 3.0), (5.0, 0.5), ([1.0, 4.0], [60.0, 8.0])]
)
def test_known_background_agrees_with_the_closed_form(signal, background):
    limit = expected_limit(counting(signal, background))
    assert limit.band == pytest.approx([closed_form(signal, background, n) for n in N], rel=1e-5)
    assert limit.median == limit.band[2]


def test_many_events_give_the_gaussian_limit():
    """σ = √b/s; the median limit is Φ⁻¹(1 − 0.05/2) σ (arXiv:1007.1727, eq. 89)."""
    band = expected_limit(counting(1000.0, 1e8)).band
    assert band == pytest.approx([10 * (n + norm.isf(0.05 * norm.cdf(n))) for n in N], rel=1e-3)
    assert band[2] == pytest.approx(19.6, rel=1e-3)


def test_numbers_of_pyhf_documentation():
    """pyhf.infer.intervals.upper_limits.toms748_scan, docstring (to its tolerance of 1 %)."""
    model = pyhf.simplemodels.uncorrelated_background(
        signal=[12.0, 11.0], bkg=[50.0, 52.0], bkg_uncertainty=[3.0, 7.0]
    )
    found = Likelihood(model)
    data = np.array([51, 48, *model.config.auxdata], dtype=float)
    fitted = found.fit(data, {found.strength: 0.0})
    limit = expected_limit(found, background=fitted.parameters)
    documented = [0.5600747, 0.75702605, 1.06234693, 1.50116923, 2.05078912]
    assert limit.band == pytest.approx(documented, rel=5e-3)


def full_model(seed=1):
    """Two backgrounds in a binned signal region and two control regions, with a variation."""
    rng = np.random.default_rng(seed)
    falling = np.array([400.0, 120.0, 30.0])
    nominal = {
        "sig": template([3.0, 6.0, 8.0], 0.04),
        "top": template(falling, 0.05),
        "wjets": template(0.5 * falling[::-1] / 4, 0.07),
    }
    varied = {
        "JES": {
            side: {name: t.yields * rng.normal(1 + sign, 0.03, 3) for name, t in nominal.items()}
            for side, sign in (("up", 0.06), ("down", -0.06))
        }
    }
    one = {"sig": template(0.5), "top": template(900.0, 0.02), "wjets": template(100.0, 0.02)}
    up = {"JES": {"up": {"top": np.array([960.0])}}}
    two = {"top": template(50.0, 0.05), "wjets": template(300.0, 0.03)}
    return [FitRegion("sr", nominal, varied), FitRegion("cr1", one, up), FitRegion("cr2", two)]


CHOICES = {"free": ["top"], "normalisation": {"wjets": 0.3}}


def test_agrees_with_the_fits_of_pyhf_itself():
    found = likelihood(full_model(), **CHOICES)
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-9))
    data = found.asimov(found.initial)
    observed = data.copy()
    observed[: found.bins] = np.random.default_rng(3).poisson(data[: found.bins])
    for counts in (data, observed):
        for strength in (0.0, 0.7, 2.0):
            own = found.fit(counts, {found.strength: strength})
            theirs, twice = pyhf.infer.mle.fixed_poi_fit(
                strength, counts, found.model, return_fitted_val=True
            )
            # Their −2 ln L has constants; at the same point the difference is known.
            constant = -2 * float(found.model.logpdf(own.parameters, counts)[0]) - 2 * own.nll
            assert 2 * own.nll + constant <= float(twice) + 1e-7
            assert 2 * own.nll + constant == pytest.approx(float(twice), abs=1e-4)
            assert own.parameters == pytest.approx(theirs, abs=0.02)


@pytest.mark.slow
def test_agrees_with_the_limit_of_pyhf_itself():
    found = likelihood(full_model(), **CHOICES)
    pyhf.set_backend("numpy")
    data = found.asimov(found.initial)
    _, theirs = pyhf.infer.intervals.upper_limits.upper_limit(data, found.model, rtol=1e-4)
    own = expected_limit(found).band
    assert own == pytest.approx([float(limit) for limit in theirs], rel=2e-3)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.5, 30), st.floats(5, 500), st.floats(0.02, 0.5))
def test_control_region_gives_the_significance_of_the_on_off_problem(s, b, relative):
    """Free background and m = τb events beside: what `asimov_significance` has in closed form."""
    tau = 1 / (relative**2 * b)
    regions = [
        FitRegion("sr", {"sig": template(s), "bkg": template(b)}),
        FitRegion("cr", {"bkg": template(tau * b)}),
    ]
    found = expected_significance(likelihood(regions, free=["bkg"]))
    assert found == pytest.approx(float(asimov_significance(s, b, relative * b)), rel=1e-4)


def test_significance_of_bins_with_known_background_adds_in_quadrature():
    found = expected_significance(counting([3.0, 5.0], [40.0, 12.0]))
    assert found == pytest.approx(float(combined_significance([3.0, 5.0], [40.0, 12.0])), rel=1e-6)


def test_limit_falls_as_one_over_the_square_root_of_the_luminosity():
    s, b = np.array([30.0, 50.0]), np.array([4000.0, 1500.0])
    limits = [expected_limit(counting(scale * s, scale * b)).median for scale in (1, 4, 16)]
    assert limits[0] / limits[1] == pytest.approx(2, rel=0.01)
    assert limits[1] / limits[2] == pytest.approx(2, rel=0.01)


def test_every_uncertainty_raises_the_limit():
    regions = full_model()
    without = expected_limit(likelihood(regions, statistical=False, free=["top"])).median
    statistical = expected_limit(likelihood(regions, free=["top"])).median
    everything = expected_limit(likelihood(regions, **CHOICES)).median
    fixed = [FitRegion(r.name, r.nominal) for r in regions]
    nothing = expected_limit(likelihood(fixed, statistical=False)).median
    assert nothing < without < statistical < everything


def test_statistical_error_of_a_single_bin():
    """One bin, background error σ from simulation: for many events σ_μ² = (b + σ²)/s²."""
    relative, b, s = 0.01, 1e4, 100.0
    limit = expected_limit(counting(s, b, relative)).median
    assert limit == pytest.approx(1.96 * np.sqrt(b + (relative * b) ** 2) / s, rel=0.02)


def test_a_billion_events_leave_the_fit_its_digits():
    """Free background from a control region τ = 2: σ² = b + b/2 (and the signal's share is tiny)."""
    b = 1e9
    regions = [
        FitRegion("sr", {"sig": template(1e4), "bkg": template(b)}),
        FitRegion("cr", {"bkg": template(2 * b)}),
    ]
    limit = expected_limit(likelihood(regions, free=["bkg"])).median
    assert limit == pytest.approx(1.959964 * np.sqrt(1.5 * b) / 1e4, rel=1e-4)


def test_strength_is_the_inverse_of_the_signal():
    one, three = (expected_limit(counting([f * 2.0, f * 3.0], [50.0, 20.0])) for f in (1, 3))
    assert one.band == pytest.approx([3 * limit for limit in three.band], rel=1e-5)


def rough_model(seed):
    """Few events, simulation errors up to 100 % and large variations, some of one side."""
    rng = np.random.default_rng(seed)
    regions = []
    for number in range(rng.integers(1, 4)):
        bins = rng.integers(1, 5)
        nominal, varied = {}, {}
        for process, most in (("sig", 0.25), ("a", 1.0), ("b", 1.0)):
            yields = rng.gamma(0.7, 10 ** rng.uniform(0, 2), bins) + 0.01
            nominal[process] = template(
                yields * (0.05 if process == "sig" else 1), rng.uniform(0.01, most, bins)
            )
        for variation in range(rng.integers(0, 3)):
            varied[f"v{variation}"] = {
                side: {
                    name: t.yields * np.exp(0.3 * rng.normal(size=bins))
                    for name, t in nominal.items()
                }
                for side in (("up", "down") if rng.random() < 0.7 else ("up",))
            }
        regions.append(FitRegion(f"r{number}", nominal, varied))
    return likelihood(regions, normalisation={"b": 0.3})


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10**6))
def test_rough_models_have_limits_and_the_fits_are_minima(seed):
    found = rough_model(seed)
    limit = expected_limit(found)
    assert np.all(np.diff(limit.band) > 0)
    data = found.asimov(found.initial)
    # Some of these models have two minima: one follows the strength upwards.
    start, fits = None, []
    for strength in np.linspace(0.05, 1, 20) * limit.median:
        fits = [found.fit(data, {found.strength: strength}, place) for place in (None, start)]
        start = min(fits, key=lambda fit: fit.nll).parameters
    fitted = min(fits, key=lambda fit: fit.nll)
    # q_A at the median limit is Φ⁻¹(1 − 0.05/2)²; no point nearby is better.
    assert 2 * (fitted.nll - found.nll(found.initial, data)) == pytest.approx(3.8415, rel=1e-3)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        moved = fitted.parameters + 0.02 * fitted.errors * rng.normal(size=len(found.names))
        assert found.nll(np.clip(moved, found.low, found.high), data) >= fitted.nll - 1e-9


def test_covariance_is_the_inverse_of_the_second_derivatives():
    """In the Asimov data set the expected information is that of pyhf's own likelihood."""
    found = likelihood(full_model(), **CHOICES)
    data = found.asimov(found.initial)
    places, step = found.varied, 1e-3
    matrix = np.zeros((len(places), len(places)))

    def value(*moves):
        x = found.initial.copy()
        for place, move in moves:
            x[place] += move
        return -float(found.model.logpdf(x, data)[0])

    for i, first in enumerate(places):
        for j, second in enumerate(places):
            corners = [
                sign * other * value((first, sign * step), (second, other * step))
                for sign in (1, -1)
                for other in (1, -1)
            ]
            matrix[i, j] = sum(corners) / (4 * step**2)
    covariance = found.fit(data).covariance[np.ix_(places, places)]
    assert np.sqrt(np.diag(covariance)) == pytest.approx(
        np.sqrt(np.diag(np.linalg.inv(matrix))), rel=2e-3
    )


def test_pulls_of_the_asimov_data_are_zero_and_constraints_tell_what_is_learnt():
    found = likelihood(full_model(), **CHOICES)
    fitted = found.fit(found.asimov(found.initial), {found.strength: 0.0})
    by_name = {pull.name: pull for pull in pulls(found, fitted)}
    assert "mu" not in by_name
    assert by_name["norm_top"].pull is None
    assert by_name["norm_top"].constraint is None
    assert by_name["norm_top"].value == pytest.approx(1)
    constrained = [pull for pull in by_name.values() if pull.pull is not None]
    assert [pull.pull for pull in constrained] == pytest.approx([0] * len(constrained), abs=1e-4)
    assert all(0 < (pull.constraint or 0) <= 1 + 1e-9 for pull in constrained)
    # 300 of 350 events tell a normalisation that is known to 30 %.
    assert (by_name["unc_wjets"].constraint or 1) < 0.5
    assert (by_name["stat_background_sr[0]"].constraint or 0) > 0.7


def test_pull_by_hand():
    """Known background 100 with 10 % statistical error, 121 seen: n/ν = 1 + (γ − 1)/(σ² b)."""
    found = counting(1.0, 100.0, 0.1)
    data = np.concatenate([[121.0], found.auxiliary])
    fitted = found.fit(data, {found.strength: 0.0})
    (pull,) = pulls(found, fitted)
    # γ² − γ(1 − σ² b) − σ² n = 0 with σ² b = 1: γ² = 1.21.
    assert pull.value == pytest.approx(1.1, rel=1e-5)
    assert pull.pull == pytest.approx(1.0, rel=1e-4)
    yields = fitted_yields(found, fitted)["sr"]
    assert yields.processes["bkg"] == pytest.approx([110], rel=1e-5)
    assert yields.processes["sig"] == pytest.approx([0])
    # Expected information 1/σ² + b²/ν = 100 + 100²/110; times b² for the yield's variance.
    assert yields.total.squares == pytest.approx([1e4 / (100 + 1e4 / 110)], rel=1e-4)


def test_fit_to_data_moves_the_free_normalisation_to_the_control_region():
    regions = [
        FitRegion("sr", {"sig": template(5.0), "top": template(20.0)}),
        FitRegion("cr", {"top": template(1000.0)}),
    ]
    found = likelihood(regions, free=["top"])
    assert found.model.config.channels == ["cr", "sr"]
    data = np.array([1300.0, 26.0, *found.auxiliary])
    fitted = found.fit(data, {found.strength: 0.0})
    yields = fitted_yields(found, fitted)
    assert yields["cr"].total.yields == pytest.approx([1300])
    assert yields["sr"].total.yields == pytest.approx([26])
    assert yields["cr"].total.error == pytest.approx([1300 / np.sqrt(1326)], rel=1e-3)


def test_impacts_of_many_events_are_the_covariances():
    """In a linear model the shift is cov(μ, θ)/σ_θ; with many events every model is linear."""
    scale = 400
    regions = [
        FitRegion(
            region.name,
            {
                name: Template(scale * t.yields, t.squares * scale**2 / 400)
                for name, t in region.nominal.items()
            },
        )
        for region in full_model()
    ]
    found = likelihood(regions, free=["top"], normalisation={"wjets": 0.01})
    fitted = found.fit(found.asimov(found.initial))
    ranked = impacts(found)
    assert [impact.size for impact in ranked] == sorted((i.size for i in ranked), reverse=True)
    assert {impact.name for impact in ranked} == {found.names[p] for p in found.varied} - {"mu"}
    small = 0.005 * fitted.errors[found.strength]
    assert ranked[0].size > 20 * small
    for impact in ranked:
        place = found.names.index(impact.name)
        expected = fitted.covariance[found.strength, place] / fitted.errors[place]
        assert impact.up == pytest.approx(expected, rel=0.03, abs=small)
        assert impact.down == pytest.approx(-expected, rel=0.03, abs=small)


def test_impacts_report_progress_and_leave_out_the_constant_parameters():
    found = counting([1.0, 2.0], [50.0, 60.0], [0.1, 0.0])
    steps = []
    (impact,) = impacts(found, progress=lambda done, total: steps.append((done, total)))
    assert impact.name == "stat_background_sr[0]"
    assert steps == [(1, 1)]


def test_background_that_nothing_determines():
    with pytest.raises(SampleError, match="does not determine norm_bkg, mu; add a control region"):
        expected_limit(counting(5.0, 50.0, free=["bkg"]))


def test_strength_that_leaves_no_event():
    found = counting(5.0, 50.0)
    data = found.asimov(found.initial)
    with pytest.raises(SampleError, match="with mu = -10 a bin has no expected event"):
        found.fit(data, {found.strength: -10.0})


def test_arguments_out_of_range():
    found = counting(5.0, 50.0)
    with pytest.raises(SampleError, match="confidence level 1, expected between 0 and 1"):
        expected_limit(found, level=1.0)
    with pytest.raises(SampleError, match="signal strength 0, expected more than 0"):
        expected_significance(found, 0.0)


def test_without_pyhf_the_extra_is_named(monkeypatch):
    spec = build_workspace([FitRegion("sr", {"sig": template(1), "b": template(5)})], ["sig"]).spec
    monkeypatch.setitem(sys.modules, "pyhf", None)
    with pytest.raises(MissingExtraError, match=r"analysis-object-transformer\[report\]"):
        workspace_model(spec)


def test_invalid_json_is_one_line():
    spec = build_workspace([FitRegion("sr", {"sig": template(1), "b": template(5)})], ["sig"]).spec
    spec["channels"][0]["samples"][0]["data"] = "many"
    with pytest.raises(SampleError, match="the workspace is no valid HistFactory model") as caught:
        workspace_model(spec)
    assert "\n" not in str(caught.value)
