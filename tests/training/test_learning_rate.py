"""The range test that ``learning_rate: auto`` stands for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from particle_transformer.errors import SampleError
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.fit import standardise
from particle_transformer.training.learning_rate import find_learning_rate, steepest
from particle_transformer.training.sample import make_sample
from training.test_recipe import EVENTS, SETTINGS, fit
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.training.settings import FitSettings

# Lightning 2.6 asks torch 2.13 in a way that torch deprecates; a fit keeps quiet about it.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

AUTO = replace(SETTINGS, learning_rate="auto")


def find(settings: FitSettings = AUTO, seed: int = 1, **validation: float) -> float:
    """The rate for a small network; `validation` spoils columns of the validation events."""
    events = EVENTS.take(np.arange(len(EVENTS)))
    for column, value in validation.items():
        getattr(events, column)[800:] = value
    torch.manual_seed(0)
    model = toy_model(num_att_blocks=1)
    training = make_sample(events, np.arange(800), [0, 1])
    standardise(model, training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = EventDataModule(
        training,
        make_sample(events, np.arange(800, 1000), [0, 1], balance="none"),
        batch_size=settings.batch_size,
        seed=seed,
    )
    rate = find_learning_rate(model, data, settings)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return rate


def test_the_steepest_fall_of_a_curve() -> None:
    log = np.linspace(-6, 0, 121)
    # A fall by 1 about 10⁻², then a divergence.
    fall = 0.7 - 1 / (1 + np.exp(-5 * (log + 2)))
    losses = fall + np.where(log > -1, 10 ** (log + 1), 0)
    assert steepest(10**log, losses) == pytest.approx(1e-2, rel=0.1)
    # The noise of batches, a tenth of the whole fall, moves it by little.
    noise = np.random.default_rng(0).normal(0, 0.1, 121)
    assert steepest(10**log, losses + noise) == pytest.approx(1e-2, rel=0.5)


def test_a_single_step_down_is_in_the_middle_of_the_line() -> None:
    losses = np.where(np.arange(60) < 40, 1.0, 0.0)
    rates = np.exp(np.arange(60.0))
    assert steepest(rates, losses) == pytest.approx(np.exp(39.5))


@pytest.mark.parametrize(
    "losses", [np.full(50, 0.7), np.arange(50.0), np.arange(29.0, 0, -1), np.ones(0)]
)
def test_a_loss_that_falls_nowhere_asks_for_a_number(losses: np.ndarray) -> None:
    rates = 10.0 ** np.linspace(-6, 0, len(losses))
    with pytest.raises(
        SampleError,
        match=r"^learning_rate: got auto, but the loss falls nowhere between 1e-06 and 0\.3; "
        r"give a number, as 0\.001$",
    ):
        steepest(rates, losses)


def test_it_is_reproducible_and_reads_no_validation_event() -> None:
    rate = find()
    assert 1e-4 < rate < 0.1
    assert find() == rate
    assert find(event=np.nan) == rate


def test_the_fit_is_that_with_the_rate_it_found(tmp_path: Path) -> None:
    model, found = fit(tmp_path / "auto", AUTO)
    assert json.loads((tmp_path / "auto/checkpoints/learning_rate.json").read_text()) == (
        found.learning_rate
    )
    other, given = fit(tmp_path / "given", replace(SETTINGS, learning_rate=found.learning_rate))
    assert found.history == given.history
    assert all(
        torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items()
    )


def test_a_resumed_fit_has_the_rate_it_began_with(tmp_path: Path) -> None:
    fit(tmp_path, AUTO)
    file = tmp_path / "checkpoints" / "learning_rate.json"
    (tmp_path / "checkpoints" / "last.ckpt").unlink()  # killed before the first epoch's end
    file.write_text("0.0007")
    _, resumed = fit(tmp_path, AUTO, resume=True)
    assert resumed.learning_rate == 0.0007
    _, given = fit(tmp_path / "given", replace(SETTINGS, learning_rate=0.0007))
    assert resumed.history == given.history
    # Without --resume it is found anew.
    _, again = fit(tmp_path, AUTO)
    assert again.learning_rate != 0.0007


def test_nothing_is_announced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, replace(AUTO, epochs=1))
    assert capfd.readouterr() == ("", "")


def test_accumulated_parts_are_one_step() -> None:
    whole = replace(AUTO, batch_size=100)
    rates = []
    for parts in (1, 4):
        settings = replace(whole, accumulate=parts)
        events, _ = toy_events(800, 3)
        torch.manual_seed(0)
        model = toy_model(num_att_blocks=1)
        training = make_sample(events, np.arange(600), [0, 1])
        standardise(model, training)
        validation = make_sample(events, np.arange(600, 800), [0, 1])
        data = EventDataModule(training, validation, batch_size=100, parts=parts)
        rates.append(find_learning_rate(model, data, settings))
    assert rates[0] == rates[1]


@pytest.mark.slow
def test_the_rate_is_found_whatever_the_seed_and_trains_well(tmp_path: Path) -> None:
    rates = [find(seed=seed) for seed in range(5)]
    assert min(rates) > 1e-3
    assert max(rates) < 2e-2
    settings = replace(SETTINGS, epochs=12)
    found, slow = (
        fit(tmp_path / str(rate), replace(settings, learning_rate=rate))[1].history
        for rate in (float(np.median(rates)), 1e-5)
    )
    # The likelihood ratio reaches 0.88 (see test_fit); a rate that is too low notices.
    assert max(record["val_auc"] or 0 for record in found) > 0.86
    assert max(record["val_auc"] or 0 for record in slow) < 0.8
