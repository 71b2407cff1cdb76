"""How a fit ends by SIGTERM: as before the fit."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from lightning.pytorch import Callback

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

__all__ = ["PromptTermination"]


class PromptTermination(Callback):
    """Leave SIGTERM to what handled it before the trainer.

    Lightning's handler lets ranks talk to each other in the middle of whatever they are doing: a
    batch system that ends all of them would wait for ever.
    """

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handler, which is there by now."""
        del trainer, pl_module
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)
