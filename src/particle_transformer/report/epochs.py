"""Plots after each epoch of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.atomic import replacing
from particle_transformer.errors import require
from particle_transformer.evaluation import correlation_matrix, effective_events
from particle_transformer.report.epoch_plots import correlation_plot, roc_plot, score_plot
from particle_transformer.report.style import styled
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.module import EventClassifier
from particle_transformer.training.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from particle_transformer.training.batch import Batch
    from particle_transformer.training.diagnosis import Names
    from particle_transformer.training.task import NetworkTask

__all__ = ["EpochPlots", "epoch_plots"]

TRAINING_EVENTS = 4000
"""Training events that are scored after an epoch for comparison."""

CORRELATED_EVENTS = 20_000
"""Background events whose correlations are shown."""


def epoch_plots(run: Path) -> Callable[[NetworkTask], Sequence[Callback]]:
    """Plots of every network of a run, as `particle_transformer.training.run.train` takes them.

    They go to ``logs/fold-F/network-N/plots`` of the run.

    Raises
    ------
    MissingExtraError
        Without the extra ``report``.
    """
    for module in ("matplotlib", "mplhep"):
        require(module, "report")
    folder = RunFolder(run)

    def callbacks(task: NetworkTask) -> Sequence[Callback]:
        title = f"Fold {task.fold}, network {task.number}"
        return [EpochPlots(folder.logs(task.fold, task.number) / "plots", title)]

    return callbacks


class EpochPlots(Callback):
    """Draw, after each validation of an `EventClassifier`, its scores, ROC curve and correlations.

    Writes ``epoch-003-score.png``, ``epoch-003-roc.png`` and ``epoch-003-correlation.png``, where 3
    is the epoch's number in the logs, each whole or not at all, and shows them on TensorBoard where
    that is logged to. The events are those of validation and, with an `EventDataModule`, some of
    the training events, scored by the network as it is then. The correlations are those of the
    background: event features, the first object of each collection, spectators, score. With
    several ranks, the first draws, and the correlations are of its own share of the events.

    Parameters
    ----------
    folder
        Where the files go.
    title
        What to call the network.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self._folder = folder
        self._title = title
        self._excerpt: list[Batch] = []
        self._training: Scores | None = None
        self._columns: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the training events that are shown."""
        del pl_module
        data = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and isinstance(data, EventDataModule):
            self._excerpt = list(data.training_excerpt(TRAINING_EVENTS))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score training events, by the weights that validation is about (such as their average)."""
        self._columns, self._weights = [], []
        if not _drawing(trainer):
            return
        assert isinstance(pl_module, EventClassifier), "it has the scores"
        parts = [
            pl_module.score(trainer.strategy.batch_to_device(batch, pl_module.device))
            for batch in self._excerpt
        ]
        self._training = Scores.concatenate(parts) if parts else None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note what of the background is to be correlated."""
        del pl_module, batch_idx, dataloader_idx
        if not _drawing(trainer) or sum(map(len, self._weights)) >= CORRELATED_EVENTS:
            return
        scores = Scores(**outputs)
        chosen = ~scores.is_signal
        self._columns.append(_quantities(batch, scores)[chosen])
        self._weights.append(scores.weight[chosen])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        if not _drawing(trainer):
            return
        assert isinstance(pl_module, EventClassifier), "it has the scores"
        validation = pl_module.validation
        assert validation is not None, "the validation is over"
        title = f"{self._title}, epoch {trainer.current_epoch}"
        columns, weight = np.concatenate(self._columns), np.concatenate(self._weights)
        names = _names(pl_module.names, list(pl_module.model.collections), columns.shape[1])
        with styled():
            figures = {
                "score": score_plot(validation, self._training, title),
                "roc": roc_plot(validation, self._training, title),
                "correlation": correlation_plot(
                    correlation_matrix(columns, weight), names, effective_events(weight), title
                ),
            }
            images = {name: _rendered(figure) for name, figure in figures.items()}
        for name, image in images.items():
            path = self._folder / f"epoch-{trainer.current_epoch:03d}-{name}.png"
            _write(path, image)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, image in images.items():
                    # The step of the epoch's numbers, so that a resumed fit replaces both.
                    logger.experiment.add_image(
                        f"plots/{name}", image, trainer.global_step - 1, dataformats="HWC"
                    )


def _drawing(trainer: Trainer) -> bool:
    fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
    return trainer.is_global_zero and fitting


def _quantities(batch: Batch, scores: Scores) -> NDArray[np.float64]:
    """Event features, first objects' features, spectators, score: float64 (events, quantities)."""
    events = batch.events
    parts = [events.event.double().cpu().numpy()]
    for name, values in events.objects.items():
        offsets = events.offsets[name]
        first = np.full((len(events), values.shape[1]), np.nan)
        has = (offsets.diff() > 0).cpu().numpy()
        first[has] = values[offsets[:-1][offsets.diff() > 0]].double().cpu().numpy()
        parts.append(first)
    parts += [batch.spectators.double().cpu().numpy(), scores.score[:, None]]
    return np.concatenate(parts, axis=1)


def _names(names: Names, collections: Sequence[str], quantities: int) -> list[str]:
    """What to call the quantities; numbers where they have no names."""
    objects = [
        f"{name} 1: {feature}" for name in collections for feature in names.objects.get(name, ())
    ]
    found = [*names.event, *objects, *names.spectators, "score"]
    if len(found) == quantities:
        return found
    return [*(f"quantity {number}" for number in range(quantities - 1)), "score"]


def _rendered(figure: Figure) -> NDArray[np.uint8]:
    """The figure in colours: uint8 (rows, columns, 3)."""
    agg = require("matplotlib.backends.backend_agg", "report")
    figure.set_dpi(110)
    canvas = agg.FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        require("matplotlib.image", "report").imsave(partial, image)
