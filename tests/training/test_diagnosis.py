"""A loss that is not finite is traced to what caused it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from particle_transformer.errors import SampleError
from particle_transformer.losses.decorrelation import DisCo
from particle_transformer.model import fit_scaling
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.diagnosis import Names, cause
from particle_transformer.training.fit import fit_network
from particle_transformer.training.objective import Decorrelation, Objective
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.events import Events
    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.batch import Batch

NAMES = Names(
    {"jets": ["log(pt)", "eta", "mass"], "muons": ["pt", "charge"]},
    ["log(met.pt)"],
    ["met.pt", "m_jj"],
    ["ttbar", "gluino"],
)
EVENT = 161
"""The event that is spoilt: of validation, as the fit of the scaling refuses others."""


def sample_events() -> Events:
    """Toy events with two spectators, of which event `EVENT` has jets and is gluino."""
    events, _ = toy_events(200)
    spectators = np.random.default_rng(1).normal(100, 10, (200, 2)).astype(np.float32)
    events = replace(events, spectators=spectators)
    assert events.objects["jets"].counts[EVENT] > 1
    assert events.process[EVENT] == 1
    return events


def spoil(events: Events, what: str, value: float) -> None:
    """Give the last jet, or the event itself, a value."""
    jets = events.objects["jets"]
    last = int(jets.offsets[EVENT + 1]) - 1
    assert jets.momenta is not None
    {
        "feature": jets.values[last, 1:2],
        "event": events.event[EVENT],
        "momenta": jets.momenta[last, 3:],
        "spectator": events.spectators[EVENT, 1:],
        "weight": events.weight[EVENT : EVENT + 1],
    }[what][:] = value


def fit(events: Events, folder: Path, **options: Any) -> None:
    training, validation = (
        make_sample(events, rows, target=[0, 1], balance="none")
        for rows in (np.arange(100), np.arange(100, 200))
    )
    torch.manual_seed(0)
    pair_bias = options.pop("pair_bias", False)
    fit_network(
        toy_model(pair_bias=pair_bias), training, validation,
        FitSettings(epochs=1, batch_size=20, **options),  # validation: 80 and 20 events
        checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs", names=NAMES,
    )  # fmt: skip


DISCO = Objective(disco=Decorrelation(DisCo(1.0), (1,), "all"))
NAMED = {
    "feature": "feature 'eta' of jets",
    "event": "event feature 'log(met.pt)'",
    "momenta": "the momentum E of jets",
    "spectator": "spectator 'm_jj'",
    "weight": "the training weight",
}


@pytest.mark.parametrize(
    ("what", "value"),
    [
        *(
            (what, value)
            for what in ("feature", "event", "spectator")
            for value in (np.nan, np.inf)
        ),
        *(("momenta", value) for value in (np.nan, np.inf, 1e30)),
    ],
)
def test_a_fit_stops_and_names_the_culprit_with_its_process_and_batch(
    tmp_path: Path, what: str, value: float
) -> None:
    events = sample_events()
    spoil(events, what, value)
    with pytest.raises(SampleError) as caught:
        fit(events, tmp_path, pair_bias=what == "momenta", objective=DISCO)
    large = ", too large for float32's squares" if value == 1e30 else ""
    assert str(caught.value) == (
        f"the validation loss is nan in epoch 0, batch 1: {NAMED[what]} is {value:g} in an event "
        f"of process 'gluino'{large}"
    )


def test_what_is_finite_is_not_accused(tmp_path: Path) -> None:
    fit(sample_events(), tmp_path, pair_bias=True, objective=DISCO)


def batch_of(events: Events) -> tuple[AnalysisObjectTransformer, Batch]:
    """A network that knows the scaling of some events, and the batch of the others."""
    training, validation = (
        make_sample(events, rows, target=[0, 1], balance="none")
        for rows in (np.arange(100), np.arange(100, 200))
    )
    model = toy_model()
    known = events.take(np.arange(100))
    fit_scaling(model, {name: part.values for name, part in known.objects.items()}, known.event)
    data = EventDataModule(training, validation, batch_size=100, seed=1, momenta=True)
    (batch,) = data.val_dataloader()
    return model, batch


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e30])
@pytest.mark.parametrize("what", list(NAMED))
def test_each_cause_by_itself(what: str, value: float) -> None:
    model, batch = batch_of(sample_events())
    if what == "weight":
        batch.weight[EVENT - 100] = value
    else:
        spoilt = sample_events()
        spoil(spoilt, what, value)
        _, batch = batch_of(spoilt)
    large = ", too large for float32's squares" if value == 1e30 else ""
    assert cause(model, batch, NAMES) == (
        f"{NAMED[what]} is {value:g} in an event of process 'gluino'{large}"
    )
    # What has no name is called by its number.
    nameless = {
        "feature": "feature 1 of jets", "event": "event feature 0", "spectator": "spectator 1"
    }.get(what, NAMED[what])  # fmt: skip
    assert cause(model, batch, Names()) == (
        f"{nameless} is {value:g} in an event of process 1{large}"
    )


def test_a_feature_far_from_what_was_trained_with_comes_with_its_distance() -> None:
    events = sample_events()
    spoil(events, "feature", 1e5)  # mean 100, standard deviation 20
    spoil(events, "event", 30.0)  # 12 standard deviations: rare, no more
    told = cause(*batch_of(events), NAMES)
    found = re.fullmatch(
        r"feature 'eta' of jets is 100000 in an event of process 'gluino', ([\d.e+]+) standard "
        r"deviations from its mean in training",
        told,
    )
    assert found is not None, told
    assert float(found[1]) == pytest.approx((1e5 - 100) / 20, rel=0.2)


def test_a_spoilt_network_is_told_before_its_inputs() -> None:
    events = sample_events()
    spoil(events, "event", np.nan)
    model, batch = batch_of(events)
    name, parameter = list(model.named_parameters())[3]
    with torch.no_grad():
        parameter.view(-1)[0] = torch.nan
    assert cause(model, batch, NAMES) == (
        f"1 of the network's parameters are NaN or infinite ({name} is the first), so an earlier "
        "step has spoilt them: lower the learning rate or gradient_clip"
    )


def test_where_nothing_is_wrong_with_the_inputs_the_step_is_suspected() -> None:
    assert cause(*batch_of(sample_events()), NAMES) == (
        "its inputs are finite and not extreme: lower the learning rate, or use precision: float32"
    )


def test_a_weight_that_is_not_finite_never_reaches_the_network(tmp_path: Path) -> None:
    events = sample_events()
    spoil(events, "weight", np.nan)
    with pytest.raises(SampleError, match="1 of 100 physics weights are NaN or infinite"):
        fit(events, tmp_path)
