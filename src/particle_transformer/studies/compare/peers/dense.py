"""A dense network on padded inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from particle_transformer.studies.compare.peers.peer import Peer, hidden_layers, padded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch

__all__ = ["DenseNetwork"]


class DenseNetwork(Peer):
    """An MLP on the objects in fixed slots, in their order, and the event features.

    A slot without object has zeros, which is the mean of each feature, and says so by a further
    input.

    Parameters
    ----------
    features, event_features, momenta, num_outputs
        As for `Peer`.
    slots
        Slots by collection; further objects are left out.
    widths
        Hidden layers.
    dropout
        Probability after each of them.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        event_features: int,
        *,
        momenta: bool,
        num_outputs: int,
        slots: Mapping[str, int],
        widths: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__(
            features,
            event_features,
            momenta=momenta,
            num_outputs=num_outputs,
            slots=dict(slots),
            widths=list(widths),
            dropout=dropout,
        )
        self.slots = dict(slots)
        inputs = sum(self.slots[name] * (width + 1) for name, width in self.object_inputs.items())
        self.hidden = hidden_layers([inputs + event_features, *widths], dropout)
        self.last = nn.Linear(widths[-1], num_outputs)

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        return self.last

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs)."""
        objects, event = self.inputs(batch)
        columns = [event]
        for name, rows in objects.items():
            grid, occupied = padded(rows, batch.offsets[name], self.slots[name])
            columns += [grid.flatten(1), occupied.to(grid.dtype)]
        logits: Tensor = self.last(self.hidden(torch.cat(columns, dim=1)))
        return logits
