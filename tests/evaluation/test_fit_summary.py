"""The block of the limit against pyhf models written by hand, and what leaves it undefined."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import numpy as np
import pyhf
import pytest

from evaluation.samples import realistic
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    BinningRule,
    FitChoices,
    bin_events,
    evaluate_limit,
    region_bins,
)

# pyhf 0.7 validates with a part of jsonschema that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")

FOLDS = 3
LOOSE = BinningRule(minimum_background=1.0, minimum_effective_events=1.0)
UNCERTAIN = FitChoices(normalisation={"TTbar": 0.2, "ZToNuNu": 0.1})


def samples(events=3000, **changes):
    """Test and validation events in two regions without overlap; the signal is strong enough."""
    found = []
    for seed, share in ((1, 1.0), (2, 2 / 15)):
        sample = realistic(events, seed=seed, share=share)
        middle = sample.score > 0.3
        regions = {"signal": middle, "control": ~middle, "empty": np.zeros(len(sample), bool)}
        found.append(dataclasses.replace(sample, regions=regions, **changes))
    return found


def one_bin(**settings):
    rule = dataclasses.replace(LOOSE, maximum_bins=1)
    test, validation = samples()
    return evaluate_limit(test, validation, ["signal"], folds=FOLDS, rule=rule, **settings)


def sums(events, region="signal"):
    """Σw and √Σw² by process."""
    inside = events.regions[region]
    return {
        name: (float(weight.sum()), float(np.sqrt(np.sum(weight**2))))
        for number, name in enumerate(events.processes)
        for weight in [events.weight[inside & (events.process == number)]]
    }


def by_hand(found, uncertain, signal="ttH", extra=None):
    """A counting experiment as a pyhf model with the numbers written out."""
    listed: list[dict[str, Any]] = []
    for name, (total, error) in found.items():
        part = "signal" if name == signal else "background"
        modifiers: list[dict[str, Any]] = [
            {"name": f"mc_{part}", "type": "staterror", "data": [error]}
        ]
        if name == signal:
            modifiers.append({"name": "strength", "type": "normfactor", "data": None})
        if name in uncertain:
            data = {"hi": 1 + uncertain[name], "lo": 1 / (1 + uncertain[name])}
            modifiers.append({"name": f"size_{name}", "type": "normsys", "data": data})
        modifiers += (extra or {}).get(name, [])
        listed.append({"name": name, "data": [total], "modifiers": modifiers})
    return pyhf.Model(
        {"channels": [{"name": "counts", "samples": listed}]},
        poi_name="strength",
        modifier_settings={"normsys": {"interpcode": "code4"}},
    )


def limits_of_pyhf(model, highest):
    """Expected limits by pyhf's own fits and root search."""
    pyhf.set_backend("numpy")
    start = np.array(model.config.suggested_init())
    start[model.config.poi_index] = 0.0
    data = model.expected_data(start)
    bounds = list(model.config.suggested_bounds())
    bounds[model.config.poi_index] = (0.0, highest)
    _, bands = pyhf.infer.intervals.upper_limits.toms748_scan(
        data, model, 0.0, highest, level=0.05, rtol=1e-4, par_bounds=bounds
    )
    return np.array(bands)


def test_one_bin_is_the_counting_experiment():
    block, workspace = one_bin(choices=UNCERTAIN)
    test, _ = samples()
    model = by_hand(sums(test), {"TTbar": 0.2, "ZToNuNu": 0.1})
    expected = limits_of_pyhf(model, 3 * block["band"][4])
    assert block["band"] == pytest.approx(expected.tolist(), rel=2e-3)
    assert block["median"] == block["band"][2]
    assert block["reason"] is None
    assert workspace is not None
    json.dumps(block, allow_nan=False)
    found = block["regions"]["signal"]
    assert found["edges"] == {"0": [], "1": [], "2": []}
    background = test.weight[test.regions["signal"] & ~test.is_signal]
    assert found["effective_events"] == pytest.approx(
        [background.sum() ** 2 / np.sum(background**2)]
    )
    assert found["background"]["yields"] == pytest.approx([background.sum()])
    total = sums(test)
    statistical = np.hypot.reduce([total[name][1] for name in test.processes[1:]])
    # A log-normal of ln(1 + u): its derivative at 0 is that of pyhf's code 4.
    slopes = [u * total[name][0] for name, u in (("TTbar", np.log(1.2)), ("ZToNuNu", np.log(1.1)))]
    before = np.sqrt(statistical**2 + np.sum(np.square(slopes)))
    assert found["background"]["errors_before_fit"] == pytest.approx([before], rel=1e-3)
    # One bin measures its total, and nothing else: 1/σ² = 1/b + 1/σ_before².
    after = (1 / background.sum() + 1 / before**2) ** -0.5
    assert found["background"]["errors_after_fit"] == pytest.approx([after], rel=1e-3)


def test_variation_is_that_of_the_hand_made_model():
    test, validation = samples()
    up, down = (
        dataclasses.replace(test, weight=np.where(test.process == 1, factor, 1.0) * test.weight)
        for factor in (1.3, 0.8)
    )
    rule = dataclasses.replace(LOOSE, maximum_bins=1)
    block, _ = evaluate_limit(
        test, validation, ["signal"], folds=FOLDS, rule=rule,
        variations={"JES": {"up": up, "down": down}},
    )  # fmt: skip
    modifier = {"name": "JES", "type": "normsys", "data": {"hi": 1.3, "lo": 0.8}}
    model = by_hand(sums(test), {}, extra={"TTbar": [modifier]})
    expected = limits_of_pyhf(model, 3 * block["band"][4])
    assert block["band"] == pytest.approx(expected.tolist(), rel=2e-3)
    assert block["parameters"][0]["name"] == "JES"


def test_process_of_weight_zero_changes_nothing():
    test, validation = samples()
    rule = dataclasses.replace(LOOSE, maximum_bins=1)
    empty = dataclasses.replace(test, weight=np.where(test.process == 3, 0.0, test.weight))
    block, workspace = evaluate_limit(empty, validation, ["signal"], folds=FOLDS, rule=rule)
    totals = sums(empty)
    assert totals.pop("WToLNu") == (0.0, 0.0)
    expected = limits_of_pyhf(by_hand(totals, {}), 3 * block["band"][4])
    assert block["band"] == pytest.approx(expected.tolist(), rel=2e-3)
    assert workspace is not None
    named = [sample["name"] for sample in workspace.spec["channels"][0]["samples"]]
    assert named == ["ttH", "TTbar", "ZToNuNu"]


def test_templates_are_those_of_the_edges():
    test, validation = samples(events=6000)
    block, workspace = evaluate_limit(test, validation, ["signal"], ["control"], folds=FOLDS)
    assert workspace is not None
    assert [block["regions"][name]["role"] for name in ("signal", "control")] == [
        "signal", "control",
    ]  # fmt: skip
    found = block["regions"]["signal"]
    bins = len(found["effective_events"])
    assert bins > 1
    for process, template in found["processes"].items():
        expected = np.zeros(bins)
        for fold in range(FOLDS):
            edges = [-np.inf, *found["edges"][str(fold)], np.inf]
            own = test.regions["signal"] & (test.fold == fold)
            own &= test.process == test.processes.index(process)
            expected += np.histogram(test.score[own], edges, weights=test.weight[own])[0]
        assert template["yields"] == pytest.approx(expected.tolist())
    sizes = [max(abs(row["impact_up"]), abs(row["impact_down"])) for row in block["parameters"]]
    assert sizes == sorted(sizes, reverse=True)
    assert bin_events(test, region_bins(validation, ["signal"], folds=FOLDS)).index["signal"].max()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"control_regions": ["empty"]},
            "region empty, bin 0: no expected background, expected more than 0 in every bin",
        ),
        ({"signal_regions": ["empty"]}, "region empty: events to bin: no signal event"),
        (
            {"control_regions": ["everything"]},
            "regions signal and everything of the fit share",
        ),
        (
            {"choices": FitChoices(free=["TTbar", "ZToNuNu"])},
            "the fit does not determine norm_TTbar, norm_ZToNuNu, mu; add a control region",
        ),
    ],
)
def test_what_the_events_do_not_define_says_why(settings, reason):
    test, validation = samples()
    for sample in (test, validation):
        sample.regions["everything"] = np.ones(len(sample), dtype=bool)
    rule = dataclasses.replace(LOOSE, maximum_bins=1)
    given = {"signal_regions": ["signal"], **settings}
    block, workspace = evaluate_limit(test, validation, **given, folds=FOLDS, rule=rule)
    assert workspace is None
    assert block["median"] is block["band"] is block["significance"] is None
    assert block["reason"].startswith(reason)
    assert block["regions"] == {}


def test_signal_region_without_background():
    test, validation = samples()
    for sample in (test, validation):
        sample.regions["signal"][~sample.is_signal] = False
    block, _ = evaluate_limit(test, validation, ["signal"], folds=FOLDS)
    assert block["reason"] == "region signal: events to bin: no background event"


def test_background_that_the_test_events_lack():
    test, validation = samples()
    test.regions["signal"][~test.is_signal] = False
    block, _ = evaluate_limit(test, validation, ["signal"], folds=FOLDS)
    assert block["reason"].startswith("region signal, bin 0: no expected background")


def test_variation_that_empties_a_process():
    test, validation = samples()
    gone = dataclasses.replace(test, weight=np.where(test.process == 2, 0.0, test.weight))
    block, workspace = evaluate_limit(
        test, validation, ["signal"], folds=FOLDS, variations={"JES": {"down": gone}}
    )
    assert workspace is None
    assert block["reason"].startswith(
        "variation JES down leaves nothing of process ZToNuNu in region signal"
    )


def test_a_limit_stands_without_its_impacts(monkeypatch):
    whole, _ = one_bin()

    def fail(*_, **__):
        message = "the search does not end"
        raise SampleError(message)

    monkeypatch.setattr("particle_transformer.evaluation.fit_summary.impacts", fail)
    block, workspace = one_bin()
    assert workspace is not None
    assert block["parameters"] == []
    assert block["notes"] == [*whole["notes"], "no pulls and impacts: the search does not end"]
    for key in ("median", "band", "significance", "regions"):
        assert block[key] == whole[key]


def test_without_pyhf_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyhf", None)
    block, workspace = one_bin()
    assert workspace is None
    assert "pip install 'analysis-object-transformer[report]'" in block["reason"]
