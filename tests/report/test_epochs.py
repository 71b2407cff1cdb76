"""Plots after each epoch: they show the numbers, cost nothing of the result, and are whole."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from matplotlib import image as images
from matplotlib.patches import StepPatch

from helpers.tensorboard import shown
from particle_transformer.errors import OutputError
from particle_transformer.evaluation import auc
from particle_transformer.report.epoch_plots import correlation_plot, roc_plot, score_plot
from particle_transformer.report.epochs import EpochPlots
from particle_transformer.report.style import styled
from particle_transformer.training.diagnosis import Names
from particle_transformer.training.fit import FitResult, fit_network
from particle_transformer.training.sample import make_sample
from particle_transformer.training.scores import Scores
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

NAMES = Names(
    {"jets": ["log(pt)", "eta", "mass"], "muons": ["pt", "eta"]}, ["ht"], ["met"], ["b", "s"]
)
KINDS = ("correlation", "roc", "score")


def draw_scores(events: int, seed: int = 1) -> Scores:
    rng = np.random.default_rng(seed)
    is_signal = rng.random(events) < 0.4
    score = 1 / (1 + np.exp(-rng.normal(np.where(is_signal, 1.0, -1.0))))
    return Scores(score, np.where(rng.random(events) < 0.1, -1.0, 1.0), is_signal)


def texts(figure: Any) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def render(figure: Any) -> None:
    figure.savefig(io.BytesIO(), format="png")


def test_scores_of_both_roles_are_normalised_to_one() -> None:
    validation, training = draw_scores(3000), draw_scores(2000, seed=2)
    with styled():
        figure = score_plot(validation, training, "Fold 0, network 0, epoch 3")
        render(figure)
    axes = figure.axes[0]
    steps = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
    for signal, (values, edges, _) in zip((False, True), steps, strict=True):
        own = validation.is_signal == signal
        weight = validation.weight[own]
        expected = np.histogram(validation.score[own], edges, weights=weight)[0] / weight.sum()
        np.testing.assert_allclose(values, expected)
    points = [line for line in axes.get_lines() if line.get_marker() in ("s", "o")]
    for line in points:
        assert np.sum(line.get_ydata()) == pytest.approx(1)
    assert len(points) == 2
    assert set(texts(figure)) == {
        "Background, validation", "Background, training", "Signal, validation", "Signal, training"
    }  # fmt: skip


def test_the_curves_have_their_areas() -> None:
    validation, training = draw_scores(3000), draw_scores(2000, seed=2)
    with styled():
        figure = roc_plot(validation, training, "x")
        render(figure)
    for name, events in (("Validation", validation), ("Training", training)):
        assert any(f"{name}, AUC {auc(*events).value:.4f} (" in text for text in texts(figure))


def test_events_that_define_no_curve_are_drawn_without() -> None:
    signal = Scores(np.array([0.2, 0.7]), np.ones(2), np.ones(2, dtype=bool))
    with styled():
        for figure in (
            score_plot(signal, None, "x"),
            score_plot(signal._replace(weight=-signal.weight), signal, "x"),
            score_plot(signal._replace(weight=-signal.weight), None, "x"),
            roc_plot(signal, None, "x"),
            correlation_plot(np.full((2, 2), np.nan), ["a", "score"], 0.0, "x"),
        ):
            render(figure)
    assert texts(roc_plot(signal, None, "x")) == ["Guessing"]


def test_correlations_are_written_in_percent() -> None:
    matrix = np.array([[1.0, -0.25, np.nan], [-0.25, 1.0, -0.001], [np.nan, -0.001, 1.0]])
    with styled():
        figure = correlation_plot(matrix, ["a", "$b", "score"], 1234.0, "x")
        render(figure)
    found = [text.get_text() for text in figure.axes[0].texts]
    assert found[:6] == ["100", "−25", "100", "×", "0", "100"]
    assert "1\u202f234 effective events" in found[6]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "a",
        r"\$b",
        "score",
    ]


def fit(folder: Path, callbacks: list[Any], **options: Any) -> FitResult:
    events, _ = toy_events(900)
    rng = np.random.default_rng(5)
    events = replace(
        events,
        spectators=rng.normal(size=(900, 1)).astype(np.float32),
        weight=np.where(np.arange(900) % 7 == 0, -0.5, 1.0),
    )
    training, validation = (
        make_sample(events, rows, target=[0, 1]) for rows in (np.arange(600), np.arange(600, 900))
    )
    torch.manual_seed(0)
    return fit_network(
        toy_model(dropout=0.1), training, validation,
        FitSettings(epochs=2, batch_size=100, learning_rate=3e-3, **options),
        checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs", names=NAMES,
        loggers=[{"name": "tensorboard"}], callbacks=callbacks,
    )  # fmt: skip


def test_every_epoch_is_drawn_and_the_training_stays_the_same(tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    drawn = fit(tmp_path / "a", [EpochPlots(plots, "Fold 0, network 0")])
    assert drawn.history == fit(tmp_path / "b", []).history
    assert sorted(path.name for path in plots.iterdir()) == sorted(
        f"epoch-{epoch:03d}-{kind}.png" for epoch in range(2) for kind in KINDS
    )
    board = shown(tmp_path / "a" / "logs")
    for kind in KINDS:
        assert [step for step, _ in board[f"plots/{kind}"]] == [5, 11] == [
            step for step, _ in board["val_loss"]
        ]  # fmt: skip
        for epoch, (_, png) in enumerate(board[f"plots/{kind}"]):
            on_disk = images.imread(plots / f"epoch-{epoch:03d}-{kind}.png")[:, :, :3]
            np.testing.assert_array_equal(images.imread(io.BytesIO(png)), on_disk)
            assert on_disk.std() > 0.05  # something is drawn


def test_what_is_drawn_is_what_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Any]] = {"score": [], "correlation": []}

    def keep_scores(validation: Scores, training: Scores, title: str) -> Any:
        seen["score"].append((validation, training, title))
        return score_plot(validation, training, title)

    def keep_correlation(matrix: Any, names: Any, events: float, title: str) -> Any:
        seen["correlation"].append((matrix, names, events))
        return correlation_plot(matrix, names, events, title)

    monkeypatch.setattr("particle_transformer.report.epochs.score_plot", keep_scores)
    monkeypatch.setattr("particle_transformer.report.epochs.correlation_plot", keep_correlation)
    # An average that forgets nothing: what is validated are the weights at the start, nearly.
    result = fit(tmp_path, [EpochPlots(tmp_path / "plots", "Fold 3")], ema=0.999)
    events, target = toy_events(900)
    for (validation, training, title), record in zip(seen["score"], result.history, strict=True):
        assert auc(*validation).value == pytest.approx(record["val_auc"], abs=1e-6)
        assert np.sum(validation.is_signal) == np.sum(target[600:])
        np.testing.assert_array_equal(training.is_signal, target[:600] == 1)
        assert set(training.weight) == {1.0, -0.5}
        assert title == f"Fold 3, epoch {record['epoch']}"
        # Both are scored by the same network: the average, which has hardly begun to learn.
        assert abs(float(np.mean(training.score)) - float(np.mean(validation.score))) < 0.02
    matrix, names, effective = seen["correlation"][-1]
    assert names == [
        "ht", "jets 1: log(pt)", "jets 1: eta", "jets 1: mass", "muons 1: pt", "muons 1: eta",
        "met", "score",
    ]  # fmt: skip
    background = 600 + np.flatnonzero(target[600:] == 0)
    weight = np.where(background % 7 == 0, -0.5, 1.0)
    assert effective == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    jets = events.objects["jets"]
    has = np.flatnonzero(jets.counts[background])
    first = jets.values[jets.offsets[:-1][background[has]], 0].astype(float)
    ht = events.event[background[has], 0].astype(float)
    w = weight[has] / weight[has].sum()
    x, y = first - w @ first, ht - w @ ht
    expected = (w @ (x * y)) / np.sqrt((w @ x**2) * (w @ y**2))
    assert matrix[1, 0] == pytest.approx(expected, rel=1e-6)


def test_an_average_is_what_training_events_are_scored_by(tmp_path: Path) -> None:
    found = []

    class Keep(EpochPlots):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            assert self._training is not None
            again = [pl_module.score(batch) for batch in self._excerpt]
            found.append((self._training.score, Scores.concatenate(again).score))

    fit(tmp_path, [Keep(tmp_path / "plots", "x")], ema=0.5)
    for averaged, current in found:
        assert np.abs(averaged - current).max() > 1e-4
    fit(tmp_path, [Keep(tmp_path / "plots", "x")])
    for averaged, current in found[2:]:
        np.testing.assert_allclose(averaged, current, atol=1e-6)


def test_a_full_disk_stops_with_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(where: Path, image: Any) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.image.imsave", full)
    with pytest.raises(OutputError, match=r"epoch-000-score.png: cannot be written \(No space"):
        fit(tmp_path, [EpochPlots(tmp_path / "plots", "x")])
    assert not list((tmp_path / "plots").iterdir())
