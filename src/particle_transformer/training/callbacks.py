"""What happens beside the training loop: the history, and the report of progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from lightning.pytorch import Callback

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

__all__ = ["EpochRecord", "History", "Progress"]


class EpochRecord(TypedDict):
    """One epoch of a fit.

    ``learning_rate`` is that of its last step.
    """

    epoch: int
    train_loss: float
    val_loss: float
    learning_rate: float


class Progress(Protocol):
    """Told about a fit after each training batch, and with a record after each epoch."""

    def __call__(self, done: int, total: int, record: EpochRecord | None) -> None:
        """Note that `done` of at most `total` batches are done."""


class History(Callback):
    """Keep a record of each epoch and report the progress.

    Parameters
    ----------
    progress
        Called after each batch and each epoch.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.records: list[EpochRecord] = []
        self._progress = progress
        self._learning_rate = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate before the schedule moves on."""
        del pl_module, batch, batch_idx
        self._learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Report one batch."""
        del pl_module, outputs, batch, batch_idx
        if self._progress is not None:
            self._progress(trainer.global_step, int(trainer.estimated_stepping_batches), None)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record and report one epoch; its validation is over by now."""
        del pl_module
        metrics = trainer.callback_metrics
        record = EpochRecord(
            epoch=trainer.current_epoch,
            train_loss=float(metrics["train_loss"]),
            val_loss=float(metrics["val_loss"]),
            learning_rate=self._learning_rate,
        )
        self.records.append(record)
        if self._progress is not None:
            self._progress(trainer.global_step, int(trainer.estimated_stepping_batches), record)
