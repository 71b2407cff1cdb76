"""What the network is trained on in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch

__all__ = ["Batch"]


class Batch(NamedTuple):
    """Events with what the loss needs to know of them.

    Attributes
    ----------
    events
        The network's input.
    target
        int64 (events,): index of the class; 1 is signal for a network with one logit.
    weight
        float32 (events,): training weight.
    spectators
        float32 (events, spectators): what the network never sees.
    physics_weight
        float32 (events,).
    process
        int64 (events,): index of the process.
    share
        By what this batch's mean loss counts in the step: 1, but where ranks or accumulated parts
        of unequal size are averaged, the batch's events over those of an average part.
    """

    events: PackedBatch
    target: Tensor
    weight: Tensor
    spectators: Tensor
    physics_weight: Tensor
    process: Tensor
    share: float = 1.0
