"""The Particle Transformer (arXiv:2202.03772) of weaver-core, an optional peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from particle_transformer.studies.compare.peers.peer import Peer, padded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch

__all__ = ["PartNetwork"]


class PartNetwork(Peer):
    """ParT on all collections as one, with the event features as features of every object.

    It knows a single kind of particle and no event features: each collection's features have
    their own columns beside a flag of the collection, and every object gets the event features.
    It computes on all objects (``trim=False``), and its pair embedding is used where there are
    momenta. An event without any object gets an empty slot instead of NaN.

    Parameters
    ----------
    features, event_features, momenta, num_outputs
        As for `Peer`.
    embed_dims, pair_dims, heads, layers, class_layers
        As in `particle_transformer.config.Part`.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        event_features: int,
        *,
        momenta: bool,
        num_outputs: int,
        embed_dims: Sequence[int],
        pair_dims: Sequence[int],
        heads: int,
        layers: int,
        class_layers: int,
    ) -> None:
        from weaver.nn.model.ParticleTransformer import (  # noqa: PLC0415 (optional)
            ParticleTransformer,
        )

        super().__init__(
            features,
            event_features,
            momenta=momenta,
            num_outputs=num_outputs,
            embed_dims=list(embed_dims),
            pair_dims=list(pair_dims),
            heads=heads,
            layers=layers,
            class_layers=class_layers,
        )
        self.columns = sum(features.values()) + len(features) + event_features
        self.transformer = ParticleTransformer(
            self.columns,
            num_outputs,
            embed_dims=tuple(embed_dims),
            pair_embed_dims=tuple(pair_dims) if momenta else None,
            num_heads=heads,
            num_layers=layers,
            num_cls_layers=class_layers,
            trim=False,
        )

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        layer = self.transformer.fc[-1]
        assert isinstance(layer, nn.Linear), "weaver-core's head ends with one"
        return layer

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs)."""
        objects, event = self.inputs(batch)
        grids, momenta, occupied = [], [], []
        before = 0
        for number, (name, rows) in enumerate(objects.items()):
            width = self.spec.features[name]
            wide = rows.new_zeros(len(rows), self.columns - event.shape[1])
            wide[:, before : before + width] = rows[:, :width]
            wide[:, len(self.collections) * -1 + number] = 1.0
            before += width
            owner = torch.repeat_interleave(batch.offsets[name].diff())  # (objects,)
            grid, real = padded(torch.cat([wide, event[owner]], dim=1), batch.offsets[name])
            grids.append(grid)
            occupied.append(real)
            if batch.momenta is not None and self.spec.momenta:
                momenta.append(padded(batch.momenta[name], batch.offsets[name])[0])
        real = torch.cat(occupied, dim=1)  # (events, slots)
        empty = ~real.any(dim=1, keepdim=True)
        real = torch.cat([real[:, :1] | empty, real[:, 1:]], dim=1)
        x = torch.cat(grids, dim=1).transpose(1, 2)  # (events, columns, slots)
        vectors = torch.cat(momenta, dim=1).transpose(1, 2) if momenta else None
        logits: Tensor = self.transformer(x, v=vectors, mask=real[:, None])
        return logits
