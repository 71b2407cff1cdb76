"""One trial of a tuning: settings chosen, networks trained, their validation loss."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from optuna import TrialPruned
from optuna.trial import TrialState

from particle_transformer.config import with_values
from particle_transformer.data import Store, StoreRows
from particle_transformer.errors import AnalysisFileError, SampleError
from particle_transformer.studies.places import Places
from particle_transformer.studies.storage import open_study, quiet, suggest
from particle_transformer.training.fit import fit_network
from particle_transformer.training.from_analysis import fit_settings
from particle_transformer.training.network import names_of, new_network
from particle_transformer.training.roles import fold_samples
from particle_transformer.training.task import NetworkTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import LightningModule, Trainer
    from optuna import Study, Trial

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.training.callbacks import EpochRecord, Progress
    from particle_transformer.training.sample import Sample

__all__ = ["EpochReports", "TrialRunner"]

_ONE_AT_A_TIME = threading.Lock()
"""Trials of one process share torch's random state, so that its threads take turns."""


class EpochReports(Callback):
    """Tells the study the validation loss of each epoch, and ends a trial that is behind others.

    Parameters
    ----------
    trial
        The trial.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report one epoch; its validation is over by now.

        Raises
        ------
        optuna.TrialPruned
            If the study's pruner gives the trial up.
        """
        del pl_module
        loss = float(trainer.callback_metrics["val_loss"])
        self._trial.report(loss, trainer.current_epoch)
        if self._trial.should_prune():
            message = f"behind other trials after epoch {trainer.current_epoch}"
            raise TrialPruned(message)


class TrialRunner:
    """Runs a trial of a study, here or on another machine: a function that pickles.

    Parameters
    ----------
    analysis
        The analysis, with its search space.
    folder, store
        The study's folder and the prepared store: absolute, on a file system that all see.
    deadline
        When (`time.time`) no trial is begun any more.
    progress
        Called with (what is being done, steps done, steps in all).
    """

    def __init__(
        self,
        analysis: Analysis,
        folder: Path,
        store: Path,
        deadline: float,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._analysis = analysis
        self._folder = folder
        self._store = store
        self._deadline = deadline
        self._progress = progress
        self._begin()

    def _begin(self) -> None:
        self._places = Places(self._folder)
        self._events: tuple[Manifest, list[tuple[Sample, Sample]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        own = ("_places", "_events")
        return {key: value for key, value in vars(self).items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __call__(self, task: object) -> int | None:
        """Run one trial of those that are still to be run.

        Returns
        -------
        int or None
            The trial's number; None: there is no place for a further trial, or time is up.

        Raises
        ------
        AOTError
            For a mistake that is no matter of the trial's settings.
        """
        del task
        with _ONE_AT_A_TIME, quiet():
            study = open_study(self._folder, self._analysis)
            trial = self._places.take(study, self._analysis.tuning.trials, self._deadline)
            if trial is None:
                return None
            with self._places.living(trial.number):
                self._run(study, trial)
            return trial.number

    def _run(self, study: Study, trial: Trial) -> None:
        trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
        try:
            values = suggest(trial, self._analysis.tuning.space)
            loss = self._loss(with_values(self._analysis, values), trial)
        except (
            TrialPruned, AnalysisFileError, SampleError, torch.OutOfMemoryError
        ) as error:  # fmt: skip
            # Values that do not go together, a loss that is NaN, or a network that is too large:
            # bad settings, from which the sampler shall learn.
            trial.set_user_attr("reason", " ".join(str(error).split()))
            study.tell(trial, state=TrialState.PRUNED)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            study.tell(trial, loss)

    def _loss(self, analysis: Analysis, trial: Trial) -> float:
        """Mean over the folds of the lowest validation loss."""
        manifest, samples = self._samples()
        best: list[EpochRecord] = []
        for fold, (training, validation) in enumerate(samples):
            task = NetworkTask(fold)
            settings = fit_settings(analysis, task, training)
            model = new_network(analysis, manifest, task)
            with TemporaryDirectory(prefix="aot-tune-") as folder:
                fit = fit_network(
                    model,
                    training,
                    validation,
                    settings,
                    checkpoint_dir=Path(folder),
                    log_dir=Path(folder),
                    names=names_of(analysis, manifest),
                    loggers=(),
                    # Losses of different folds do not compare: the first fold decides.
                    callbacks=[] if fold else [EpochReports(trial)],
                    progress=self._told(trial.number, fold),
                )
            best.append(min(fit.history, key=lambda record: record["val_loss"]))
        trial.set_user_attr("best_epochs", [record["epoch"] for record in best])
        return float(np.mean([record["val_loss"] for record in best]))

    def _samples(self) -> tuple[Manifest, list[tuple[Sample, Sample]]]:
        if self._events is None:
            store = Store(self._store)
            source, manifest = StoreRows(store), store.manifest
            self._events = (
                manifest,
                [
                    fold_samples(self._analysis, source, manifest.classes, fold)[:2]
                    for fold in range(self._analysis.tuning.folds)
                ],
            )
        return self._events

    def _told(self, number: int, fold: int) -> Progress | None:
        report = self._progress
        if report is None:
            return None
        state = f"trial {number}"
        if self._analysis.tuning.folds > 1:
            state += f", fold {fold} of {self._analysis.tuning.folds}"

        def tell(done: int, total: int, rate: float | None, record: EpochRecord | None) -> None:
            nonlocal state
            del rate
            if record is not None:
                state = state.partition(", epoch")[0]
                state += f", epoch {record['epoch']}, val. loss {record['val_loss']:.4f}"
            # Never complete: the bar is the same for all trials.
            report(f"training ({state})", min(done, total - 1), total)

        return tell
