"""Memory that the C library keeps, or gives back, after it was freed."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import LightningModule, Trainer

__all__ = ["HeapTrimmer", "reuse_freed_memory"]

_EVERY = 32  # batches between two trims

# Parameters of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1


class HeapTrimmer(Callback):
    """Keep freed memory for the next tensors, and give it back to the system every now and then.

    What was given back has to be fetched again, page by page, which takes half a training step; by
    default glibc does so with every large tensor. But no two packed batches have the same sizes, so
    that the tensors of one do not fit into the holes that those of the last have left, and the
    resident size grows by hundreds of megabytes in a few dozen steps: hence a trim, once in some
    dozen batches. Other C libraries get no such help.
    """

    def __init__(self) -> None:
        self._batches = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep what is freed from now on."""
        del trainer, pl_module, stage
        reuse_freed_memory()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Trim."""
        del trainer, pl_module, outputs, batch, batch_idx
        self._trim()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Trim."""
        del trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
        self._trim()

    def _trim(self) -> None:
        self._batches += 1
        if self._batches % _EVERY == 0 and (trim := _glibc("malloc_trim")) is not None:
            trim(0)


@cache
def _glibc(name: str) -> Callable[..., int] | None:
    """One of glibc's functions; None where the C library has none of this name."""
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function


def reuse_freed_memory() -> None:
    """Let freed memory stay with this process, from now to its end.

    Blocks of any size; up to 32 MiB before glibc 2.35. Does nothing without glibc.
    """
    if (mallopt := _glibc("mallopt")) is not None:
        if not mallopt(_M_MMAP_THRESHOLD, _LARGEST_INT):
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
