"""The study on disk: Optuna's journal, and what the study is one of."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import yaml
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from particle_transformer.config import Range, choice_label, dump_analysis
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.training.unfinished import differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from particle_transformer.config import Analysis, Choices

__all__ = ["JOURNAL", "check_same", "claim", "open_study", "quiet", "suggest"]

JOURNAL = "study.journal"

_NAME = "tuning"

_ANALYSIS, _STORE = "analysis", "store_fingerprint"


class NumberedSampler(BaseSampler):
    """The tree-structured Parzen estimator, seeded anew for every trial.

    (Bergstra et al., NeurIPS 2011; with the multivariate kernel of Falkner et al.,
    arXiv:1807.01774, where that is Optuna's default.) The seed is a function of the study's seed
    and the trial's number, so a study that is taken up again goes on as if it had not stopped, and
    no two programs draw the same.

    Parameters
    ----------
    seed
        The study's seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number: int | None = None
        self._sampler = TPESampler()

    def _of(self, trial: FrozenTrial) -> TPESampler:
        if trial.number != self._number:
            seed = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]
            self._number, self._sampler = trial.number, TPESampler(seed=int(seed))
        return self._sampler

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `optuna.samplers.BaseSampler`."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """See `optuna.samplers.BaseSampler`."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's own account of the study off the screen."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(folder: Path, analysis: Analysis) -> Study:
    """The study in a folder; a new one where there is none.

    Raises
    ------
    InputFileError
        If its journal cannot be understood.
    """
    path = folder / JOURNAL
    # While the learning rate still rises, a small one is ahead.
    warmup = math.ceil(analysis.training.warmup_epochs)
    pruning = MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            sampler=NumberedSampler(analysis.tuning.seed),
            pruner=pruning if analysis.tuning.pruning else NopPruner(),
            study_name=_NAME,
            direction="minimize",
            load_if_exists=True,
        )
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f"{path}: damaged ({' '.join(str(error).split())}); remove it to begin the study anew, "
            "or give aot tune another --out"
        )
        raise InputFileError(message) from error


def check_same(folder: Path, study: Study, analysis: Analysis) -> None:
    """Check that a study is one of an analysis; the number of trials may be another.

    Raises
    ------
    OutputError
        If it is that of another; one line that says what differs.
    """
    before = study.user_attrs.get(_ANALYSIS)
    if before is None:
        return
    changed = differences(yaml.safe_load(before), _plain(analysis))
    if changed:
        told = "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "")
        message = (
            f"{folder}: the study there is that of another analysis ({told}); go on with the same "
            "analysis file, or give aot tune another --out"
        )
        raise OutputError(message)


def claim(folder: Path, study: Study, analysis: Analysis, fingerprint: str) -> None:
    """Note what a new study is one of, and check that the events of an old one are the same.

    Parameters
    ----------
    folder, study, analysis
        The study, and the analysis that is tuned.
    fingerprint
        Of the store.

    Raises
    ------
    InputFileError
        If the events have changed.
    """
    before = study.user_attrs.get(_STORE)
    if before is None:
        study.set_user_attr(_ANALYSIS, yaml.safe_dump(_plain(analysis), sort_keys=False))
        study.set_user_attr(_STORE, fingerprint)
    elif before != fingerprint:
        message = (
            f"{folder}: the events have changed since the study there began; give aot tune another "
            "--out"
        )
        raise InputFileError(message)


def _plain(analysis: Analysis) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load(dump_analysis(analysis))
    for key in ("trials", "timeout_minutes"):
        plain["tuning"].pop(key, None)
    return plain


def suggest(trial: Trial, space: Mapping[str, Choices | Range]) -> dict[str, Any]:
    """Let Optuna choose a value for every key of a search space."""
    values: dict[str, Any] = {}
    for key, entry in space.items():
        if not isinstance(entry, Range):
            choices = {choice_label(choice): choice for choice in entry}
            values[key] = choices[trial.suggest_categorical(key, list(choices))]
        elif entry.is_whole(key):
            values[key] = trial.suggest_int(
                key, int(entry.low), int(entry.high), step=int(entry.step or 1), log=entry.log
            )
        else:
            values[key] = trial.suggest_float(
                key, float(entry.low), float(entry.high), step=entry.step, log=entry.log
            )
    return values
