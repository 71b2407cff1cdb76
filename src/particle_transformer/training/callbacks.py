"""What happens beside the training loop: the history, and the report of progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

from lightning.pytorch import Callback

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

__all__ = ["EpochRecord", "History", "Progress"]


class EpochRecord(TypedDict):
    """One epoch of a fit.

    ``train_loss`` and ``val_loss`` are the whole loss; further keys are its terms
    (``train_disco``). ``val_auc`` has signed physics weights, and is None where it is undefined.
    ``learning_rate`` is that of the epoch's last step.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float | None
    learning_rate: float


class Progress(Protocol):
    """Told about a fit after each training batch, and with a record after each epoch."""

    def __call__(
        self, done: int, total: int, rate: float | None, record: EpochRecord | None
    ) -> None:
        """Note that `done` of at most `total` steps are done, at `rate` events per second."""


class History(Callback):
    """Keep a record of each epoch and report the progress.

    Attributes
    ----------
    records
        One per epoch.

    Parameters
    ----------
    progress
        Called after each batch and each epoch.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.records: list[EpochRecord] = []
        self._progress = progress
        self._learning_rate = 0.0
        self._started = 0.0
        self._events = 0

    def state_dict(self) -> dict[str, Any]:
        """The history; Lightning keeps it in checkpoints."""
        return {"records": self.records}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.records = list(state_dict["records"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self._started = time.monotonic()
        self._events = 0

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
        del pl_module, outputs, batch_idx
        self._events += len(batch.events) * trainer.world_size
        self._report(trainer, None)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record and report one epoch; its validation is over by now."""
        del pl_module
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        auc = metrics.pop("val_auc", None)
        terms = {
            name: value for name, value in metrics.items() if name.startswith(("train", "val"))
        }
        record = {"epoch": trainer.current_epoch, **terms, "val_auc": auc}
        record["learning_rate"] = self._learning_rate
        self.records.append(cast("EpochRecord", record))
        self._report(trainer, self.records[-1])

    def _report(self, trainer: Trainer, record: EpochRecord | None) -> None:
        if self._progress is None:
            return
        seconds = time.monotonic() - self._started
        rate = self._events / seconds if self._events and seconds else None
        total = int(trainer.estimated_stepping_batches)
        self._progress(trainer.global_step, total, rate, record)
