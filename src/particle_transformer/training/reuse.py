"""What of one network another one can begin from: features by what they are, blocks as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.expressions import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BLOCKS", "Inputs", "MappedFeatures", "Reuse", "plan_reuse"]

_PAIR_BIAS, _HEAD, _LAST_LAYER, _REGRESSION = (
    "pair bias", "head", "last layer", "regression head"
)  # fmt: skip
BLOCKS = {
    _PAIR_BIAS: "pair_bias",
    "attention blocks": "att_blocks",
    "class token": "class_token",
    "class blocks": "class_blocks",
    "norm before the head": "class_norm",
}
"""Parts that are taken over as a whole, and their names in the network."""


@dataclass(frozen=True)
class Inputs:
    """What the columns of a network are.

    Attributes
    ----------
    objects
        Feature expressions by collection, in the order of the columns.
    event
        Expressions of the event features.
    classes
        Names of the classes; `signal` first.
    offsets
        What the loss of a trained network added to its logits, one for each; empty: nothing.
    """

    objects: Mapping[str, Sequence[str]]
    event: Sequence[str]
    classes: Sequence[str]
    offsets: Sequence[float] = ()


@dataclass(frozen=True)
class MappedFeatures:
    """The features of a collection, or of the event, and the columns of the older network.

    Attributes
    ----------
    source
        The older network's collection; None: it has none, and all is fresh.
    reused
        Features that both have: (column, the older network's column).
    names
        All features, in the order of the columns.
    unused
        Features of the older network alone.
    """

    source: str | None
    reused: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def new(self) -> tuple[str, ...]:
        """Features that the older network did not have."""
        known = {column for column, _ in self.reused}
        return tuple(name for column, name in enumerate(self.names) if column not in known)

    def to_json(self) -> dict[str, Any]:
        """As ``run.json`` has it."""
        return {
            "of": self.source,
            "reused": [self.names[column] for column, _ in self.reused],
            "new": list(self.new),
            "unused": list(self.unused),
        }


@dataclass(frozen=True)
class Reuse:
    """What a network takes over from an older one.

    Attributes
    ----------
    objects
        By collection.
    event
        The event features.
    outputs
        Outputs of the last layer that both have: (output, the older network's output).
    classes
        Names of the classes that have them; both of a network with one output.
    reused, fresh
        The other parts of the network, in words.
    """

    objects: Mapping[str, MappedFeatures]
    event: MappedFeatures
    outputs: tuple[tuple[int, int], ...]
    classes: tuple[str, ...]
    reused: tuple[str, ...]
    fresh: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``run.json`` has it."""
        return {
            "objects": {name: mapped.to_json() for name, mapped in self.objects.items()},
            "event": self.event.to_json(),
            "classes": list(self.classes),
            "reused": list(self.reused),
            "fresh": list(self.fresh),
        }


def plan_reuse(
    arguments: Mapping[str, Any], own: Inputs, of: Mapping[str, Any], older: Inputs
) -> Reuse:
    """Find what a network can take over.

    Features are matched by the collection and by what their expressions say, however they are
    written; collections by their name, where an ending s and capitals do not count. A collection
    without a feature in common, and one that the older network does not have, is fresh.

    Parameters
    ----------
    arguments, own
        The constructor's arguments of the new network, with the older one's widths and numbers of
        blocks, and its inputs.
    of, older
        The same of the older network.
    """
    objects = {}
    free = list(older.objects)
    for name, texts in own.objects.items():
        source = _counterpart(name, free, own.objects)
        mapped = _mapped(source, texts, () if source is None else older.objects[source])
        if mapped.source is not None:
            free.remove(mapped.source)
        objects[name] = mapped
    outputs, classes = _outputs(arguments["num_outputs"], own, of["num_outputs"], older)
    parts = {**dict.fromkeys(BLOCKS, True), _HEAD: True, _LAST_LAYER: bool(outputs)}
    if arguments["pair_bias"]:
        parts[_PAIR_BIAS] = of["pair_bias"]
    else:
        del parts[_PAIR_BIAS]
    if arguments["regression_targets"]:
        parts[_REGRESSION] = False
    return Reuse(
        objects,
        _mapped("event", own.event, older.event),
        outputs,
        classes,
        tuple(part for part, taken in parts.items() if taken),
        tuple(part for part, taken in parts.items() if not taken),
    )


def _outputs(
    number: int, own: Inputs, of: int, older: Inputs
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Outputs that two networks have in common, and the classes that have them."""
    if number == of and list(own.classes) == list(older.classes):
        return tuple((output, output) for output in range(number)), tuple(own.classes)
    if number != len(own.classes) or of != len(older.classes):
        return (), ()  # an output is not that of one class
    pairs = [
        (output, list(older.classes).index(name))
        for output, name in enumerate(own.classes)
        if name in older.classes
    ]
    return tuple(pairs), tuple(own.classes[output] for output, _ in pairs)


def _counterpart(name: str, others: Sequence[str], own: Mapping[str, Any]) -> str | None:
    """The collection of the same name, or of one that is nearly the same and not taken."""
    if name in others:
        return name
    near = [other for other in others if _key(other) == _key(name) and other not in own]
    return near[0] if near else None


def _key(collection: str) -> str:
    return collection.casefold().removesuffix("s")


def _mapped(source: str | None, texts: Sequence[str], older: Sequence[str]) -> MappedFeatures:
    trees = [parse(text).tree for text in older]
    reused: list[tuple[int, int]] = []
    for column, text in enumerate(texts):
        tree = parse(text).tree
        taken = {old for _, old in reused}
        found = [old for old, other in enumerate(trees) if other == tree and old not in taken]
        if found:
            reused.append((column, found[0]))
    if not reused:
        return MappedFeatures(None, (), tuple(texts), tuple(older))
    taken = {old for _, old in reused}
    unused = tuple(text for old, text in enumerate(older) if old not in taken)
    return MappedFeatures(source, tuple(reused), tuple(texts), unused)
