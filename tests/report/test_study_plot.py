"""The plot of a study shows what was found, and hides nothing."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from particle_transformer.report.study_plot import study_plot
from particle_transformer.report.style import styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Found:
    number: int
    state: str
    loss: float | None
    values: Mapping[str, Any] = field(default_factory=dict)


RANGES = {"training.learning_rate": True}


def trials() -> list[Found]:
    rng = np.random.default_rng(1)
    found = []
    for number in range(12):
        values = {
            "training.learning_rate": float(10 ** rng.uniform(-4, -2)),
            "training.ema": [None, 0.9][number % 2],
            "model.embed_dims": [64, 128, 16][number % 3],
        }
        found.append(Found(number, "complete", float(rng.uniform(0.4, 0.5)), values))
    found[3] = Found(3, "pruned", 0.48, found[3].values)
    found[4] = Found(4, "pruned", None, found[4].values)
    found[5] = Found(5, "complete", 25.0, found[5].values)
    found[6] = Found(6, "running", 0.1, found[6].values)
    return found


def drawn(figure: Figure) -> None:
    """Draw, so that a label that fails or a glyph that is missing shows (as a warning)."""
    figure.savefig(io.BytesIO(), format="png")


@pytest.fixture(autouse=True)
def style():
    with styled():
        yield


def test_the_line_is_the_best_so_far() -> None:
    figure = study_plot(trials(), {}, RANGES)
    drawn(figure)
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "Best so far"]
    complete = [trial for trial in trials() if trial.state == "complete"]
    np.testing.assert_array_equal(line.get_xdata(), [trial.number for trial in complete])
    expected = [
        min(trial.loss for trial in complete[: count + 1] if trial.loss is not None)
        for count in range(len(complete))
    ]
    np.testing.assert_array_equal(line.get_ydata(), expected)


def test_every_ended_trial_is_in_every_panel() -> None:
    figure = study_plot(trials(), {}, RANGES)
    drawn(figure)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        points = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections])
        assert len(points) == 11
        low, top = axes.get_ylim()
        assert ((points[:, 1] >= low) & (points[:, 1] <= top)).all()
        # The loss of 25 and the one that is not known stand at the upper edge.
        assert (points[:, 1] == top).sum() == 2
        (best,) = [line for line in axes.lines if str(line.get_label()).startswith("Best: ")]
        complete = [trial for trial in trials() if trial.state == "complete"]
        assert np.asarray(best.get_ydata())[0] == min(trial.loss or math.inf for trial in complete)


def test_choices_are_named_and_ranges_are_numbers() -> None:
    figure = study_plot(trials(), {"model.embed_dims": 0.75, "training.ema": 0.2}, RANGES)
    drawn(figure)
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    # The most important first.
    assert list(panels) == ["Trial", "model.embed_dims", "training.ema", "training.learning_rate"]
    assert panels["model.embed_dims"].get_title(loc="right") == "importance 75%"
    names = [label.get_text() for label in panels["model.embed_dims"].get_xticklabels()]
    assert names == ["16", "64", "128"]
    names = [label.get_text() for label in panels["training.ema"].get_xticklabels()]
    assert names == ["0.9", "None"]
    assert panels["training.learning_rate"].get_xscale() == "log"


def test_one_trial_is_enough() -> None:
    figure = study_plot([Found(0, "complete", 0.5, {"model.dropout": 0.1})], {}, {})
    drawn(figure)
    low, top = figure.axes[0].get_ylim()
    assert low < 0.5 < top
