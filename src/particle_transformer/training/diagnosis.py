"""What made a loss NaN or infinite: the feature, the process, or the network itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from particle_transformer.model import EventNetwork
    from particle_transformer.training.batch import Batch

__all__ = ["Names", "cause"]

_EXTREME = 50.0  # standard deviations: far beyond what a feature in physical units has
_LARGEST = 1e18  # what float32 can still take the square of, and sum
_COMPONENTS = ("px", "py", "pz", "E")


@dataclass(frozen=True)
class Names:
    """What to call columns and processes in messages; what has no name is called by its number.

    Attributes
    ----------
    objects
        Features by collection.
    event
        Event features.
    spectators
        Spectators.
    processes
        Processes.
    """

    objects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    event: Sequence[str] = ()
    spectators: Sequence[str] = ()
    processes: Sequence[str] = ()


def cause(model: EventNetwork, batch: Batch, names: Names) -> str:
    """Say what in a batch, or in the network, is not finite or extreme; one clause.

    Parameters
    ----------
    model
        The network that computed the loss.
    batch
        The batch of the loss.
    names
        What to call things.
    """
    broken = [name for name, value in model.named_parameters() if not torch.isfinite(value).all()]
    if broken:
        return (
            f"{len(broken)} of the network's parameters are NaN or infinite ({broken[0]} is the "
            "first), so an earlier step has spoilt them: lower the learning rate or gradient_clip"
        )
    columns = list(_columns(model, batch, names))
    for column in columns:
        rows = torch.nonzero(~torch.isfinite(column.values)).flatten()
        if len(rows):
            return _told(column, int(rows[0]), batch, names, "")
    for column in columns:
        rows = torch.nonzero(column.values.abs() > _LARGEST).flatten()
        if len(rows):
            return _told(column, int(rows[0]), batch, names, ", too large for float32's squares")
    scaled = [
        (column, column.deviations)
        for column in columns
        if column.deviations is not None and len(column.values)
    ]
    if scaled:
        column, deviations = max(scaled, key=lambda pair: float(pair[1].abs().max()))
        row = int(deviations.abs().argmax())
        far = float(deviations[row])
        if abs(far) > _EXTREME:
            more = f", {far:.3g} standard deviations from its mean in training"
            return _told(column, row, batch, names, more)
    return (
        "its inputs are finite and not extreme: lower the learning rate, or use precision: float32"
    )


class _Column(NamedTuple):
    """What a column is called, its values (rows,), what they are after scaling, their events."""

    what: str
    values: Tensor
    event: Tensor
    deviations: Tensor | None = None


def _columns(model: EventNetwork, batch: Batch, names: Names) -> Iterator[_Column]:
    """Whatever the loss is computed of."""
    events = torch.arange(len(batch.events), device=batch.target.device)
    owners = {
        name: torch.repeat_interleave(events, offsets.diff())
        for name, offsets in batch.events.offsets.items()
    }
    for name, scaling in zip(model.collections, model.object_scaling, strict=True):
        values = batch.events.objects[name]
        for number, (own, scaled) in enumerate(zip(values.T, scaling(values).T, strict=True)):
            text = _name(names.objects.get(name, ()), number)
            yield _Column(f"feature {text} of {name}", own, owners[name], scaled)
    event = batch.events.event
    for number, (own, scaled) in enumerate(zip(event.T, model.event_scaling(event).T, strict=True)):
        yield _Column(f"event feature {_name(names.event, number)}", own, events, scaled)
    for name, momenta in (batch.events.momenta or {}).items():
        for component, own in zip(_COMPONENTS, momenta.T, strict=True):
            yield _Column(f"the momentum {component} of {name}", own, owners[name])
    for number, own in enumerate(batch.spectators.T):
        yield _Column(f"spectator {_name(names.spectators, number)}", own, events)
    yield _Column("the training weight", batch.weight, events)


def _name(names: Sequence[str], number: int) -> str:
    return repr(names[number]) if number < len(names) else str(number)


def _told(column: _Column, row: int, batch: Batch, names: Names, more: str) -> str:
    process = _name(names.processes, int(batch.process[column.event[row]]))
    value = float(column.values[row])
    return f"{column.what} is {value:g} in an event of process {process}{more}"
