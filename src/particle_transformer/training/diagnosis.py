"""What made a loss NaN or infinite: the feature, the process, or the network itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.batch import Batch

__all__ = ["Names", "cause"]

_EXTREME = 50.0  # standard deviations: far beyond what a feature in physical units has


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


def cause(model: AnalysisObjectTransformer, batch: Batch, names: Names) -> str:
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
    for what, values, _, event in columns:
        rows = torch.nonzero(~torch.isfinite(values)).flatten()
        if len(rows):
            return _told(what, values[rows[0]], batch, event[rows[0]], names, "")
    extreme = [column for column in columns if len(column[1])]
    if extreme:
        what, values, scaled, event = max(extreme, key=lambda column: float(column[2].abs().max()))
        row = scaled.abs().argmax()
        deviations = float(scaled[row])
        if abs(deviations) > _EXTREME:
            far = f", {deviations:.3g} standard deviations from its mean in training"
            return _told(what, values[row], batch, event[row], names, far)
    return (
        "its inputs are finite and not extreme: lower the learning rate, or use precision: float32"
    )


def _columns(
    model: AnalysisObjectTransformer, batch: Batch, names: Names
) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """What each column is called, its values (rows,), scaled ones, and their events."""
    events = torch.arange(len(batch.events), device=batch.target.device)
    for name, scaling in zip(model.collections, model.object_scaling, strict=True):
        values = batch.events.objects[name]
        owner = torch.repeat_interleave(events, batch.events.offsets[name].diff())
        for column, (own, scaled) in enumerate(zip(values.T, scaling(values).T, strict=True)):
            text = _name(names.objects.get(name, ()), column)
            yield f"feature {text} of {name}", own, scaled, owner
    event = batch.events.event
    for column, (own, scaled) in enumerate(zip(event.T, model.event_scaling(event).T, strict=True)):
        yield f"event feature {_name(names.event, column)}", own, scaled, events
    for column, own in enumerate(batch.spectators.T):
        scaled = (own - own.mean()) / own.std().clamp_min(1e-30)
        yield f"spectator {_name(names.spectators, column)}", own, scaled, events
    yield "the training weight", batch.weight, torch.zeros_like(batch.weight), events


def _name(names: Sequence[str], number: int) -> str:
    return repr(names[number]) if number < len(names) else str(number)


def _told(what: str, value: Tensor, batch: Batch, event: Tensor, names: Names, more: str) -> str:
    process = _name(names.processes, int(batch.process[event]))
    return f"{what} is {float(value):g} in an event of process {process}{more}"
