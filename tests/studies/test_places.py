"""A study has so many places: for trials that have ended and for those that live."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from particle_transformer.studies import places as module
from particle_transformer.studies.places import Places, finished
from particle_transformer.studies.storage import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna import Study


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "SIGN", 0.02)
    monkeypatch.setattr(module, "SILENCE", 0.3)
    monkeypatch.setattr(module, "LOOK", 0.01)
    with quiet():
        yield


@pytest.fixture
def study() -> Study:
    with quiet():
        return optuna.create_study()


def test_no_more_than_there_are_places(study: Study, tmp_path: Path) -> None:
    ran = []

    def work() -> None:
        places = Places(tmp_path)
        while (trial := places.take(study, 7, math.inf)) is not None:
            with places.living(trial.number):
                ran.append(trial.number)
                time.sleep(0.02)
                study.tell(trial, 1.0)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == len(set(ran)) == 7
    assert finished(study) == 7


def test_a_trial_without_a_sign_of_life_gives_up_its_place(study: Study, tmp_path: Path) -> None:
    dead = study.ask()
    started = time.monotonic()
    trial = Places(tmp_path).take(study, 1, math.inf)
    assert trial is not None
    assert trial.number == dead.number + 1
    assert time.monotonic() - started >= 0.3


def test_a_living_trial_keeps_its_place(study: Study, tmp_path: Path) -> None:
    trial = study.ask()
    with Places(tmp_path).living(trial.number):
        assert Places(tmp_path).take(study, 1, time.time() + 1.0) is None
        # The others do not wait for it.
        other = Places(tmp_path).take(study, 2, math.inf)
    assert other is not None
    assert not list((tmp_path / ".running").iterdir())


def test_pruned_trials_count_and_failed_ones_do_not(study: Study, tmp_path: Path) -> None:
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.tell(study.ask(), 1.0)
    places = Places(tmp_path)
    assert places.take(study, 2, math.inf) is None
    assert places.take(study, 3, math.inf) is not None


def test_no_trial_begins_when_time_is_up(study: Study, tmp_path: Path) -> None:
    assert Places(tmp_path).take(study, 3, time.time()) is None
    assert not study.trials
