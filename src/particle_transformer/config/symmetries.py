"""How the features of an analysis behave under the symmetries of the collider.

Names mean here what they mean in `data.names`, as far as that is decided without a file. Where a
file decides (a branch ``Jet_x`` comes before a quantity ``x`` of ``event.define``), nothing is
claimed unless both behave alike. A field or quantity that is defined as a plain branch is what its
own name says, unless the branch's name is a known quantity's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from particle_transformer.expressions import parse
from particle_transformer.expressions.nodes import Name
from particle_transformer.expressions.quantities import UNKNOWN, presumed, quantity
from particle_transformer.expressions.rotation import Keys
from particle_transformer.expressions.symmetry import INVARIANT, symmetry

if TYPE_CHECKING:
    from particle_transformer.config.analysis import Analysis
    from particle_transformer.expressions.symmetry import Symmetry

__all__ = ["Behaviours", "FeatureSymmetries", "Place", "feature_symmetries"]


@dataclass(frozen=True)
class FeatureSymmetries:
    """The behaviour of every feature, in the order of the analysis file.

    Attributes
    ----------
    objects
        By collection.
    event
        Of the event features.
    """

    objects: dict[str, tuple[Symmetry, ...]]
    event: tuple[Symmetry, ...]


def feature_symmetries(analysis: Analysis) -> FeatureSymmetries:
    """Find how the features behave; no file is opened."""
    names = Behaviours(analysis)
    return FeatureSymmetries(
        {
            name: tuple(names.of_text(text, Place(name)) for text in collection.features)
            for name, collection in analysis.objects.items()
        },
        tuple(names.of_text(text, Place(None)) for text in analysis.event.features),
    )


@dataclass(frozen=True)
class Place:
    """Where an expression stands: in which collection, or in the definition of what of it."""

    collection: str | None
    defining: str | None = None


class Behaviours:
    """What the names of an analysis file behave like; each found once."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._keys = Keys()
        self._defined: dict[Place, Symmetry] = {}

    def of_text(self, text: str, place: Place) -> Symmetry:
        """Behaviour of an expression."""
        self._define(text, place)
        return symmetry(
            parse(text), lambda name: self._of_name(name, place), self._keys, scope=place
        )

    def _define(self, text: str, place: Place) -> None:
        """Find the behaviour of what an expression refers to: what it needs comes before it."""
        open_places = {place}
        trail = [(place, text, self._needs(text, place))]
        while trail:
            current, its_text, needs = trail[-1]
            if needs:
                needed = needs.pop()
                if needed not in self._defined and needed not in open_places:
                    open_places.add(needed)
                    its = self._text(needed)
                    trail.append((needed, its, self._needs(its, needed)))
                continue
            trail.pop()
            if trail:
                self._defined[current] = self._of_definition(its_text, current)

    def _of_definition(self, text: str, place: Place) -> Symmetry:
        expression = parse(text)
        if isinstance(expression.tree, Name):
            (meaning, *others) = self._meanings(expression.tree.name, place)
            if isinstance(meaning, str) and not others:
                return self.branch(meaning, place.collection, place.defining)
        return symmetry(
            expression, lambda name: self._of_name(name, place), self._keys, scope=place
        )

    def _of_name(self, name: str, place: Place) -> Symmetry:
        found = {
            # Not defined yet is what is defined in a circle, which the data will complain about.
            self._defined.get(meaning, UNKNOWN)
            if isinstance(meaning, Place)
            else INVARIANT
            if meaning is None
            else self.branch(meaning, self._owner(name, place))
            for meaning in self._meanings(name, place)
        }
        return found.pop() if len(found) == 1 else UNKNOWN

    def _meanings(self, name: str, place: Place) -> list[Place | str | None]:
        """What a name may mean: a definition's place, a branch, or a collection (None)."""
        collection, define = place.collection, self._analysis.event.define
        found: list[Place | str | None] = []
        head, dot, field = name.partition(".")
        if collection is not None and not dot:
            entry = self._analysis.objects[collection]
            if name in entry.fields and name != place.defining:
                return [Place(collection, name)]
            if entry.collection is not None:
                found.append(name)  # if the file has it
        if name in define and (collection is not None or name != place.defining):
            return [*found, Place(None, name)]
        if dot and head in self._analysis.objects:
            return self._meanings(field, Place(head))
        if name in self._analysis.objects:
            return [*found, None]
        return [name]

    def _owner(self, name: str, place: Place) -> str | None:
        head, dot, _ = name.partition(".")
        return head if dot and head in self._analysis.objects else place.collection

    def branch(self, name: str, owner: str | None, defines: str | None = None) -> Symmetry:
        """Behaviour of a branch, under every name that an era has for it.

        Parameters
        ----------
        name
            What expressions call it.
        owner
            The collection it is a field of.
        defines
            The field or quantity that is defined as it.
        """
        found = set()
        for era in self._analysis.eras.values():
            called = [era.aliases.get(name, name), name, *([defines] if defines else [])]
            known = (quantity(each, owner, self._keys) for each in called)
            found.add(next(filter(None, known), None) or presumed(called[-1]))
        return found.pop() if len(found) == 1 else UNKNOWN

    def _needs(self, text: str, place: Place) -> list[Place]:
        return [
            meaning
            for name in parse(text).names
            for meaning in self._meanings(name, place)
            if isinstance(meaning, Place)
        ]

    def _text(self, place: Place) -> str:
        assert place.defining is not None  # as `Place` of every definition has
        if place.collection is None:
            return self._analysis.event.define[place.defining]
        return self._analysis.objects[place.collection].fields[place.defining]

    def branches(self, text: str, place: Place) -> list[tuple[str, str | None]]:
        """Branches that an expression reads itself or through definitions, and their collection.

        Those that are defined as a field or quantity by themselves are left out.
        """
        found: list[tuple[str, str | None]] = []
        seen = {place}
        pending = [(text, place)]
        while pending:
            its_text, its_place = pending.pop()
            plain = its_place.defining is not None and isinstance(parse(its_text).tree, Name)
            for name in parse(its_text).names:
                for meaning in self._meanings(name, its_place):
                    if isinstance(meaning, str) and not plain:
                        found.append((meaning, self._owner(name, its_place)))
                    elif isinstance(meaning, Place) and meaning not in seen:
                        seen.add(meaning)
                        pending.append((self._text(meaning), meaning))
        return found
