"""What the compared networks have in common: scaled inputs, packed or padded."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from particle_transformer.model import EventNetwork
from particle_transformer.model.inputs import InputSpec, check_packed
from particle_transformer.model.packing import EventGrid
from particle_transformer.model.scaling import Standardise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch

__all__ = ["MOMENTA", "Peer", "hidden_layers", "padded"]

MOMENTA = 4
"""px, py, pz, E."""

_GEV = 20.0
"""Unit of momenta, whose inverse hyperbolic sine the networks get: small numbers of either sign."""


class Peer(EventNetwork):
    """A network that gets what the AnalysisObjectTransformer gets.

    Parameters
    ----------
    features
        Features of an object by collection.
    event_features
        Event features.
    momenta
        Whether the objects' momenta are inputs, too: where the AnalysisObjectTransformer has its
        pairwise bias.
    num_outputs
        Logits per event.
    **arguments
        The other arguments of the constructor, for the description of a fit.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        event_features: int,
        *,
        momenta: bool,
        num_outputs: int,
        **arguments: Any,
    ) -> None:
        super().__init__()
        self.arguments = {
            "features": dict(features),
            "event_features": event_features,
            "momenta": momenta,
            "num_outputs": num_outputs,
            "regression_targets": 0,
            **arguments,
        }
        self.collections = tuple(features)
        self.spec = InputSpec(dict(features), event_features, named=True, momenta=momenta)
        self.object_scaling = nn.ModuleList(Standardise(width) for width in features.values())
        self.event_scaling = Standardise(event_features)
        self.target_scaling = None

    @property
    def object_inputs(self) -> dict[str, int]:
        """Numbers per object by collection, momenta included."""
        more = MOMENTA if self.spec.momenta else 0
        return {name: width + more for name, width in self.spec.features.items()}

    def inputs(self, batch: PackedBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Scaled inputs of a checked batch.

        Returns
        -------
        objects : dict
            (objects, inputs) by collection.
        event : Tensor
            (events, event features).
        """
        check_packed(self.spec, batch, like=self.event_scaling.mean)
        objects = {}
        for name, scaling in zip(self.collections, self.object_scaling, strict=True):
            rows = scaling(batch.objects[name])
            if self.spec.momenta:
                assert batch.momenta is not None, "the batch is checked"
                rows = torch.cat([rows, torch.asinh(batch.momenta[name] / _GEV)], dim=1)
            objects[name] = rows
        return objects, self.event_scaling(batch.event)


def padded(rows: Tensor, offsets: Tensor, slots: int | None = None) -> tuple[Tensor, Tensor]:
    """Spread packed rows over slots.

    Parameters
    ----------
    rows
        (objects, width).
    offsets
        int64 (events + 1,).
    slots
        How many; further objects are left out. None: as many as the largest event has.

    Returns
    -------
    grid : (events, slots, width)
        Zero where there is no object.
    occupied : bool (events, slots)
    """
    grid = EventGrid.from_offsets(offsets)
    values, occupied = grid.scatter(rows), grid.occupied
    if slots is not None:
        more = slots - values.shape[1]
        values = nn.functional.pad(values, (0, 0, 0, more))  # a negative number cuts
        occupied = nn.functional.pad(occupied, (0, more))
    return values, occupied


def hidden_layers(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers from each width to the next, with ReLU, and dropout if there is any."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
