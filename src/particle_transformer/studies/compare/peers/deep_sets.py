"""Deep Sets as a particle-flow network (arXiv:1810.05165, equation 2.8; arXiv:1703.06114)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from particle_transformer.studies.compare.peers.peer import Peer, hidden_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch

__all__ = ["DeepSetsNetwork"]


class DeepSetsNetwork(Peer):
    """F(Σᵢ Φ(xᵢ), event features), with a Φ and a sum for each collection.

    Parameters
    ----------
    features, event_features, momenta, num_outputs
        As for `Peer`.
    object_widths
        Hidden layers of Φ; the last is the latent dimension.
    event_widths
        Hidden layers of F.
    dropout
        Probability after each layer of F.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        event_features: int,
        *,
        momenta: bool,
        num_outputs: int,
        object_widths: Sequence[int],
        event_widths: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__(
            features,
            event_features,
            momenta=momenta,
            num_outputs=num_outputs,
            object_widths=list(object_widths),
            event_widths=list(event_widths),
            dropout=dropout,
        )
        self.object_networks = nn.ModuleList(
            hidden_layers([width, *object_widths]) for width in self.object_inputs.values()
        )
        joined = len(features) * object_widths[-1] + event_features
        self.event_network = hidden_layers([joined, *event_widths], dropout)
        self.last = nn.Linear(event_widths[-1], num_outputs)

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        return self.last

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs)."""
        objects, event = self.inputs(batch)
        parts = []
        for network, name in zip(self.object_networks, self.collections, strict=True):
            latent = network(objects[name])  # (objects, latent)
            counts = batch.offsets[name].diff()  # (events,)
            owner = torch.repeat_interleave(counts)  # (objects,)
            sums = latent.new_zeros(len(batch), latent.shape[1])
            parts.append(sums.index_add(0, owner, latent))
        logits: Tensor = self.last(self.event_network(torch.cat([*parts, event], dim=1)))
        return logits
