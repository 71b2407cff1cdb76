"""What a network reads, part by part, and events in which one part has lost its meaning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from particle_transformer.events import Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from particle_transformer.events import Events

__all__ = ["Input", "inputs_of", "permuted"]

Kind = Literal["object feature", "momenta", "event feature", "collection", "event features"]


@dataclass(frozen=True)
class Input:
    """A part of what the network reads.

    Attributes
    ----------
    name
        For people: ``"jets: log(pt)"``.
    kind
        A feature of the objects of a collection; their four-momenta, which the pairwise bias
        reads; an event feature; or all of a collection, or all event features, at once.
    collection
        Its collection, where it has one.
    feature
        Its expression, where it is a single one.
    column
        Of the feature.
    """

    name: str
    kind: Kind
    collection: str | None = None
    feature: str | None = None
    column: int | None = None


def inputs_of(
    objects: Mapping[str, Sequence[str]], event: Sequence[str], *, momenta: bool
) -> tuple[Input, ...]:
    """All parts of what a network reads.

    Parameters
    ----------
    objects
        Feature expressions by collection.
    event
        Expressions of the event features.
    momenta
        Whether the network reads four-momenta.
    """
    found = []
    for name, features in objects.items():
        found += [
            Input(f"{name}: {text}", "object feature", name, text, column)
            for column, text in enumerate(features)
        ]
        if momenta:
            found.append(Input(f"{name}: momenta (pairs)", "momenta", name))
    found += [Input(text, "event feature", None, text, column) for column, text in enumerate(event)]
    found += [Input(f"all of {name}", "collection", name) for name in objects]
    if len(event) > 1:
        found.append(Input("all event features", "event features"))
    return tuple(found)


def permuted(events: Events, part: Input, generator: np.random.Generator) -> Events:
    """The events with one part of them permuted among them.

    A feature, or the momenta, of objects: among all objects of the collection, whatever their
    events; how many objects an event has stays. An event feature, all event features together, or
    a whole collection with the number of its objects: among the events. All else stays.

    Parameters
    ----------
    events
        Of all processes together.
    part
        What is permuted.
    generator
        Of the random numbers.
    """
    if part.kind in ("event feature", "event features"):
        order = generator.permutation(len(events))
        columns = slice(None) if part.column is None else part.column
        values = events.event.copy()
        values[:, columns] = values[order][:, columns]
        return replace(events, event=values)
    assert part.collection is not None
    ragged = events.objects[part.collection]
    if part.kind == "collection":
        changed = ragged.take(generator.permutation(len(events)))
    else:
        order = generator.permutation(len(ragged.values))
        if part.kind == "momenta":
            assert ragged.momenta is not None
            changed = Ragged(ragged.values, ragged.offsets, ragged.momenta[order])
        else:
            values = ragged.values.copy()
            values[:, part.column] = values[order, part.column]
            changed = Ragged(values, ragged.offsets, ragged.momenta)
    return replace(events, objects={**events.objects, part.collection: changed})
