"""From logits to the score that a penalty is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.errors import ModelInputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["signal_score"]


def signal_score(logits: Tensor) -> Tensor:
    """Probability of signal: of one output the sigmoid, of several the first one's softmax.

    Parameters
    ----------
    logits
        (events, outputs).

    Returns
    -------
    Tensor
        (events,), differentiable.

    Raises
    ------
    ModelInputError
        If the logits have another shape.
    """
    if logits.ndim != 2 or logits.shape[1] < 1:
        message = f"logits: got shape {tuple(logits.shape)}, expected (events, 1 or more outputs)"
        raise ModelInputError(message)
    if logits.shape[1] == 1:
        return logits[:, 0].sigmoid()
    return logits.softmax(1)[:, 0]
