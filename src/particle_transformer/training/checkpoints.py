"""Checkpoints: written whole or not at all, read without executing what they hold."""

from __future__ import annotations

import io
import math
import os
import time
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO

from particle_transformer.atomic import replacing
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch import LightningModule, Trainer

    from particle_transformer.training.callbacks import History

__all__ = ["AtomicCheckpointIO", "BestCheckpoint", "LastCheckpoint", "load_checkpoint"]

_EXPECTED = ("fit", "complete", "state_dict")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; tensors and plain values only.

    Raises
    ------
    InputFileError
        If it is missing or damaged, is none of `fit_network`, or holds anything that would have
        to be executed.
    """
    mend = f"remove {path.parent} and resume: this network's training begins anew then"
    try:
        with warnings.catch_warnings(action="ignore"):  # about what is refused below
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        message = (
            f"{path}: refused, for it holds more than tensors and plain values, or is damaged "
            f"({_reason(error)}); {mend}"
        )
        raise InputFileError(message) from error
    except Exception as error:  # damaged bytes make unpickling fail in any way
        message = f"{path}: not a checkpoint of aot train ({_reason(error)}); {mend}"
        raise InputFileError(message) from error
    if not isinstance(content, dict) or not content.keys() >= {*_EXPECTED}:
        message = f"{path}: not a checkpoint of aot train (no {', '.join(_EXPECTED)}); {mend}"
        raise InputFileError(message)
    checkpoint: dict[str, Any] = content
    return checkpoint


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().partition("\n")[0] or type(error).__name__


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's access to checkpoint files.

    A checkpoint takes the place of the last one when every byte of it is on the disk: a killed
    process or a full disk leaves the last one as it was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint`.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        assert storage_options is None, "none is ever given"
        path = Path(path)
        content = io.BytesIO()  # torch hides why a file cannot be written
        torch.save(checkpoint, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """`load_checkpoint`, whatever Lightning asks for."""
        del map_location, weights_only
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file."""
        Path(path).unlink(missing_ok=True)


class BestCheckpoint(Checkpoint):
    """Write the state of the epoch of the lowest validation loss, the earliest of several.

    It keeps no state, and so no path: Lightning's own ModelCheckpoint forgets what was best when
    the folder has been moved.

    Parameters
    ----------
    path
        The file.
    history
        The epochs so far.
    """

    def __init__(self, path: Path, history: History) -> None:
        self._path = path
        self._history = history

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one if this epoch is the best so far; its record is there by now."""
        del pl_module
        *before, now = [record["val_loss"] for record in self._history.records]
        if now < min(before, default=math.inf):
            trainer.save_checkpoint(self._path)


class LastCheckpoint(Checkpoint):
    """Write the state of the fit at the end of each epoch, and every few minutes.

    Checkpoints say under the key ``complete`` whether the fit is over, by its last epoch or by
    early stopping.

    Parameters
    ----------
    path
        The file.
    minutes
        Time between two of them within an epoch.
    fit_of
        What must be the same for the fit to be taken up again; kept under the key ``fit``.
    """

    def __init__(self, path: Path, minutes: float, fit_of: Mapping[str, str]) -> None:
        self._path = path
        self._fit_of = dict(fit_of)
        self._seconds = 60 * minutes
        self._written = time.monotonic()
        self._complete = False

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write one if it is time."""
        del pl_module, outputs, batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # accumulated gradients are no part of a checkpoint
        if trainer.is_last_batch:
            return  # Lightning would resume after the validation that is still to come
        due = time.monotonic() - self._written >= self._seconds
        if trainer.strategy.reduce_boolean_decision(due):  # ranks write together
            self._write(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what fit it is of, and whether that is over."""
        del trainer, pl_module
        checkpoint["fit"] = self._fit_of
        checkpoint["complete"] = self._complete

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one; validation is over by now, and early stopping has decided."""
        del pl_module
        self._complete = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._path)
        self._written = time.monotonic()
