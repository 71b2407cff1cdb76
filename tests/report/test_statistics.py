"""Limit and checks in the report: what is shown is what the metrics say."""

from __future__ import annotations

import dataclasses
import html
import io
import re

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.patches import Rectangle, StepPatch

from evaluation.samples import realistic
from particle_transformer.evaluation import (
    FitChoices,
    VariedEvents,
    evaluate,
    evaluate_calibration,
    evaluate_limit,
    evaluate_overtraining,
    evaluate_stability,
    undefined_limit,
)
from particle_transformer.report import ReportContent, write_report
from particle_transformer.report.check_plots import overtraining_plot
from particle_transformer.report.limit_plots import limit_plot, template_plot
from particle_transformer.report.parameter_plot import parameter_plot
from particle_transformer.report.statistics_tables import (
    calibration_rows,
    limit_card,
    limit_text,
    overtraining_text,
    stability_rows,
)
from particle_transformer.report.style import styled

FOLDS = 3


def sample(seed, share=1.0):
    events = realistic(4000, seed=seed, share=share)
    inside = events.score > 0.2
    return dataclasses.replace(events, regions={"signal": inside, "control": ~inside})


@pytest.fixture(scope="module")
def content():
    test, validation, training = sample(1), sample(2, 2 / 15), sample(3)
    metrics = evaluate(
        test, validation, working_points=[0.5], background_uncertainty=0.1, folds=FOLDS,
        signal_regions=["signal"], bootstrap=5,
    )  # fmt: skip
    varied = dataclasses.replace(test, weight=test.weight * 1.1)
    sides = {"JES": {"up": VariedEvents(varied, np.arange(len(test)))}}
    metrics["limit"], _ = evaluate_limit(
        test, validation, ["signal"], ["control"], folds=FOLDS,
        variations={"JES": {"up": varied}},
        choices=FitChoices(normalisation={"TTbar": 0.1}),
    )  # fmt: skip
    metrics["calibration"] = evaluate_calibration(test, validation, folds=FOLDS, bootstrap=5)
    metrics["overtraining"] = evaluate_overtraining(test, training, folds=FOLDS)
    metrics["stability"] = evaluate_stability(
        test, validation, sides, working_points=[0.5], folds=FOLDS, signal_regions=["signal"]
    )
    return ReportContent(
        title="demo", metrics=metrics, test=test, luminosity="59.8 fb⁻¹",
        signal_regions=["signal"], compared=(training, test),
    )  # fmt: skip


def words(path):
    text = re.sub(r"<[^>]+>", " ", path.read_text("utf-8").partition("<body>")[2])
    return " ".join(html.unescape(text).split())


def test_page_shows_the_limit_and_the_checks(content, tmp_path):
    page = write_report(tmp_path / "index.html", content=content)
    text, metrics = words(page), content.metrics
    assert metrics["limit"]["reason"] is None
    assert limit_text(metrics["limit"])[1:] in text
    assert limit_card(metrics["limit"])["value"] in text
    assert overtraining_text(metrics) in text
    for row in (*calibration_rows(metrics), *stability_rows(metrics)):
        assert row["name"] in text
    for note in metrics["limit"]["notes"]:
        assert note in text
    plots = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert {"limit", "templates", "parameters", "overtraining", "reliability"} <= plots


def test_page_of_a_run_without_limit_says_why(content, tmp_path):
    limit = undefined_limit("region signal, bin 0: no expected background", 0.9)
    metrics = {**content.metrics, "limit": limit}
    page = write_report(
        tmp_path / "index.html", content=dataclasses.replace(content, metrics=metrics)
    )
    said = "90 % CL limit on the signal strength: undefined: region signal, bin 0: no expected"
    assert said in words(page)
    assert not (tmp_path / "plots" / "limit.pdf").exists()
    assert limit_card(limit)["value"] == "undefined"


def test_numbers_of_the_limit_in_one_line():
    limit = {
        "median": 3.0, "band": [1.614, 2.163, 3.0047, 4.2201, 5.7958], "level": 0.95,
        "significance": 0.6009, "reason": None,
    }  # fmt: skip
    assert limit_text(limit) == (
        "expected 95 % CL limit on the signal strength: 3.00 (68 %: 2.16 to 4.22, 95 %: 1.61 to "
        "5.80); expected significance of the fit: 0.601 σ"
    )
    assert limit_card(limit)["value"] == "3.0 +1.2 −0.8"


def test_stability_in_percent(content):
    row = stability_rows(content.metrics)[0]
    assert (row["name"], row["process"], row["yield"]) == ("JES up", "ttH", "10")
    assert row["efficiency"] == ["0"]


def test_templates_and_errors_of_the_plot_are_those_of_the_metrics(content):
    with styled():
        figure = template_plot(content.test, content.metrics["limit"], "59.8 fb⁻¹")
        figure.savefig(io.BytesIO(), format="svg")
    upper, _control, lower, _ = figure.axes
    region = content.metrics["limit"]["regions"]["signal"]
    total = np.array(region["background"]["yields"])
    steps = [patch.get_data() for patch in upper.patches if isinstance(patch, StepPatch)]
    assert any(np.allclose(step[0], total) for step in steps)
    signal = content.metrics["limit"]["median"] * np.array(region["processes"]["ttH"]["yields"])
    assert any(np.allclose(step[0], signal) for step in steps)
    shown = [patch.get_data()[0] for patch in lower.patches if isinstance(patch, StepPatch)]
    for key, values in zip(("errors_before_fit", "errors_after_fit"), shown, strict=True):
        assert values == pytest.approx((np.array(region["background"][key]) / total).tolist())
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["control"]


def test_bars_of_the_ranking_and_of_the_band(content):
    limit = content.metrics["limit"]
    with styled():
        ranking, band = parameter_plot(limit["parameters"]), limit_plot(limit)
        for figure in (ranking, band):
            figure.savefig(io.BytesIO(), format="svg")
    up, down = (bars for bars in ranking.axes[1].containers if isinstance(bars, BarContainer))
    widths = [[bar.get_width() for bar in bars] for bars in (up, down)]
    assert widths[0] == pytest.approx([row["impact_up"] for row in limit["parameters"][:20]])
    assert widths[1] == pytest.approx([row["impact_down"] for row in limit["parameters"][:20]])
    drawn = [bar for bar in band.axes[0].patches if isinstance(bar, Rectangle)]
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in drawn]
    low2, low1, _, high1, high2 = limit["band"]
    assert spans[:2] == [pytest.approx((low2, high2)), pytest.approx((low1, high1))]


def test_overtraining_plot_names_the_p_values(content):
    training, test = content.compared
    block = content.metrics["overtraining"]
    with styled():
        figure = overtraining_plot(test, training, block)
        figure.savefig(io.BytesIO(), format="svg")
    box = figure.axes[0].get_legend()
    assert box is not None
    legend = [text.get_text() for text in box.get_texts()]
    shown = ", ".join(f"{fold['p_value']:.2g}" for fold in block["classes"]["signal"].values())
    assert f"Signal, training; KS p by fold: {shown}" in legend
    assert "Background, test" in legend


def test_no_temperature_leaves_the_scores_as_they_are(content, tmp_path):
    block = content.metrics["calibration"]
    lost = {**block, "temperatures": {**block["temperatures"], "1": None}}
    lost["after"] = {**block["after"], "value": None, "noise": None, "reason": "fold 1: none"}
    rows = calibration_rows({"calibration": lost})
    assert rows[1]["value"] == "undefined"
    assert rows[1]["remark"].startswith("fold 1: none; temperatures by fold: ")
    metrics = {**content.metrics, "calibration": lost}
    page = write_report(
        tmp_path / "index.html", content=dataclasses.replace(content, metrics=metrics)
    )
    assert "fold 1: none" in words(page)
    assert (tmp_path / "plots" / "reliability.pdf").exists()
