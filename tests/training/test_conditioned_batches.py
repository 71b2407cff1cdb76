"""Conditioned training: what batches hold, and where the shares of the points come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml

from helpers.runs import small_analysis
from particle_transformer.config import load_analysis
from particle_transformer.errors import SampleError
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.from_analysis import conditioning_of
from particle_transformer.training.sample import Sample, make_sample
from training.toys import toy_events

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.training.datamodule import BatchLoader

CONDITIONING = Conditioning(("mass",), ((500.0,), (1000.0,)), (0.25, 0.75), (-1, 0, 1))


def _data(augmentation: Augmentation | None = None) -> EventDataModule:
    events, target = toy_events(2000)
    # Signal of two masses, and background.
    process = np.where(target == 1, 1 + np.arange(2000) % 2, 0).astype(np.int16)
    events = replace(events, process=process)
    training, validation = (
        make_sample(events, rows, [0, 1, 1]) for rows in (np.arange(1500), np.arange(1500, 2000))
    )
    return EventDataModule(
        training, validation, batch_size=128, seed=3, momenta=False,
        conditioning=CONDITIONING, augmentation=augmentation,
    )  # fmt: skip


def _parameters(loader: BatchLoader, epoch: int | None = None) -> dict[float, tuple[int, float]]:
    """Process and parameter of each event, known by its event feature."""
    if epoch is not None:
        loader.sampler.set_epoch(epoch)
    return {
        float(feature): (int(process), float(mass))
        for batch in loader
        for (feature, mass), process in zip(batch.events.event, batch.process, strict=True)
    }


def test_each_epoch_draws_anew_for_background_alone() -> None:
    loader = _data().train_dataloader()
    first, again, second = (_parameters(loader, epoch) for epoch in (0, 0, 1))
    assert first == again
    assert first.keys() == second.keys()
    changed = [process for event, (process, mass) in first.items() if second[event][1] != mass]
    assert set(changed) == {0}
    # Two draws differ with probability 2 · 0.25 · 0.75.
    background = sum(process == 0 for process, _ in first.values())
    assert abs(len(changed) / background - 0.375) < 4 * np.sqrt(0.375 * 0.625 / background)
    for process, mass in first.values():
        assert process == 0 or mass == 500 * process


def test_validation_draws_are_always_those_of_the_event() -> None:
    data = _data()
    found = _parameters(data.val_dataloader())
    assert _parameters(data.val_dataloader()) == found
    events = data.validation.source.take(np.arange(1500, 2000))
    expected = CONDITIONING.apply(events, Conditioning.fixed_draws(events.identity)).event
    assert {event: mass for event, (_, mass) in found.items()} == {
        float(event): float(mass) for event, mass in expected
    }


@pytest.mark.parametrize("delivered", [0, 1, 5])
def test_a_resumed_epoch_goes_on_with_the_same_draws(delivered: int) -> None:
    whole, stopped, resumed = (_data().train_dataloader() for _ in range(3))
    for loader in (whole, stopped):
        loader.sampler.set_epoch(2)
    expected = [batch.events.event for batch in whole]
    batches = iter(stopped)
    for _ in range(delivered):
        next(batches)
    resumed.load_state_dict(stopped.state_dict())
    found = [batch.events.event for batch in resumed]
    assert len(found) == len(expected) - delivered > 0
    assert all(map(torch.equal, found, expected[delivered:]))


def test_augmentation_neither_sees_nor_changes_the_parameters() -> None:
    features = {"jets": ["pt", "eta", "mass"], "muons": ["pt", "eta"]}
    augmentation = Augmentation.of(["flip_eta"], features, ["met.pt"])
    plain, augmented = (_data(chosen).train_dataloader() for chosen in (None, augmentation))
    assert _parameters(plain, 1) == _parameters(augmented, 1)
    jets = [next(iter(loader)).events.objects["jets"] for loader in (plain, augmented)]
    assert not torch.equal(*jets)


# The shares of the points.


def _analysis(folder: Path, **training: object) -> Analysis:
    file = small_analysis(folder)
    content = yaml.safe_load(file.read_text())
    processes = content["processes"]
    processes["signal"]["parameters"] = {"mass": 1000, "width": 1}
    for name, mass, width in (("light", 500, 1), ("broad", 1000, 2), ("twin", 500, 1)):
        processes[name] = {**processes["signal"], "parameters": {"mass": mass, "width": width}}
    content["training"] |= {"condition": ["mass", "width"], **training}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_analysis(file)


def _sample(weight: dict[int, float], **options: object) -> Sample:
    """Training events of processes in the order signal, ttbar, wjets, light, broad, twin."""
    events, _ = toy_events(600)
    process = (np.arange(600) % 6).astype(np.int16)
    physics = np.array([weight.get(int(number), 1.0) for number in process])
    events = replace(events, process=process, weight=physics)
    return make_sample(events, np.arange(600), [1, 0, 0, 1, 1, 1], **options)  # type: ignore[arg-type]


def test_shares_are_those_of_the_signals_training_weights(tmp_path: Path) -> None:
    analysis = _analysis(tmp_path)
    found = conditioning_of(analysis, _sample({0: 1.0, 3: 2.0, 4: 3.0, 5: 4.0, 1: 100.0}))
    assert found is not None
    assert found.names == ("mass", "width")
    # Two processes of the same parameters are one point.
    assert found.points == ((500.0, 1.0), (1000.0, 1.0), (1000.0, 2.0))
    assert found.probabilities == pytest.approx((0.6, 0.1, 0.3))
    assert found.process_point == (1, -1, -1, 0, 2, 0)
    # Balanced by process, all signal processes count the same, whatever their cross-sections.
    balanced = conditioning_of(
        analysis, _sample({0: 1.0, 3: 2.0, 4: 3.0, 5: 4.0}, balance="process")
    )
    assert balanced is not None
    assert balanced.probabilities == pytest.approx((0.5, 0.25, 0.25))


def test_negative_weights_count_as_the_loss_counts_them(tmp_path: Path) -> None:
    analysis = _analysis(tmp_path)
    events, _ = toy_events(600)
    process = (np.arange(600) % 6).astype(np.int16)
    # A quarter of the events of process 3 has weight −1: half of its weight is left.
    weight = np.where((process == 3) & (np.arange(600) // 6 % 4 == 0), -1.0, 1.0)
    events = replace(events, process=process, weight=weight)
    for policy, own in (("keep", 0.5), ("abs", 1.0), ("drop", 0.75)):
        sample = make_sample(
            events, np.arange(600), [1, 0, 0, 1, 1, 1], negative_weights=policy  # type: ignore[arg-type]
        )  # fmt: skip
        found = conditioning_of(analysis, sample)
        assert found is not None
        light = own + 1
        expected = np.array([light, 1, 1]) / (light + 2)
        assert found.probabilities == pytest.approx(expected)


def test_a_hypothesis_without_positive_weight_is_named(tmp_path: Path) -> None:
    expected = (
        "the signal with mass = 1000, width = 2 has total training weight -.*, expected a positive "
        "one; add events, or use negative_weights: abs$"
    )
    with pytest.raises(SampleError, match=expected):
        conditioning_of(_analysis(tmp_path), _sample({4: -0.5}))


def test_without_condition_there_is_none(tmp_path: Path) -> None:
    assert conditioning_of(_analysis(tmp_path, condition=[]), _sample({})) is None
