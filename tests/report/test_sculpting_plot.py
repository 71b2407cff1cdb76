"""Shapes behind cuts: the ratio by hand, and what the figure shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from evaluation.samples import realistic
from particle_transformer.evaluation import sculpting
from particle_transformer.report.sculpting_plot import ratio_to_all, sculpting_plot
from particle_transformer.report.style import styled

EDGES = np.array([0.0, 1.0, 2.0, 3.0])


@pytest.fixture(autouse=True)
def style():
    with styled():
        yield


def test_ratio_by_hand():
    # First bin: weights 1 and 2 pass, 3 fails. Second: 4 passes. Third: nothing.
    values = np.array([0.5, 0.5, 0.5, 1.5])
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    ratio, error = ratio_to_all(values, weight, np.array([True, True, False, True]), EDGES)
    # s = 3, f = 3, S = 7, A = 10: (3/7) / (6/10) = 5/7; all pass in the second: (4/7) / (4/10).
    assert ratio[:2] == pytest.approx([5 / 7, 10 / 7])
    # σ² = (10/7)² (9·5 + 9·9) / 6⁴; no error where none fails.
    assert error[:2] == pytest.approx([10 / 7 * np.sqrt(126) / 36, 0.0])
    assert np.isnan(ratio[2])
    assert np.isnan(error[2])


def test_a_cut_that_looks_at_something_else_leaves_ratios_of_one():
    rng = np.random.default_rng(1)
    values, weight = rng.uniform(0, 3, 40_000), rng.choice([1.0, 1.0, -0.3], 40_000)
    ratio, error = ratio_to_all(values, weight, rng.random(40_000) < 0.1, EDGES)
    assert np.all(abs(ratio - 1) < 4 * error)
    assert np.all(error < 0.1)


def test_the_error_is_the_scatter_of_repeated_experiments():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        values, weight = rng.uniform(0, 3, 3000), rng.choice([1.0, 1.0, -0.3], 3000)
        found.append(ratio_to_all(values, weight, rng.random(3000) < 0.1, EDGES))
    scatter = np.std([ratio for ratio, _ in found], axis=0)
    # That of the total, which the bins have in common, is left out: a third of the variance here.
    expected = np.mean([error for _, error in found], axis=0)
    np.testing.assert_allclose(scatter, np.sqrt(2 / 3) * expected, rtol=0.15)


def test_ratios_of_events_that_define_none():
    values, weight = np.array([0.5, 1.5]), np.array([-1.0, 2.0])
    for passes in ([True, False], [False, False]):
        ratio, _ = ratio_to_all(values, weight, np.array(passes), EDGES)
        assert np.isnan(ratio).all()


def figure(runs=1, events=6000):
    sample = realistic(events)
    background = ~sample.is_signal
    column = np.random.default_rng(3).exponential(100 + 200 * sample.score)
    block = sculpting(sample, realistic(events, seed=2), {"met.pt": column}, folds=3)
    chosen = sample.select(background)
    content = [(f"Run {number}", chosen, block) for number in range(runs)]
    made = sculpting_plot("met.pt", column[background], content)
    made.savefig(io.BytesIO(), format="svg")
    return made, block


def test_every_shape_is_normalised_and_named():
    made, block = figure(runs=2)
    main, ratio = made.axes[0], made.axes[2]
    steps = [patch.get_data() for patch in main.patches if isinstance(patch, StepPatch)]
    for contents, _, _ in steps:
        assert 0.95 < contents.sum() <= 1 + 1e-9  # the central 99 % of all events
    legend = [text.get_text() for text in main.get_legend().get_texts()]
    shown = [
        f"Most signal-like {100 * float(cut):g}%"
        for cut, found in block["cuts"].items()
        if found["effective_events"] >= 20
    ]
    assert legend == ["All background", *shown]
    assert len(steps) == len(legend)
    assert main.get_title(loc="left") == "Run 0"
    value = block["spectators"]["met.pt"]["value"]
    assert float(main.get_title(loc="right").removeprefix("dCorr² = ")) == pytest.approx(
        value, rel=0.05
    )
    assert ratio.get_xlabel() == "met.pt"
    # A spectator that rises with the score: the ratio of the tightest cut rises, too.
    points = [np.asarray(line.get_ydata(), float) for line in ratio.get_lines()]
    drawn = [y for y in points if len(y) > 5]
    assert all(y[-3:].mean() > y[:3].mean() for y in drawn)


def test_cuts_with_too_few_events_are_left_out():
    made, block = figure(events=150)
    assert block["cuts"]["0.01"]["effective_events"] < 20
    legend = [text.get_text() for text in made.axes[0].get_legend().get_texts()]
    assert legend == ["All background", "Most signal-like 50%"]
