"""Plots show the numbers they claim to show."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import StepPatch

from evaluation.samples import realistic, scored
from particle_transformer.evaluation import evaluate, reliability, roc_band
from particle_transformer.report.check_plots import reliability_plot
from particle_transformer.report.curves import auc_by_fold, best_epoch, roc_plot, training_curves
from particle_transformer.report.histograms import feature_edges, filled, shape
from particle_transformer.report.score_plots import (
    feature_shapes,
    overlay_factor,
    score_edges,
    score_shapes,
    score_stack,
)
from particle_transformer.report.style import styled
from particle_transformer.report.yield_plot import yield_plot


@pytest.fixture(autouse=True)
def style():
    with styled():
        yield


@pytest.fixture(scope="module")
def events():
    return realistic(3000)


@pytest.fixture(scope="module")
def metrics(events):
    validation = realistic(2000, seed=2, share=0.4)
    return evaluate(
        events,
        validation,
        working_points=[0.3, 0.5],
        background_uncertainty=0.1,
        folds=3,
        bootstrap=20,
    )


def render(figure):
    """Draw, so that a label that fails or a glyph that is missing shows (as a warning)."""
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    assert out.getvalue().startswith(b"<?xml")


def labels(figure):
    legend = figure.axes[0].get_legend() or figure.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def test_stack_adds_up_to_the_background_and_names_the_factor(events):
    figure = score_stack(events, "59.8 fb⁻¹ (13 TeV)")
    render(figure)
    axes = figure.axes[0]
    steps = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
    background = ~events.is_signal
    total = np.histogram(
        events.score[background], score_edges(events), weights=events.weight[background]
    )
    assert any(np.allclose(step[0], total[0]) for step in steps)
    # 35 signal events under 8300 of background: two powers of ten.
    assert "ttH × 100" in labels(figure)
    assert {"TTbar", "ZToNuNu", "WToLNu"} < set(labels(figure))
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert 0 < low < high < np.inf
    assert axes.get_title(loc="right") == "59.8 fb⁻¹ (13 TeV)"
    assert axes.get_ylabel() == "Events / 0.04"


@pytest.mark.parametrize(
    ("signal", "background", "factor"), [(35, 8300, 100), (9, 8, 1), (-1, 8, 1), (8, 80, 10)]
)
def test_overlay_factor(signal, background, factor):
    assert overlay_factor(signal, background) == factor


def test_shapes_are_normalised(events):
    figure = score_shapes(events)
    render(figure)
    steps = [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]
    assert len(steps) == 4
    for patch in steps:
        assert patch.get_data()[0].sum() == pytest.approx(1)


def test_roc_passes_through_the_curve_and_the_working_points(events, metrics):
    band = roc_band(events, np.linspace(0.05, 1, 20), replicas=20)
    assert band is not None
    figure = roc_plot(events, band, metrics)
    render(figure)
    axes = figure.axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.get_lines()}
    everything = next(xy for name, xy in lines.items() if name.startswith("All backgrounds"))
    assert np.allclose(everything[:, 1] * band.background_efficiency, 1)
    assert len([name for name in lines if "AUC" in name]) == 4
    marked = [np.asarray(line.get_xydata()) for line in axes.get_lines()]
    marked = [xy for xy in marked if len(xy) == 2]
    expected = [
        [point["signal_efficiency"], point["value"]] for point in metrics["rejection"].values()
    ]
    assert any(np.allclose(xy, expected) for xy in marked)


def test_auc_by_fold_shows_each_fold(metrics):
    figure = auc_by_fold(metrics)
    render(figure)
    expected = [part["auc"]["value"] for part in metrics["folds"].values()]
    lines = [np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert any(line.tolist() == expected for line in lines)


def test_training_curves_star_the_best_epoch():
    epochs = [
        {"epoch": e, "train_loss": 1 / (e + 1), "val_loss": (e - 2) ** 2 + 1.0} for e in range(5)
    ]
    assert best_epoch(epochs)["epoch"] == 2
    figure = training_curves({0: epochs, 1: epochs[:1], 2: epochs, 3: epochs})
    render(figure)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [f"Fold {f}" for f in range(4)]
    star = shown[0].get_lines()[-1]
    assert np.asarray(star.get_xydata()).tolist() == [[2, 1.0]]


def test_features_with_missing_values_constants_and_dollars(events):
    columns = {
        "MET [GeV]": np.where(events.score > 0.5, 300.0, np.nan),
        "constant": np.full(len(events), 1.5),
        "$weird_name": np.arange(len(events)) % 5,
        "gaussian η": np.random.default_rng(1).normal(size=len(events)),
    }
    figure = feature_shapes(events, columns)
    render(figure)
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["MET [GeV]", "constant"]
    assert labels(figure) == ["Background", "Signal"]


def test_yields_of_all_events_and_behind_the_cut(events, metrics):
    figure = yield_plot(events, metrics, "59.8 fb⁻¹")
    render(figure)
    shown = np.concatenate([line.get_xdata() for line in figure.axes[0].get_lines()])
    for index in range(4):
        assert np.isclose(shown, events.weight[events.process == index].sum()).any()
    assert np.isclose(shown, metrics["significance"]["signal_yield"]).any()


def test_reliability_is_drawn(events):
    table = reliability(events)
    assert table is not None
    render(reliability_plot(table))


def test_processes_without_positive_weight_do_not_break_a_plot(events, metrics):
    negative = dataclasses.replace(
        events, weight=np.where(events.process == 2, -abs(events.weight), events.weight)
    )
    for figure in (score_stack(negative, ""), score_shapes(negative)):
        render(figure)
    render(yield_plot(negative, metrics, ""))
    only_signal = scored([0.3, 0.9], [True, True])
    render(score_stack(only_signal, ""))
    render(score_shapes(only_signal))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_edges_rise_for_any_values(values):
    edges = feature_edges(np.array(values))
    assert np.all(np.diff(edges) > 0)
    assert np.isfinite(edges).all()


def test_integers_get_a_bin_each():
    assert feature_edges(np.array([0.0, 1, 2, 3])).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]


def test_bins_sum_weights_and_squares():
    values, weight = np.array([0.1, 0.2, 0.9, 5.0]), np.array([3.0, -1.0, 2.0, 4.0])
    contents, errors = filled(values, weight, np.array([0.0, 0.5, 1.0]))
    assert contents.tolist() == [2, 2]
    assert errors == pytest.approx([np.sqrt(10), 2])
    fractions, _ = shape(values, weight, np.array([0.0, 0.5, 1.0]))
    assert fractions == pytest.approx([0.25, 0.25])  # of all events, also those beyond
