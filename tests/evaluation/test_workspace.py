"""The HistFactory JSON of templates: what is in it, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation.samples import realistic
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    BinnedEvents,
    FitRegion,
    Template,
    build_workspace,
    fit_regions,
    workspace_model,
)

pytest.importorskip("pyhf")


def template(*yields, relative=0.1):
    y = np.array(yields, dtype=float)
    return Template(y, (relative * y) ** 2)


def region(varied=None, **nominal):
    return FitRegion("signal", {name: template(*y) for name, y in nominal.items()}, varied or {})


SIMPLE = {"sig": (1.0, 4.0), "top": (50.0, 20.0), "zjets": (30.0, 10.0)}


def sample(workspace, name, channel=0):
    samples = workspace.spec["channels"][channel]["samples"]
    return next(entry for entry in samples if entry["name"] == name)


def modifiers(workspace, name, channel=0):
    found = sample(workspace, name, channel)["modifiers"]
    return {(entry["name"], entry["type"]): entry["data"] for entry in found}


def test_content_by_hand():
    control = FitRegion("control", {"top": template(200.0), "zjets": template(20.0)})
    workspace = build_workspace(
        [region(**SIMPLE), control], ["sig"], free=["top"], normalisation={"zjets": 0.25}
    )
    assert workspace.notes == ()
    assert modifiers(workspace, "sig") == {
        ("mu", "normfactor"): None,
        ("stat_signal_signal", "staterror"): pytest.approx([0.1, 0.4]),
    }
    assert modifiers(workspace, "top") == {
        ("norm_top", "normfactor"): None,
        ("stat_background_signal", "staterror"): pytest.approx([5.0, 2.0]),
    }
    assert modifiers(workspace, "zjets", 1) == {
        ("unc_zjets", "normsys"): {"hi": 1.25, "lo": 0.8},
        ("stat_background_control", "staterror"): pytest.approx([2.0]),
    }
    assert workspace.spec["observations"] == [
        {"name": "signal", "data": [80.0, 30.0]},
        {"name": "control", "data": [220.0]},
    ]
    model = workspace_model(json.loads(json.dumps(workspace.spec)))
    assert model.config.poi_name == "mu"
    parameters = dict(zip(model.config.par_names, model.config.suggested_init(), strict=True))
    parameters |= {"mu": 2.0, "norm_top": 1.5, "stat_background_signal[1]": 1.1, "unc_zjets": 1.0}
    expected = model.expected_actualdata([parameters[name] for name in model.config.par_names])
    # Regions are in alphabetical order in pyhf.
    assert expected == pytest.approx(
        [
            1.5 * 200 + 1.25 * 20,
            2 * 1 + 1.5 * 50 + 1.25 * 30,
            2 * 4 + 1.1 * (1.5 * 20 + 1.25 * 10),
        ]
    )


def test_statistical_error_is_that_of_the_backgrounds_together():
    workspace = build_workspace([region(**SIMPLE)], ["sig"])
    widths = workspace_model(workspace.spec).config.param_set("stat_background_signal").width()
    assert widths == pytest.approx([np.hypot(5, 3) / 80, np.hypot(2, 1) / 30])
    signal = workspace_model(workspace.spec).config.param_set("stat_signal_signal").width()
    assert signal == pytest.approx([0.1, 0.1])
    without = build_workspace([region(**SIMPLE)], ["sig"], statistical=False)
    assert not any("stat" in name for name in workspace_model(without.spec).config.par_names)


def test_variation_is_split_into_total_and_shape():
    varied = {"JES": {"up": {"top": np.array([55.0, 29.0])}, "down": {"top": np.array([50, 20.0])}}}
    workspace = build_workspace([region(varied, **SIMPLE)], ["sig"])
    found = modifiers(workspace, "top")
    assert found["JES", "normsys"] == {"hi": pytest.approx(84 / 70), "lo": 1.0}
    shape = found["JES", "histosys"]
    assert sum(shape["hi_data"]) == pytest.approx(70)
    assert shape["hi_data"] == pytest.approx([55 / 1.2, 29 / 1.2])
    assert shape["lo_data"] == pytest.approx([50, 20])
    assert ("JES", "normsys") not in modifiers(workspace, "zjets")
    # At +1σ the model gives the varied template itself.
    model = workspace_model(workspace.spec)
    at_one = np.array(model.config.suggested_init())
    at_one[model.config.par_names.index("JES")] = 1.0
    at_one[model.config.poi_index] = 0.0
    assert model.expected_actualdata(at_one) == pytest.approx([55 + 30, 29 + 10])


def test_variation_of_the_total_alone_has_no_shape():
    varied = {
        "lumi": {"up": {"top": np.array([55.0, 22.0])}, "down": {"top": np.array([45, 18.0])}}
    }
    found = modifiers(build_workspace([region(varied, **SIMPLE)], ["sig"]), "top")
    assert found["lumi", "normsys"] == {"hi": pytest.approx(1.1), "lo": pytest.approx(0.9)}
    assert ("lumi", "histosys") not in found


def test_a_lone_side_is_mirrored():
    varied = {
        "tune": {"up": {"top": np.array([60.0, 24.0])}},
        "shape": {"down": {"zjets": np.array([28.0, 12.0])}},
    }
    workspace = build_workspace([region(varied, **SIMPLE)], ["sig"])
    assert modifiers(workspace, "top")["tune", "normsys"] == {
        "hi": pytest.approx(1.2),
        "lo": pytest.approx(1 / 1.2),
    }
    shape = modifiers(workspace, "zjets")["shape", "histosys"]
    assert shape == {"hi_data": pytest.approx([32, 8]), "lo_data": pytest.approx([28, 12])}


def test_negative_bins_are_set_to_zero_and_noted():
    nominal = {
        "sig": template(1.0, 2.0),
        "top": template(50.0, 20.0),
        "rare": Template(np.array([3.0, -0.5]), np.array([1.0, 0.25])),
    }
    varied = {"JES": {"up": {"top": np.array([80.0, -1.0])}}}
    workspace = build_workspace([FitRegion("signal", nominal, varied)], ["sig"])
    assert sample(workspace, "rare")["data"] == [3.0, 0.0]
    # Its Σw² stays in the error of the bin.
    widths = workspace_model(workspace.spec).config.param_set("stat_background_signal").width()
    assert widths[1] == pytest.approx(np.sqrt(2.0**2 + 0.25) / 20)
    assert workspace.notes == (
        (
            "region signal, process rare: 1 of 2 bins have a negative sum of weights (-0.5 in all) and "
            "are set to 0"
        ),
        (
            "region signal, process top, variation JES up: 1 of 2 bins have a negative sum of weights "
            "(-1 in all) and are set to 0"
        ),
    )


def test_process_without_any_yield_is_left_out_of_the_region():
    workspace = build_workspace([region(**SIMPLE, rare=(0.0, 0.0))], ["sig"])
    assert [s["name"] for s in workspace.spec["channels"][0]["samples"]] == ["sig", "top", "zjets"]


def test_process_that_only_a_variation_brings_into_the_region_is_added_as_it_is():
    varied = {"JES": {"up": {"rare": np.array([2.0, 1.0])}, "down": {"rare": np.zeros(2)}}}
    workspace = build_workspace([region(varied, **SIMPLE, rare=(0.0, 0.0))], ["sig"])
    model = workspace_model(workspace.spec)
    at_one = np.array(model.config.suggested_init())
    at_one[model.config.par_names.index("JES")] = 1.0
    at_one[model.config.poi_index] = 0.0
    assert model.expected_actualdata(at_one) == pytest.approx([82, 31])


OBSERVED = {"signal": np.array([81.0, -1.0])}


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ({"sig": (1.0, 1.0)}, {}, "region signal, bin 0: no expected background"),
        ({"sig": (1, 1), "top": (5, 0)}, {}, "region signal, bin 1: no expected background"),
        ({"sig": (0, 0), "top": (5, 3)}, {}, r"signal \(sig\): no yield in any region"),
        (SIMPLE, {"free": ["tops"]}, "free normalisation: unknown process 'tops' .*top"),
        (SIMPLE, {"free": ["sig"]}, "process sig is signal: its normalisation is mu"),
        (
            SIMPLE,
            {"free": ["top"], "normalisation": {"top": 0.1}},
            "process top: its normalisation is free and has an uncertainty",
        ),
        (SIMPLE, {"normalisation": {"top": 0.0}}, "process top: uncertainty 0, expected more than"),
        (
            {**SIMPLE, "rare": (0, 0)},
            {"free": ["rare"]},
            "process rare: its normalisation is free, but it has no yield",
        ),
        (SIMPLE, {"observed": OBSERVED}, "region signal: observed events are .*-1.0"),
        (SIMPLE, {"observed": {}}, "region signal: observed events are none, expected 2"),
    ],
)
def test_what_has_no_meaning_is_refused(content, settings, message):
    with pytest.raises(SampleError, match=message):
        build_workspace([region(**content)], ["sig"], **settings)


@pytest.mark.parametrize("side", ["up", "down"])
def test_variation_that_empties_a_process_is_refused(side):
    varied = {"JES": {side: {"top": np.zeros(2)}}}
    with pytest.raises(
        SampleError,
        match=f"variation JES {side} leaves nothing of process top in region signal, nominally 70",
    ):
        build_workspace([region(varied, **SIMPLE)], ["sig"])


@pytest.mark.parametrize(
    "name", ["mu", "stat_background_signal", "stat_signal_signal", "norm_top", "unc_sig"]
)
def test_variation_with_the_name_of_another_parameter(name):
    varied = {name: {"up": {"top": np.array([55.0, 22.0])}}}
    with pytest.raises(SampleError, match=f"variation {name}: the name belongs to another"):
        build_workspace([region(varied, **SIMPLE)], ["sig"])


def test_regions_disagreeing_in_themselves():
    with pytest.raises(SampleError, match=r"process top: shape \(1,\), expected \(2,\)"):
        region(sig=(1.0, 2.0), top=(5.0,))
    with pytest.raises(SampleError, match="variation JES: sides are upp, expected up, down"):
        region({"JES": {"upp": {}}}, **SIMPLE)
    with pytest.raises(SampleError, match=r"unknown process 'topp' .*nearest: top"):
        region({"JES": {"up": {"topp": np.ones(2)}}}, **SIMPLE)
    with pytest.raises(SampleError, match="region signal is given 2 times"):
        build_workspace([region(**SIMPLE), region(**SIMPLE)], ["sig"])


def test_templates_are_the_events_sums():
    events = realistic(3000)
    chosen = np.where(events.regions["signal"], np.where(events.score > 0.5, 1, 0), -1)
    (filled,) = fit_regions(BinnedEvents(events, {"signal": chosen}), {"signal": 2})
    for number, process in enumerate(events.processes):
        for position in (0, 1):
            weight = events.weight[(events.process == number) & (chosen == position)]
            found = filled.nominal[process]
            assert found.yields[position] == pytest.approx(weight.sum())
            assert found.squares[position] == pytest.approx(np.sum(weight**2))


def test_an_event_in_two_regions_is_refused():
    events = realistic(100)
    everything = np.zeros(100, dtype=np.int64)
    with pytest.raises(SampleError, match="regions a and b of the fit share 100 events"):
        BinnedEvents(events, {"a": everything, "b": everything})
