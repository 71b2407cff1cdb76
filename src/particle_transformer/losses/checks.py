"""What every loss asks of its arguments; nothing is ever broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from particle_transformer.errors import ModelInputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_classification", "check_column"]


def check_column(name: str, column: Tensor, events: int) -> None:
    """Raise `ModelInputError` unless `column` has the shape (events,)."""
    if tuple(column.shape) != (events,):
        message = f"{name}: got shape {tuple(column.shape)}, expected ({events},)"
        raise ModelInputError(message)


def check_classification(logits: Tensor, target: Tensor, weight: Tensor) -> None:
    """Raise `ModelInputError` unless these are the arguments of a classification loss.

    Logits (events, 1 or more outputs), target int64 (events,), weight (events,).
    """
    if logits.ndim != 2 or logits.shape[1] < 1:
        message = f"logits: got shape {tuple(logits.shape)}, expected (events, 1 or more outputs)"
        raise ModelInputError(message)
    check_column("target", target, len(logits))
    check_column("weight", weight, len(logits))
    if target.dtype != torch.int64:
        message = f"target: got dtype {target.dtype}, expected torch.int64 (index of the class)"
        raise ModelInputError(message)
