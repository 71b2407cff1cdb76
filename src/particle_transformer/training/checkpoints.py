"""Checkpoints: written whole or not at all, read without executing what they hold."""

from __future__ import annotations

import io
import os
import time
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

__all__ = ["AtomicCheckpointIO", "LastCheckpoint", "load_checkpoint"]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; tensors and plain values only.

    Raises
    ------
    InputFileError
        If it is missing or damaged, or holds anything that would have to be executed.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = str(error).strip().partition("\n")[0]
        message = (
            f"{path}: refused, for it holds more than tensors and plain values, or is damaged "
            f"({reason}); remove it and train again"
        )
        raise InputFileError(message) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        message = f"{path}: not a checkpoint of aot train ({reason}); remove it and train again"
        raise InputFileError(message) from error
    return content


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


class LastCheckpoint(Checkpoint):
    """Write the state of the fit at the end of each epoch, and every few minutes.

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
        if trainer.strategy.broadcast(due):  # ranks write together, so one of them decides
            self._write(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what fit it is of."""
        del trainer, pl_module
        checkpoint["fit"] = self._fit_of

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one; the epoch's validation is over by now."""
        del pl_module
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._path)
        self._written = time.monotonic()
