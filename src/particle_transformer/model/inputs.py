"""The model's door: check what the user gave, and drop the padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from particle_transformer.errors import ModelInputError
from particle_transformer.events.packed import PackedBatch
from particle_transformer.model.checks import (
    check_collections,
    check_mask,
    check_offsets,
    check_tensor,
)
from particle_transformer.model.packing import pack, real_rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SINGLE",
    "InputSpec",
    "PaddedEvents",
    "check_packed",
    "grid_from_padded",
    "packed_from_padded",
]

SINGLE = "objects"
"""Name of the only collection of a model that was given a plain number of features."""

_NO_MOMENTA = (
    "momenta: got None, expected px, py, pz, E of every object, because the model was built "
    "with pair_bias=True"
)


@dataclass(frozen=True)
class InputSpec:
    """What a model reads.

    Attributes
    ----------
    features
        Features of an object by collection.
    event_features
        Event features.
    named
        Whether `forward` takes its arguments by collection.
    momenta
        Whether the model needs the objects' momenta.
    """

    features: Mapping[str, int]
    event_features: int
    named: bool
    momenta: bool

    def label(self, argument: str, collection: str) -> str:
        """Name of a collection's part of `argument` in messages."""
        return f"{argument}[{collection!r}]" if self.named else argument

    def by_collection(
        self, argument: str, given: Tensor | Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Argument of `forward` by collection, in the model's order."""
        if not self.named:
            if isinstance(given, Mapping):
                message = f"{argument}: got a mapping, expected a tensor (the model has no names)"
                raise ModelInputError(message)
            return {SINGLE: given}
        by_name = check_collections(argument, given, tuple(self.features))
        return {name: by_name[name] for name in self.features}


@dataclass(frozen=True)
class PaddedEvents:
    """What the user gave to `forward`, checked, by collection in the model's order.

    Attributes
    ----------
    objects
        (events, slots, features).
    occupied
        bool (events, slots): where there is an object.
    event
        (events, event features).
    momenta
        (events, slots, 4), or None where the model needs none.
    """

    objects: dict[str, Tensor]
    occupied: dict[str, Tensor]
    event: Tensor
    momenta: dict[str, Tensor] | None


def _check_padded(
    spec: InputSpec,
    objects: Tensor | Mapping[str, Tensor],
    event: Tensor,
    padding_mask: Tensor | Mapping[str, Tensor] | None,
    momenta: Tensor | Mapping[str, Tensor] | None,
    like: Tensor,
) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict[str, Tensor] | None]:
    """Objects, masks and momenta by collection; the last two may be None."""
    padded = spec.by_collection("objects", objects)
    masks = None if padding_mask is None else spec.by_collection("padding_mask", padding_mask)
    if spec.momenta and momenta is None:
        raise ModelInputError(_NO_MOMENTA)
    vectors = (
        spec.by_collection("momenta", momenta) if spec.momenta and momenta is not None else None
    )
    check_tensor("event", event, {"batch": None, "features": spec.event_features}, like)
    for name, values in padded.items():
        shape = {"batch": event.shape[0], "n": None, "features": spec.features[name]}
        check_tensor(spec.label("objects", name), values, shape, like)
        if masks is not None:
            expected = (event.shape[0], values.shape[1])
            check_mask(spec.label("padding_mask", name), masks[name], expected, like)
        if vectors is not None:
            shape = {"batch": event.shape[0], "n": values.shape[1], "(px, py, pz, E)": 4}
            check_tensor(spec.label("momenta", name), vectors[name], shape, like)
    return padded, masks, vectors


def packed_from_padded(
    spec: InputSpec,
    objects: Tensor | Mapping[str, Tensor],
    event: Tensor,
    padding_mask: Tensor | Mapping[str, Tensor] | None,
    momenta: Tensor | Mapping[str, Tensor] | None,
    like: Tensor,
) -> PackedBatch:
    """Check the arguments of the model's `forward` and pack them.

    Parameters
    ----------
    spec
        What the model reads.
    objects, event, padding_mask, momenta
        As in `AnalysisObjectTransformer.forward`.
    like
        A tensor of the model's dtype, on its device.
    """
    padded, masks, vectors = _check_padded(spec, objects, event, padding_mask, momenta, like)
    packed: dict[str, Tensor] = {}
    offsets: dict[str, Tensor] = {}
    packed_momenta: dict[str, Tensor] = {}
    for name, values in padded.items():
        mask = None if masks is None else masks[name]
        rows, offsets[name] = real_rows(values, mask)
        packed[name] = pack(values, rows)
        if vectors is not None:
            packed_momenta[name] = pack(vectors[name], rows)
    return PackedBatch(packed, offsets, event, None if vectors is None else packed_momenta)


def grid_from_padded(
    spec: InputSpec,
    objects: Tensor | Mapping[str, Tensor],
    event: Tensor,
    padding_mask: Tensor | Mapping[str, Tensor] | None,
    momenta: Tensor | Mapping[str, Tensor] | None,
    like: Tensor,
) -> PaddedEvents:
    """Check the arguments of the model's `forward` and set what is padded to zero.

    Parameters are those of `packed_from_padded`.
    """
    padded, masks, vectors = _check_padded(spec, objects, event, padding_mask, momenta, like)
    occupied = {
        name: torch.ones_like(values[..., 0], dtype=torch.bool) if masks is None else ~masks[name]
        for name, values in padded.items()
    }

    def cleared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        # A weight of zero times a NaN of the padding would be NaN.
        return {
            name: torch.where(occupied[name][..., None], tensor, 0.0)
            for name, tensor in tensors.items()
        }

    return PaddedEvents(
        cleared(padded), occupied, event, None if vectors is None else cleared(vectors)
    )


def check_packed(spec: InputSpec, batch: object, like: Tensor) -> None:
    """Refuse a packed batch that the model cannot read.

    Parameters
    ----------
    spec
        What the model reads.
    batch
        The batch.
    like
        A tensor of the model's dtype, on its device.
    """
    if not isinstance(batch, PackedBatch):
        message = (
            f"batch: got {type(batch).__name__}, expected a PackedBatch; padded tensors go to "
            "forward"
        )
        raise ModelInputError(message)
    names = tuple(spec.features)
    check_tensor("event", batch.event, {"events": None, "features": spec.event_features}, like)
    check_collections("objects", batch.objects, names)
    check_collections("offsets", batch.offsets, names)
    if spec.momenta:
        if batch.momenta is None:
            raise ModelInputError(_NO_MOMENTA)
        check_collections("momenta", batch.momenta, names)
    for name, width in spec.features.items():
        rows = batch.objects[name]
        check_tensor(f"objects[{name!r}]", rows, {"objects": None, "features": width}, like)
        check_offsets(f"offsets[{name!r}]", batch.offsets[name], len(batch), len(rows), like)
        if spec.momenta and batch.momenta is not None:
            shape = {"objects": len(rows), "(px, py, pz, E)": 4}
            check_tensor(f"momenta[{name!r}]", batch.momenta[name], shape, like)
