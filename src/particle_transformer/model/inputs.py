"""The model's door: check what the user gave, and drop the padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from particle_transformer.errors import ModelInputError
from particle_transformer.events.packed import PackedBatch
from particle_transformer.model.checks import (
    check_collections,
    check_mask,
    check_offsets,
    check_tensor,
)
from particle_transformer.model.packing import pack

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SINGLE", "InputSpec", "check_packed", "packed_from_padded"]

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
        if not isinstance(given, Mapping):
            message = (
                f"{argument}: got {type(given).__name__}, expected a mapping with the "
                f"collections {', '.join(self.features)}"
            )
            raise ModelInputError(message)
        check_collections(argument, given, tuple(self.features))
        return {name: given[name] for name in self.features}


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
    padded = spec.by_collection("objects", objects)
    masks = None if padding_mask is None else spec.by_collection("padding_mask", padding_mask)
    if spec.momenta and momenta is None:
        raise ModelInputError(_NO_MOMENTA)
    vectors = (
        spec.by_collection("momenta", momenta) if spec.momenta and momenta is not None else None
    )
    check_tensor("event", event, {"batch": None, "features": spec.event_features}, like)
    packed: dict[str, Tensor] = {}
    offsets: dict[str, Tensor] = {}
    packed_momenta: dict[str, Tensor] = {}
    for name, values in padded.items():
        shape = {"batch": len(event), "n": None, "features": spec.features[name]}
        check_tensor(spec.label("objects", name), values, shape, like)
        mask = None
        if masks is not None:
            mask = masks[name]
            check_mask(spec.label("padding_mask", name), mask, (len(event), values.shape[1]))
        packed[name], offsets[name] = pack(values, mask)
        if vectors is not None:
            shape = {"batch": len(event), "n": values.shape[1], "(px, py, pz, E)": 4}
            check_tensor(spec.label("momenta", name), vectors[name], shape, like)
            packed_momenta[name], _ = pack(vectors[name], mask)
    return PackedBatch(packed, offsets, event, packed_momenta if spec.momenta else None)


def check_packed(spec: InputSpec, batch: PackedBatch, like: Tensor) -> None:
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
        check_offsets(f"offsets[{name!r}]", batch.offsets[name], len(batch), len(rows))
        if spec.momenta and batch.momenta is not None:
            shape = {"objects": len(rows), "(px, py, pz, E)": 4}
            check_tensor(f"momenta[{name!r}]", batch.momenta[name], shape, like)
