"""What the names in an analysis file's expressions mean in one input file.

Within a collection a bare name is first one of its fields: one that the analysis file defines
under ``fields``, else the branch ``<collection>_<name>``. Otherwise, and everywhere else, it is a
quantity of ``event.define``, else (in a collection without a prefix, or for a number per event) the
branch ``<name>``, or a collection (for ``count``); a dotted name that is not defined is a
collection's field (``jets.pt``: the selected objects). In the definition of a field or quantity its
own name means the branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from particle_transformer.errors import InputFileError, nearest
from particle_transformer.expressions import parse
from particle_transformer.expressions.parse import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from particle_transformer.config import Analysis

__all__ = ["Branch", "Definition", "Field", "Meaning", "Names", "Reach", "Whole"]


@dataclass(frozen=True)
class Branch:
    """A branch of the input file."""

    name: str


@dataclass(frozen=True)
class Definition:
    """A quantity of ``event.define``."""

    name: str


@dataclass(frozen=True)
class Field:
    """A field of a collection."""

    collection: str
    name: str


@dataclass(frozen=True)
class Whole:
    """A collection as a whole, as in ``count(jets)``."""

    collection: str


Meaning = Branch | Definition | Field | Whole


@dataclass(frozen=True)
class Reach:
    """What some expressions depend on.

    Attributes
    ----------
    branches
        Branches by the collection in whose expressions they stand (None: of the event).
    quantities
        Fields of collections, those that are plain branches too, and quantities of
        ``event.define``.
    """

    branches: dict[str | None, tuple[str, ...]]
    quantities: frozenset[Field | Definition]


class Names:
    """Resolve names for one file.

    Parameters
    ----------
    analysis
        The analysis file.
    era
        Label of the file's era, whose aliases hold.
    available
        Every branch of the file.
    path
        The file, for messages.
    """

    def __init__(self, analysis: Analysis, era: str, available: Iterable[str], path: str) -> None:
        self.analysis = analysis
        self.path = path
        self._available = frozenset(available)
        self._aliases = analysis.eras[era].aliases

    def resolve(
        self,
        name: str,
        collection: str | None,
        *,
        defining: str | None = None,
        text: str | None = None,
    ) -> Meaning:
        """Meaning of `name` in an expression of `collection` (None: of the event).

        Parameters
        ----------
        name, collection
            The name and where it stands.
        defining
            The field (or, with `collection` None, the quantity) whose own definition the
            expression is: there the name means the branch.
        text
            The expression, for messages.

        Raises
        ------
        InputFileError
            If the file has nothing of that name; the nearest existing names are given.
        """
        head, dot, field = name.partition(".")
        if collection is not None and not dot:
            if name in self.analysis.objects[collection].fields and name != defining:
                return Field(collection, name)
            prefixed = self._prefixed(collection, name)
            if prefixed in self._available:
                return Branch(prefixed)
        if name in self.analysis.event.define and (collection is not None or name != defining):
            return Definition(name)
        if dot:
            if head not in self.analysis.objects:
                raise self._unknown(name, None, text)
            if not self._has_field(head, field):
                raise self._unknown(field, head, text)
            return Field(head, field)
        if collection is not None and self._aliases.get(name, name) in self._available:
            return Branch(self._aliases.get(name, name))
        if name in self.analysis.objects:
            return Whole(name)
        branch = self._aliases.get(name, name)
        if branch in self._available:
            return Branch(branch)
        raise self._unknown(name, collection, text)

    def check_field(self, name: str, collection: str) -> Branch | None:
        """Check that `name` is a field of the collection itself, not a number per event.

        Returns
        -------
        Branch or None
            Where the collection has no prefix, the branch that must hold a list per event, which
            only its values show.

        Raises
        ------
        InputFileError
            If the collection has no such field.
        """
        settings = self.analysis.objects[collection]
        if name in settings.fields:
            return None
        branch = self._prefixed(collection, name)
        if branch not in self._available:
            raise self._unknown(name, collection)
        return Branch(branch) if settings.collection is None else None

    def branches(
        self, expressions: Iterable[tuple[str, str | None]]
    ) -> dict[str | None, tuple[str, ...]]:
        """Every branch that the expressions need; see `reach`."""
        return self.reach(expressions).branches

    def reach(self, expressions: Iterable[tuple[str, str | None]]) -> Reach:
        """Everything that the expressions depend on, directly or through definitions.

        Parameters
        ----------
        expressions
            Pairs of an expression's text and its collection (None: of the event).
        """
        found: dict[str | None, dict[str, None]] = {}
        quantities: set[Field | Definition] = set()
        seen: set[tuple[str, str | None, str | None]] = set()
        pending: list[tuple[str, str | None, str | None]] = [
            (text, collection, None) for text, collection in expressions
        ]
        while pending:
            item = pending.pop()
            if item in seen:
                continue
            seen.add(item)
            text, collection, defining = item
            for name in parse(text).names:
                match self.resolve(name, collection, defining=defining, text=text):
                    case Branch(branch):
                        found.setdefault(collection, {})[branch] = None
                        if collection is not None and name != defining:
                            quantities.add(Field(collection, name))
                    case Definition(definition):
                        quantities.add(Definition(definition))
                        text_of = self.analysis.event.define[definition]
                        pending.append((text_of, None, definition))
                    case Field(owner, field):
                        quantities.add(Field(owner, field))
                        definition_of_field = self.analysis.objects[owner].fields.get(field)
                        if definition_of_field is None:
                            pending.append((field, owner, None))
                        else:
                            pending.append((str(definition_of_field), owner, field))
                        pending.extend(self.shaping(owner))
                    case Whole(owner):
                        pending.extend(self.shaping(owner))
        return Reach({key: tuple(names) for key, names in found.items()}, frozenset(quantities))

    def shaping(self, collection: str) -> list[tuple[str, str | None, str | None]]:
        """Expressions that decide which objects of a collection there are, and their order."""
        settings = self.analysis.objects[collection]
        texts = [text for text in (settings.select, settings.sort_by) if text is not None]
        texts.append(settings.features[0])
        shaping: list[tuple[str, str | None, str | None]] = [
            (text, collection, None) for text in texts
        ]
        if settings.clean is not None:
            for owner in (collection, *settings.clean.against):
                shaping += [("eta", owner, None), ("phi", owner, None)]
            for other in settings.clean.against:
                shaping += self.shaping(other)
        return shaping

    def _prefixed(self, collection: str, name: str) -> str:
        prefix = self.analysis.objects[collection].collection
        aliased = self._aliases.get(name, name)
        return aliased if prefix is None else f"{prefix}_{aliased}"

    def _has_field(self, collection: str, field: str) -> bool:
        return (
            field in self.analysis.objects[collection].fields
            or self._prefixed(collection, field) in self._available
            or self._aliases.get(field, field) in self._available
        )

    def _unknown(
        self, name: str, collection: str | None, text: str | None = None
    ) -> InputFileError:
        known = {*self.analysis.event.define, *self.analysis.objects, *self._available}
        branch = self._aliases.get(name, name)
        what = f"{name!r}"
        if collection is not None:
            branch = self._prefixed(collection, name)
            what = f"field {name!r} of {collection}"
            known.update(self.analysis.objects[collection].fields)
            # A field is looked for among the fields first, by the names that expressions use.
            prefix = f"{self.analysis.objects[collection].collection}_"
            known.update(
                found.removeprefix(prefix) for found in self._available if found.startswith(prefix)
            )
        if branch != name:
            what += f" (branch {branch!r})"
        if text is not None and text.strip() != name:
            what += f", in expression {quoted(text)},"
        return InputFileError(
            f"{self.path}: {what} is neither in the file nor defined in the analysis "
            f"file; {nearest(self._aliases.get(name, name), known)}"
        )
