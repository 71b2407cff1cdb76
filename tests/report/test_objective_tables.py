"""Tables and plot of hypotheses, regressed quantities and the ABCD method."""

from __future__ import annotations

import io

import numpy as np
import pytest

from particle_transformer.report.hypothesis_plot import hypothesis_plot
from particle_transformer.report.objective_tables import (
    abcd_auc_rows,
    abcd_rows,
    hypothesis_rows,
    regression_rows,
)
from particle_transformer.report.style import styled


def _figure(value, error=None, effective=100.0, reason=None):
    return {"value": value, "error": error, "effective_events": effective, "reason": reason}


def _hypothesis(mass, area, error=0.003):
    return {
        "parameters": {"mass": mass}, "processes": [f"m{mass:g}"],
        "auc": _figure(area, error, reason=None if area else "no signal event"),
        "rejection": {"0.5": _figure(120.0, 4.0)}, "significance": _figure(2.5, 0.1),
    }  # fmt: skip


def test_rows_say_what_the_metrics_say():
    (row,) = hypothesis_rows({"hypotheses": [_hypothesis(1000.0, 0.9123)]})
    assert row == {
        "name": "mass = 1000", "processes": "m1000", "auc": "0.9123 ± 0.0030",
        "rejection": ["120 ± 4"], "significance": "2.50 ± 0.10", "effective": "100",
    }  # fmt: skip
    (row,) = regression_rows(
        {"regression": {"gen_met": {"top": {
            "events": 12, "bias": _figure(-1.0, 0.5, 9.0), "resolution": _figure(20.0, 2.0, 9.0)
        }}}}
    )  # fmt: skip
    assert row == {
        "name": "gen_met", "class": "top", "events": "12", "effective": "9",
        "bias": "−1.0 ± 0.5", "resolution": "20.0 ± 2.0",
    }  # fmt: skip
    cut = {
        "background_efficiency": [0.1, 0.3],
        "background": {"A": _figure(30.0, 3.0)},
        "predicted": _figure(None, reason="the background yield in region C is -1, not positive"),
        "closure": _figure(
            None, effective=5.0, reason="the background yield in region C is -1, not positive"
        ),
        "contamination": {region: _figure(0.1, 0.02) for region in "ABCD"},
    }
    (row,) = abcd_rows({"abcd": {"cuts": [cut]}})
    assert row["name"] == "10\u202f% and 30\u202f%"
    assert (row["observed"], row["predicted"], row["closure"]) == (
        "30.0 ± 3.0", "undefined", "undefined"
    )  # fmt: skip
    assert row["contamination"] == [f"{region}: 0.100 ± 0.020" for region in "ABCD"]
    (first, second) = abcd_auc_rows(
        {
            "abcd": {
                "auc": [{"0": _figure(0.8, None), "1": _figure(0.7, None)}, {"0": _figure(None)}]
            }
        }
    )
    assert first == {"name": "score 1", "folds": ["0.8000", "0.7000"]}
    assert second == {"name": "score 2", "folds": ["undefined"]}
    assert row["remark"] == "the background yield in region C is -1, not positive"


def test_a_run_without_them_has_no_rows():
    assert hypothesis_rows({}) == regression_rows({}) == abcd_rows({}) == []
    assert abcd_auc_rows({}) == []


def test_the_plot_shows_each_defined_area_at_its_value():
    found = [_hypothesis(1000.0, 0.9), _hypothesis(500.0, 0.8), _hypothesis(750.0, None)]
    with styled():
        figure = hypothesis_plot(found)
        (axes,) = figure.axes
        line = axes.lines[0]
        np.testing.assert_array_equal(line.get_xdata(), [500, 1000])
        np.testing.assert_array_equal(line.get_ydata(), [0.8, 0.9])
        assert axes.get_xlabel() == "mass"
        figure.savefig(io.BytesIO(), format="svg")


@pytest.mark.parametrize("areas", [[None, None], [0.7]])
def test_the_plot_of_few_points(areas):
    with styled():
        figure = hypothesis_plot([_hypothesis(float(n), area) for n, area in enumerate(areas)])
        figure.savefig(io.BytesIO(), format="svg")
