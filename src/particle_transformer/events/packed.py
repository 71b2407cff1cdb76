"""PackedBatch: the objects of a batch end to end, so that padding is never computed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from particle_transformer.events.columns import Events

__all__ = ["PackedBatch"]


@dataclass(frozen=True)
class PackedBatch:
    """The network's input: several collections of objects, and event features.

    Attributes
    ----------
    objects
        float32 (objects of the collection, features) by collection.
    offsets
        int64 (events + 1,) by collection: event i owns the rows offsets[i]:offsets[i + 1].
    event
        float32 (events, event features).
    momenta
        float32 (objects of the collection, 4) by collection: px, py, pz, E in GeV; None where
        the network has no use for them.
    """

    objects: Mapping[str, Tensor]
    offsets: Mapping[str, Tensor]
    event: Tensor
    momenta: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return self.event.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedBatch:
        """The same batch with every tensor on `device`."""

        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: tensor.to(device, non_blocking=non_blocking)
                for name, tensor in tensors.items()
            }

        return PackedBatch(
            move(self.objects),
            move(self.offsets),
            self.event.to(device, non_blocking=non_blocking),
            None if self.momenta is None else move(self.momenta),
        )

    @staticmethod
    def from_events(events: Events) -> PackedBatch:
        """View prepared events as one batch; the tensors share the columns' memory.

        The momenta are given only where every collection has them.
        """
        momenta = {
            name: torch.from_numpy(ragged.momenta)
            for name, ragged in events.objects.items()
            if ragged.momenta is not None
        }
        return PackedBatch(
            {name: torch.from_numpy(ragged.values) for name, ragged in events.objects.items()},
            {name: torch.from_numpy(ragged.offsets) for name, ragged in events.objects.items()},
            torch.from_numpy(events.event),
            momenta if len(momenta) == len(events.objects) else None,
        )
