"""Train one network on prepared events."""

from __future__ import annotations

import contextlib
import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from particle_transformer.errors import SampleError
from particle_transformer.model import ScalingFit
from particle_transformer.training.callbacks import EpochRecord, History, Progress
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.heap import HeapTrimmer
from particle_transformer.training.module import EventClassifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.sample import Sample
    from particle_transformer.training.settings import FitSettings

__all__ = ["FitResult", "fit_network"]


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves besides the network.

    Attributes
    ----------
    history
        One record per epoch.
    best_epoch
        The epoch of the lowest validation loss, whose weights the network has.
    checkpoint
        Lightning's checkpoint of that epoch, for resuming; it needs pickle and is never
        deployed.
    """

    history: list[EpochRecord]
    best_epoch: int
    checkpoint: Path


def fit_network(
    model: AnalysisObjectTransformer,
    training: Sample,
    validation: Sample,
    settings: FitSettings,
    *,
    checkpoint_dir: Path,
    log_dir: Path,
    progress: Progress | None = None,
    threads: int | None = None,
) -> FitResult:
    """Fit the scaling and the weights of `model`.

    The scaling is fitted on the training events; early stopping and the choice of the epoch use
    the validation events; nothing else is read. Afterwards the model is in evaluation mode, on
    the CPU, with the weights of the epoch of lowest validation loss (the earliest, if several
    are equal). On a CPU the same seed, events and number of threads give the same network.

    Parameters
    ----------
    model
        A new network; its initial weights are the caller's business (``torch.manual_seed``).
    training, validation
        Events with their targets and training weights (`make_sample`).
    settings
        Hyperparameters.
    checkpoint_dir
        Gets ``best.ckpt``.
    log_dir
        Gets ``metrics.csv``.
    progress
        Told about each batch and each epoch.
    threads
        CPU threads of torch; None leaves their number alone.

    Raises
    ------
    SampleError
        If training and validation have an event in common, a target is out of range, a feature is
        not finite, the augmentation is one of other features, or a loss becomes NaN or
        infinite.
    ModelInputError
        If the events have other collections or widths than the model.
    """
    data = EventDataModule(
        training,
        validation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        momenta=model.spec.momenta,
        sampling=settings.sampling,
        augmentation=settings.augmentation,
    )
    for sample in (training, validation):
        _check_targets(model, sample)
    scaling = ScalingFit(model)
    for events in training.chunks():
        settings.augmentation.check(events)
        scaling.add({name: ragged.values for name, ragged in events.objects.items()}, events.event)
    scaling.finish()
    history = History(progress)
    best = ModelCheckpoint(
        checkpoint_dir,
        filename="best",
        monitor="val_loss",
        save_top_k=1,
        enable_version_counter=False,
    )
    with _quiet_lightning(), _seeded(settings.seed), _threads(threads):
        trainer = Trainer(
            accelerator="auto",
            devices=1,
            use_distributed_sampler=False,
            max_epochs=settings.epochs,
            gradient_clip_val=settings.gradient_clip,
            logger=CSVLogger(log_dir, name="", version=""),
            log_every_n_steps=1,
            callbacks=[
                EarlyStopping("val_loss", patience=settings.patience),
                best,
                history,
                HeapTrimmer(),
            ],
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(EventClassifier(model, settings), datamodule=data)
        except SystemExit as error:
            # Lightning turns Ctrl-C into an exit; give the caller the interrupt itself.
            if trainer.interrupted:
                raise KeyboardInterrupt from error
            raise
    checkpoint = checkpoint_dir / "best.ckpt"
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.cpu().load_state_dict(
        {name.removeprefix("model."): value for name, value in state["state_dict"].items()}
    )
    model.eval()
    return FitResult(history.records, int(state["epoch"]), checkpoint)


def _check_targets(model: AnalysisObjectTransformer, sample: Sample) -> None:
    outputs = int(model.arguments["num_outputs"])
    classes = max(2, outputs)
    wrong = np.setdiff1d(sample.target[sample.weights.events > 0], np.arange(classes))
    if wrong.size:
        message = (
            f"target: got class {wrong[0]}, expected 0 to {classes - 1} for a network with "
            f"{outputs} outputs"
        )
        raise SampleError(message)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's announcements, and the warnings that do not apply here."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # A second fit into the same folder replaces the first.
            warnings.filterwarnings("ignore", r"Checkpoint directory .* exists", UserWarning)
            warnings.filterwarnings("ignore", r"Experiment logs directory .* exists", UserWarning)
            # Lightning 2.6 asks torch 2.13 in a way that torch deprecates.
            warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch, and give the caller's random state back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
