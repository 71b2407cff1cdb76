"""The sampler that a study can be taken up with, and how it chooses."""

from __future__ import annotations

from typing import Any

import optuna

from particle_transformer.config import Choices, Range
from particle_transformer.studies.storage import NumberedSampler, quiet, suggest

SPACE: dict[str, Choices | Range] = {
    "training.learning_rate": Range(low=1e-4, high=1e-1, log=True),
    "training.batch_size": Range(low=64, high=256, step=64),
    "model.num_heads": Range(low=1, high=16, log=True),
    "training.augmentation": ([], ["flip_eta"], ["flip_eta", "flip_phi"]),
    "training.ema": (None, 0.99),
}


def run(study: optuna.Study, trials: int) -> list[dict[str, Any]]:
    """Trials whose loss is the distance of the learning rate from 0.01, in decades."""
    values = []
    for _ in range(trials):
        trial = study.ask()
        values.append(suggest(trial, SPACE))
        study.tell(trial, abs(values[-1]["training.learning_rate"] / 0.01 - 1))
    return values


def test_a_study_taken_up_again_goes_on_as_if_it_had_not_stopped() -> None:
    """Beyond the ten random trials, too, where what was drawn decides what is drawn."""
    storage = optuna.storages.InMemoryStorage()
    with quiet():
        whole = run(optuna.create_study(sampler=NumberedSampler(3)), 16)
        options: dict[str, Any] = {"storage": storage, "study_name": "x", "load_if_exists": True}
        parts = []
        for trials in (4, 8, 4):
            study = optuna.create_study(sampler=NumberedSampler(3), **options)
            parts += run(study, trials)
        other = run(optuna.create_study(sampler=NumberedSampler(4)), 16)
    assert parts == whole
    assert other != whole
    assert len({value["training.learning_rate"] for value in whole}) == 16


def test_values_are_those_of_the_space() -> None:
    with quiet():
        found = run(optuna.create_study(sampler=NumberedSampler(1)), 30)
    for values in found:
        assert 1e-4 <= values["training.learning_rate"] <= 1e-1
        assert values["training.batch_size"] in (64, 128, 192, 256)
        assert isinstance(values["model.num_heads"], int)
        assert values["training.augmentation"] in SPACE["training.augmentation"]
        assert values["training.ema"] in (None, 0.99)


def test_the_sampler_learns_from_the_study() -> None:
    with quiet():
        rates = [
            values["training.learning_rate"]
            for values in run(optuna.create_study(sampler=NumberedSampler(1)), 60)
        ]
    # Of 40 uniform choices log10(4) / 3 = 20% fall there; 15 or more with a probability of 0.8%.
    assert sum(0.005 < rate < 0.02 for rate in rates[20:]) >= 15
