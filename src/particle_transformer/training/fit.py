"""Train one network on prepared events."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging

from particle_transformer.atomic import replacing
from particle_transformer.errors import SampleError
from particle_transformer.model import ScalingFit
from particle_transformer.training.callbacks import EpochRecord, History, Progress
from particle_transformer.training.checkpoints import (
    AtomicCheckpointIO,
    BestCheckpoint,
    LastCheckpoint,
    load_checkpoint,
)
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.heap import HeapTrimmer
from particle_transformer.training.learning_rate import find_learning_rate
from particle_transformer.training.loggers import make_loggers
from particle_transformer.training.module import EventClassifier
from particle_transformer.training.ranks import ALONE, Ranks
from particle_transformer.training.settings import FitSettings
from particle_transformer.training.termination import PromptTermination

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lightning.pytorch import Callback

    from particle_transformer.model import EventNetwork
    from particle_transformer.training.diagnosis import Names
    from particle_transformer.training.sample import Sample

__all__ = ["FitResult", "fit_network", "standardise"]

BEST, LAST = "best.ckpt", "last.ckpt"
_RATE = "learning_rate.json"


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves besides the network.

    Attributes
    ----------
    history
        One record per epoch.
    best_epoch
        The epoch of the lowest validation loss, whose weights the network has.
    learning_rate
        The highest one of the schedule.
    checkpoint
        Lightning's checkpoint of the best epoch.
    """

    history: list[EpochRecord]
    best_epoch: int
    learning_rate: float
    checkpoint: Path


def fit_network(
    model: EventNetwork,
    training: Sample,
    validation: Sample,
    settings: FitSettings,
    *,
    checkpoint_dir: Path,
    log_dir: Path,
    resume: bool = False,
    names: Names | None = None,
    loggers: Sequence[Mapping[str, Any]] = ({"name": "csv"},),
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
    threads: int | None = None,
    ranks: Ranks = ALONE,
) -> FitResult:
    """Fit the scaling and the weights of `model`.

    The scaling is fitted on the training events; early stopping and the choice of the epoch use
    the validation events; nothing else is read. Afterwards the model is in evaluation mode, on
    the CPU, with the weights of the epoch of lowest validation loss (the earliest, if several
    are equal). On a CPU the same seed, events and number of threads give the same network, also
    if the fit was killed, at any moment, and resumed.

    Parameters
    ----------
    model
        A new network; its initial weights are the caller's business (``torch.manual_seed``).
    training, validation
        Events with their targets and training weights (`make_sample`).
    settings
        Hyperparameters.
    checkpoint_dir
        Gets ``best.ckpt`` and ``last.ckpt``.
    log_dir
        Gets what loggers write, by default ``metrics.csv``.
    resume
        Go on where ``last.ckpt`` was written; begin if there is none. If not, what is left of an
        older fit is removed.
    names
        What features and processes are called in messages.
    loggers
        Lightning's loggers: ``name`` and options of each.
    callbacks
        More of Lightning's callbacks.
    progress
        Told about each batch and each epoch.
    threads
        CPU threads of torch; None leaves their number alone.
    ranks
        This process among those that train the network together.

    Raises
    ------
    SampleError
        If training and validation have an event in common, a target is out of range, a feature is
        not finite, the augmentation is one of other features, a loss becomes NaN or infinite, or
        a checkpoint to resume from is that of another fit.
    ModelInputError
        If the events have other collections or widths than the model.
    InputFileError
        If a checkpoint is damaged, or holds more than tensors and plain values.
    OutputError
        If a checkpoint cannot be written; the last one is left as it was.

    Notes
    -----
    ``examples/numpy_to_network.py`` goes from arrays to scores.
    """
    data = EventDataModule(
        training,
        validation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        momenta=model.spec.momenta,
        sampling=settings.sampling,
        augmentation=settings.augmentation,
        conditioning=settings.conditioning,
        parts=settings.accumulate,
    )
    for sample in (training, validation):
        _check_targets(model, sample, settings)
    standardise(model, training, settings)
    if settings.objective.offsets:
        with torch.no_grad():  # all classes as probable as in training
            if not model.has_begun:
                model.last_layer.bias.zero_()
            model.last_layer.bias.sub_(torch.tensor(settings.objective.offsets))
    best, last = checkpoint_dir / BEST, checkpoint_dir / LAST
    fit_of = _description(model, settings)
    found = load_checkpoint(last) if resume and last.exists() else None
    history = History(progress)
    if found is not None:
        _check_same_fit(found, fit_of, last)
        history.load_state_dict(found["callbacks"][history.state_key])
    elif not resume and ranks.rank == 0:
        # Or one killed before its first checkpoint would be resumed from an older one's.
        for path in (last, best, checkpoint_dir / _RATE):
            path.unlink(missing_ok=True)
    with _quiet_lightning(), _seeded(settings.seed), _threads(threads):
        settings = _with_learning_rate(model, data, settings, checkpoint_dir / _RATE, resume, ranks)
        if found is None or not found["complete"]:
            trainer = Trainer(
                **_devices(ranks),
                plugins=[AtomicCheckpointIO(), *_environment(ranks)],
                use_distributed_sampler=False,
                max_epochs=settings.epochs,
                gradient_clip_val=settings.gradient_clip,
                accumulate_grad_batches=settings.accumulate,
                logger=make_loggers(
                    loggers, log_dir, steps=0 if found is None else int(found["global_step"])
                ),
                log_every_n_steps=1,
                callbacks=[
                    *_averaging(settings),
                    EarlyStopping("val_loss", patience=settings.patience),
                    history,
                    HeapTrimmer(),
                    *_termination(ranks),
                    *callbacks,
                    BestCheckpoint(best, history),
                    LastCheckpoint(last, settings.checkpoint_minutes, fit_of),
                ],
                num_sanity_val_steps=0,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            _run(
                trainer,
                EventClassifier(model, settings, names),
                data,
                None if found is None else last,
            )
    state = load_checkpoint(best)
    model.cpu().load_state_dict(
        {name.removeprefix("model."): value for name, value in state["state_dict"].items()}
    )
    model.eval()
    assert settings.learning_rate != "auto", "it has been found"
    return FitResult(history.records, int(state["epoch"]), settings.learning_rate, best)


def _run(
    trainer: Trainer, module: EventClassifier, data: EventDataModule, last: Path | None
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last)
    except SystemExit as error:
        # Lightning turns Ctrl-C into an exit and ignores every further one; give the caller the
        # interrupt itself.
        if trainer.interrupted:
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from error
        raise


def _averaging(settings: FitSettings) -> list[Callback]:
    if settings.ema is None:
        return []
    # An average of a buffer, which is constant, would differ from it by rounding.
    return [EMAWeightAveraging(decay=settings.ema, use_buffers=False)]


def _devices(ranks: Ranks) -> dict[str, Any]:
    # Lightning's own choice may be one without float64, which sums and scores need (Apple's MPS).
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.environment is None:
        return {"accelerator": accelerator, "devices": 1}
    return {
        "accelerator": accelerator,
        "devices": ranks.per_node,
        "num_nodes": ranks.nodes,
        "strategy": "ddp",
    }


def _environment(ranks: Ranks) -> list[Any]:
    # Lightning's search for one ends in an error in the script of a SLURM job.
    return [ranks.environment or LightningEnvironment()]


def _termination(ranks: Ranks) -> list[Callback]:
    return [PromptTermination()] if ranks.size > 1 else []


def standardise(model: EventNetwork, training: Sample, settings: FitSettings | None = None) -> None:
    """Fit the scaling of a network's features, and of what it regresses, to training events.

    `fit_network` does so; for a Lightning ``Trainer`` of one's own it comes before the fit.

    Parameters
    ----------
    model
        Its scaling is overwritten.
    training
        The training events; each is read once.
    settings
        Its objective says what is regressed, its conditioning what is appended to the event
        features; None: nothing.

    Raises
    ------
    SampleError
        If a feature is not finite, or the augmentation is one of other features.
    ModelInputError
        If the events have other collections or widths than the model.
    """
    settings = settings or FitSettings()
    regression = settings.objective.regression
    scaling = ScalingFit(model)
    for events in training.chunks():
        settings.augmentation.check(events)
        targets = None
        if regression is not None:
            targets = events.spectators[:, list(regression.spectators)]
        seen = events
        if (conditioning := settings.conditioning) is not None:
            seen = conditioning.apply(events, conditioning.fixed_draws(events.identity))
        objects = {name: ragged.values for name, ragged in seen.objects.items()}
        scaling.add(objects, seen.event, targets)
    scaling.finish()


def _with_learning_rate(
    model: EventNetwork,
    data: EventDataModule,
    settings: FitSettings,
    file: Path,
    resume: bool,
    ranks: Ranks,
) -> FitSettings:
    """The settings with a learning rate that is a number."""
    if settings.learning_rate != "auto":
        return settings
    if resume and file.exists():
        return replace(settings, learning_rate=float(json.loads(file.read_text())))
    trainer = {**_devices(ranks), "plugins": _environment(ranks)}
    rate = find_learning_rate(model, data, settings, **trainer)
    if ranks.rank == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            partial.write_text(json.dumps(rate))
    return replace(settings, learning_rate=rate)


def _description(model: EventNetwork, settings: FitSettings) -> dict[str, str]:
    """What must be the same for a fit to be taken up again, as texts."""
    plain = {name: repr(value) for name, value in vars(settings).items()}
    plain["augmentation"] = repr(settings.augmentation.transformations)
    plain.pop("checkpoint_minutes")
    return {**{f"model.{key}": repr(value) for key, value in model.arguments.items()}, **plain}


def _check_same_fit(found: dict[str, Any], fit_of: dict[str, str], last: Path) -> None:
    before = found["fit"]
    for key in sorted(before.keys() | fit_of.keys()):
        then, now = before.get(key, "nothing"), fit_of.get(key, "nothing")
        if then != now:
            message = (
                f"{last}: {key} was {then} there, is {now} here; resume with the same settings, "
                "or begin anew in another folder"
            )
            raise SampleError(message)


def _check_targets(model: EventNetwork, sample: Sample, settings: FitSettings) -> None:
    outputs = int(model.arguments["num_outputs"])
    classes = 2 if settings.objective.two_scores else max(2, outputs)
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
            # It is of a kind that has no float64 (`_devices`).
            warnings.filterwarnings("ignore", r"GPU available but not used", UserWarning)
            # What is logged is of all ranks already.
            warnings.filterwarnings("ignore", r".*sync_dist=True", UserWarning)
            # Lightning 2.6 asks torch 2.13 in a way that torch deprecates.
            warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
            # torch.compile imports a module of torch that torch deprecates.
            warnings.filterwarnings("ignore", r".*script_method", DeprecationWarning)
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
