"""From raw padded columns to what the network sees: selections, order and features in a graph.

The counterpart of `particle_transformer.data.scope`, whose rules these are, on padded tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from particle_transformer.data.features import MOMENTUM_FIELDS
from particle_transformer.data.names import Branch, Definition, Field, Whole
from particle_transformer.export.elementwise import cartesian, delta_r
from particle_transformer.export.evaluate import condition, evaluate
from particle_transformer.export.padded import PaddedValue, as_tensor, index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from particle_transformer.export.inputs import RawColumns

__all__ = ["PaddedScope"]

_SINGLE = np.dtype(np.float32)


class PaddedScope:
    """The values of all names in one batch of events, each computed once.

    Parameters
    ----------
    raw
        What the columns are.
    columns
        By branch: (batch,) or (batch, slots).
    occupied
        bool (batch, slots) by group. In the last slot there is never an object, so that no
        reduction is over nothing.
    """

    def __init__(
        self, raw: RawColumns, columns: Mapping[str, Tensor], occupied: Mapping[str, Tensor]
    ) -> None:
        self._raw = raw
        self._names = raw.names
        self._analysis = raw.names.analysis
        self._inputs = {each.name: each for each in raw.inputs}
        self._columns = columns
        self._occupied = {name: occupied[group] for name, group in raw.groups.items()}
        self._fields: dict[Field, PaddedValue] = {}
        self._definitions: dict[str, PaddedValue] = {}
        self._selections: dict[str, tuple[Tensor, Tensor]] = {}
        self._like = next(iter(self._occupied.values()))[:, 0]  # (batch,)

    def event_feature(self, text: str) -> Tensor:
        """Value of an event-level expression: float32 (batch,)."""
        value = evaluate(text, self._event_value)
        return as_tensor(value, _SINGLE, self._like).expand(self._like.shape)

    def objects(self, name: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """What the network sees of a collection.

        Returns
        -------
        features : float32 (batch, slots, features)
            The selected objects in their order; more than ``max`` may be there.
        occupied : bool (batch, slots)
            Where there is one of the first ``max`` selected objects.
        momenta : float32 (batch, slots, 4) or None
        truncated : int64 (batch,)
            How many objects ``max`` has cut.
        """
        settings = self._analysis.objects[name]
        _, occupied = self._selection(name)
        kept = occupied
        if settings.max is not None:
            kept = occupied & (index(occupied) < settings.max)
        truncated = occupied.to(torch.int64).sum(1) - kept.to(torch.int64).sum(1)
        columns = [self._feature(text, name) for text in settings.features]
        momenta = None
        if self._analysis.model.pair_bias:
            polar = [self._selected(field, name) for field in MOMENTUM_FIELDS]
            parts = cartesian(*(part.values for part in polar))
            momenta = torch.stack(parts, -1).to(torch.float32)
        return torch.stack(columns, -1), kept, momenta, truncated

    def _feature(self, text: str, collection: str) -> Tensor:
        value = evaluate(text, lambda name: self._selected(name, collection))
        _, occupied = self._selection(collection)
        tensor = as_tensor(value, _SINGLE, occupied)
        if isinstance(value, PaddedValue) and value.collection is None:
            tensor = tensor[:, None]
        return tensor.expand(occupied.shape)

    # -- values of names -----------------------------------------------------------------------

    def _event_value(self, name: str, defining: str | None = None) -> PaddedValue:
        match self._names.resolve(name, None, defining=defining):
            case Branch(branch):
                return self._branch(branch, None)
            case Definition(definition):
                return self._definition(definition)
            case Field(owner, field):
                return self._select(self._raw_field(owner, field), owner)
            case Whole(owner):
                return self._whole(owner)

    def _selected(self, name: str, collection: str) -> PaddedValue:
        if self._names.resolve(name, collection) == Whole(collection):
            return self._whole(collection)
        return self._select(self._raw_value(name, collection), collection)

    def _raw_value(self, name: str, collection: str, defining: str | None = None) -> PaddedValue:
        match self._names.resolve(name, collection, defining=defining):
            case Branch(branch):
                return self._branch(branch, collection)
            case Definition(definition):
                return self._definition(definition)
            case Field(owner, field) if owner == collection:
                return self._raw_field(owner, field)
            case Field(owner, field):
                return self._select(self._raw_field(owner, field), owner)
            case Whole(owner):
                return self._whole(owner)

    def _branch(self, branch: str, collection: str | None) -> PaddedValue:
        found = self._inputs[branch]
        values = self._columns[branch]
        if found.group is None:
            return PaddedValue(values, found.dtype)
        assert collection is not None, "the preparation refuses lists of the event"
        return PaddedValue(values, found.dtype, collection, self._occupied[collection])

    def _definition(self, name: str) -> PaddedValue:
        if name not in self._definitions:
            text = self._analysis.event.define[name]
            value = evaluate(text, lambda used: self._event_value(used, name))
            if not isinstance(value, PaddedValue):
                dtype = np.asarray(value).dtype
                value = PaddedValue(
                    as_tensor(value, dtype, self._like).expand(self._like.shape), dtype
                )
            self._definitions[name] = value
        return self._definitions[name]

    def _raw_field(self, collection: str, field: str) -> PaddedValue:
        key = Field(collection, field)
        if key not in self._fields:
            definition = self._analysis.objects[collection].fields.get(field)
            if definition is None:
                self._fields[key] = self._raw_value(field, collection)
            else:
                text = str(definition)
                value = evaluate(text, lambda name: self._raw_value(name, collection, field))
                self._fields[key] = self._of_objects(value, collection)
        return self._fields[key]

    def _of_objects(self, value: PaddedValue | bool | float, collection: str) -> PaddedValue:
        """`value`, repeated for each object where it is one per event."""
        if isinstance(value, PaddedValue) and value.collection is not None:
            return value
        occupied = self._occupied[collection]
        dtype = value.dtype if isinstance(value, PaddedValue) else np.asarray(value).dtype
        tensor = as_tensor(value, dtype, occupied)
        tensor = tensor[:, None] if isinstance(value, PaddedValue) else tensor
        return PaddedValue(tensor.expand(occupied.shape), dtype, collection, occupied)

    def _whole(self, collection: str) -> PaddedValue:
        _, occupied = self._selection(collection)
        return PaddedValue(occupied, np.dtype(np.bool_), collection, occupied)

    def _select(self, value: PaddedValue, collection: str) -> PaddedValue:
        if value.collection != collection:
            return value
        order, occupied = self._selection(collection)
        return PaddedValue(value.values.gather(1, order), value.dtype, collection, occupied)

    # -- the objects of a collection -----------------------------------------------------------

    def _selection(self, collection: str) -> tuple[Tensor, Tensor]:
        """Slots (batch, slots) of the objects in their final order, and which are selected."""
        if collection not in self._selections:
            self._selections[collection] = self._make_selection(collection)
        return self._selections[collection]

    def _make_selection(self, collection: str) -> tuple[Tensor, Tensor]:
        settings = self._analysis.objects[collection]
        chosen = self._occupied[collection]

        def raw(name: str) -> PaddedValue:
            return self._raw_value(name, collection)

        if settings.select is not None:
            passing = condition(settings.select, raw)
            chosen = chosen & as_tensor(
                self._of_objects(passing, collection), np.dtype(np.bool_), chosen
            )
        if settings.clean is not None:
            eta, phi = (self._of_objects(raw(name), collection) for name in ("eta", "phi"))
            for other in settings.clean.against:
                near = self._near(eta, phi, other, settings.clean.dr)
                chosen = chosen & ~near
        if settings.sort_by is None:
            rank = _compacted(chosen)
        else:
            rank = _falling(self._of_objects(raw(settings.sort_by), collection).values, chosen)
        slot = torch.arange(rank.shape[1]).expand(rank.shape)  # (batch, slots)
        order = torch.zeros_like(rank).scatter(1, rank, slot)
        return order, chosen.gather(1, order)

    def _near(self, eta: PaddedValue, phi: PaddedValue, other: str, dr: float) -> Tensor:
        """Whether an object of `other` is nearer than `dr`: bool (batch, slots)."""
        other_eta, other_phi = (self._selected(name, other) for name in ("eta", "phi"))
        dtype = np.result_type(eta.dtype, phi.dtype, other_eta.dtype, other_phi.dtype)
        dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
        one, two = (as_tensor(part, dtype, eta.values)[:, :, None] for part in (eta, phi))
        first, second = (
            as_tensor(part, dtype, eta.values)[:, None] for part in (other_eta, other_phi)
        )
        _, occupied = self._selection(other)
        pairs = (delta_r(one, two, first, second) < dr) & occupied[
            :, None
        ]  # (batch, slots, others)
        return pairs.to(torch.int64).sum(2) > 0


def _compacted(chosen: Tensor) -> Tensor:
    """Place of each slot when the chosen ones come first: int64 (batch, slots)."""
    others = index(~chosen) + chosen.to(torch.int64).sum(1, keepdim=True)
    return torch.where(chosen, index(chosen), others)


def _falling(key: Tensor, chosen: Tensor) -> Tensor:
    """The same, the chosen ones by falling key; equal keys keep their order, NaN comes last.

    By counting who comes before, which needs no sorting operator with rules of its own.
    """
    if key.dtype == torch.bool:
        key = key.to(torch.int64)
    last = torch.isnan(key) if key.is_floating_point() else torch.zeros_like(chosen)
    kind = torch.where(chosen, last.to(torch.int64), torch.full_like(key, 2, dtype=torch.int64))
    key = torch.where(chosen & ~last, key, torch.zeros_like(key))
    slot = torch.arange(key.shape[1])
    same = (kind[:, None] == kind[:, :, None]) & (key[:, None] == key[:, :, None])
    before = (
        (kind[:, None] < kind[:, :, None])
        | ((kind[:, None] == kind[:, :, None]) & (key[:, None] > key[:, :, None]))
        | (same & (slot < slot[:, None]))
    )  # (batch, slots, slots): the second slot comes before the first
    return before.to(torch.int64).sum(2)
