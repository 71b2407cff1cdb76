"""Evaluate an analysis file's expressions on one chunk of an input file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from particle_transformer.data.names import Branch, Definition, Field, Names, Whole
from particle_transformer.data.overlap import overlapping
from particle_transformer.data.sorting import descending
from particle_transformer.errors import AnalysisFileError, AOTError, InputFileError
from particle_transformer.expressions import Value, evaluate_events, evaluate_objects, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from particle_transformer.data.readers import Column

__all__ = ["Scope"]

Result = TypeVar("Result")


class Scope:
    """The values of all names on one chunk, each computed once, when first asked for.

    Parameters
    ----------
    names
        What names mean in the chunk's file.
    columns
        The chunk's branches.
    branches
        The branches of each collection (`Names.branches`).
    start
        First entry of the chunk in its file, for messages.
    events
        Entries in the chunk.
    """

    def __init__(
        self,
        names: Names,
        columns: Mapping[str, Column],
        branches: Mapping[str | None, tuple[str, ...]],
        start: int,
        events: int,
    ) -> None:
        self._names = names
        self._analysis = names.analysis
        self._columns = columns
        self._branches = branches
        self._start = start
        self._events = events
        self._offsets: dict[str, NDArray[np.int64]] = {}
        self._selections: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._fields: dict[Field, Value] = {}
        self._definitions: dict[str, Value] = {}
        self._varied: dict[Field, Value] = {}
        self._active: list[str] = []
        self._told: AOTError | None = None

    def varied(
        self, values: Mapping[Field | Definition, NDArray[Any]], unchanged: Collection[str]
    ) -> Scope:
        """The same chunk with other values of some fields and quantities.

        Parameters
        ----------
        values
            By field, one value per object before selection; by quantity, one per event.
        unchanged
            Collections whose selected objects, and their order, do not depend on `values`.
        """
        scope = Scope(self._names, self._columns, self._branches, self._start, self._events)
        for name, found in values.items():
            if isinstance(name, Definition):
                scope._definitions[name.name] = Value(found)
            else:
                offsets = self._raw_offsets(name.collection)
                scope._varied[name] = Value(found, name.collection, offsets)
        scope._fields.update(scope._varied)
        scope._selections.update({name: self._selection(name) for name in unchanged})
        return scope

    # `key` is the expression's place in the analysis file: every error begins with it.

    def event(self, text: str, key: str) -> NDArray[Any]:
        """Value of an event-level expression: (events,)."""
        with self._at(key):
            return evaluate_events(parse(text), self._event_value, self._events)

    def passing(self, text: str, key: str) -> NDArray[np.bool_]:
        """Which events pass an event-level selection: bool (events,)."""
        with self._at(key):
            return evaluate_events(parse(text), self._event_value, self._events, condition=True)

    def objects(self, text: str, collection: str, key: str) -> NDArray[Any]:
        """Value of an expression for the selected, sorted objects of a collection: (objects,)."""
        with self._at(key):
            _, offsets = self._selection(collection)
            return evaluate_objects(
                parse(text),
                lambda name: self._selected_value(name, collection),
                collection,
                offsets,
            )

    def offsets(self, collection: str) -> NDArray[np.int64]:
        """Offsets of the selected objects of a collection: int64 (events + 1,)."""
        return self._selection(collection)[1]

    def all_objects(
        self, text: str, collection: str, key: str, *, condition: bool = False
    ) -> NDArray[Any]:
        """Value of an expression for the objects of a collection before selection: (objects,)."""
        with self._at(key):
            return evaluate_objects(
                parse(text),
                lambda name: self._raw_value(name, collection),
                collection,
                self._raw_offsets(collection),
                condition=condition,
            )

    def all_offsets(self, collection: str) -> NDArray[np.int64]:
        """Offsets of the objects of a collection before selection: int64 (events + 1,)."""
        return self._raw_offsets(collection)

    # -- values of names -----------------------------------------------------------------------

    def _event_value(self, name: str, defining: str | None = None) -> Value:
        match self._names.resolve(name, None, defining=defining):
            case Branch(branch):
                return self._flat(branch)
            case Definition(definition):
                return self._definition(definition)
            case Field(owner, field):
                return self._selected_field(owner, field)
            case Whole(owner):
                return self._whole(owner)

    def _selected_value(self, name: str, collection: str) -> Value:
        if self._names.resolve(name, collection) == Whole(collection):
            return self._whole(collection)
        return self._select(self._raw_value(name, collection), collection)

    def _raw_value(self, name: str, collection: str, defining: str | None = None) -> Value:
        """Value of a name in an expression of a collection, before its selection."""
        if (varied := self._varied.get(Field(collection, name))) is not None:
            return varied
        match self._names.resolve(name, collection, defining=defining):
            case Branch(branch):
                return self._branch(branch, collection)
            case Definition(definition):
                return self._definition(definition)
            case Field(owner, field) if owner == collection:
                return self._raw_field(owner, field)
            case Field(owner, field):
                return self._selected_field(owner, field)
            case Whole(owner):
                return self._whole(owner)

    def _flat(self, branch: str) -> Value:
        column = self._columns[branch]
        if column.offsets is not None:
            message = (
                f"{self._names.path}: branch {branch!r} holds a list per event where one number "
                f"per event is expected; declare its collection under objects and reduce it "
                f"(sum, max, count, leading)"
            )
            raise InputFileError(message)
        return Value(column.values)

    def _branch(self, branch: str, collection: str) -> Value:
        column = self._columns[branch]
        if column.offsets is None:
            return Value(column.values)
        offsets = self._raw_offsets(collection)
        if column.offsets is not offsets and not np.array_equal(column.offsets, offsets):
            event = int(np.flatnonzero(np.diff(column.offsets) != np.diff(offsets))[0])
            message = (
                f"{self._names.path}: branch {branch!r} has "
                f"{int(np.diff(column.offsets)[event])} objects in entry {self._start + event} "
                f"where the other branches of objects.{collection} have "
                f"{int(np.diff(offsets)[event])}; all branches of a collection must agree"
            )
            raise InputFileError(message)
        return Value(column.values, collection, offsets)

    def _definition(self, name: str) -> Value:
        if name not in self._definitions:
            text = self._analysis.event.define[name]
            key = f"event.define.{name}"
            with self._at(key):
                values = self._guarded(
                    key,
                    lambda: evaluate_events(
                        parse(text), lambda used: self._event_value(used, name), self._events
                    ),
                )
            self._definitions[name] = Value(values)
        return self._definitions[name]

    def _raw_field(self, collection: str, field: str) -> Value:
        key = Field(collection, field)
        if key not in self._fields:
            definition = self._analysis.objects[collection].fields.get(field)
            if definition is None:
                self._fields[key] = self._raw_value(field, collection)
            else:
                offsets = self._raw_offsets(collection)
                place = f"objects.{collection}.fields.{field}"
                with self._at(place):
                    values = self._guarded(
                        place,
                        lambda: evaluate_objects(
                            parse(str(definition)),
                            lambda name: self._raw_value(name, collection, defining=field),
                            collection,
                            offsets,
                        ),
                    )
                self._fields[key] = Value(values, collection, offsets)
        return self._fields[key]

    def _selected_field(self, collection: str, field: str) -> Value:
        return self._select(self._raw_field(collection, field), collection)

    def _whole(self, collection: str) -> Value:
        offsets = self.offsets(collection)
        return Value(np.ones(int(offsets[-1]), dtype=np.bool_), collection, offsets)

    # -- the objects of a collection -----------------------------------------------------------

    def _raw_offsets(self, collection: str) -> NDArray[np.int64]:
        if collection not in self._offsets:
            names = self._branches.get(collection, ())
            jagged = (self._columns[name].offsets for name in names)
            offsets = next((found for found in jagged if found is not None), None)
            if offsets is None:
                message = (
                    f"{self._names.path}: objects.{collection}: none of its branches "
                    f"({', '.join(names) or 'none named'}) holds a list per event"
                )
                raise InputFileError(message)
            self._offsets[collection] = offsets
        return self._offsets[collection]

    def _selection(self, collection: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the selected objects in their final order, and their offsets."""
        if collection not in self._selections:
            self._selections[collection] = self._guarded(
                f"objects.{collection}", lambda: self._make_selection(collection)
            )
        return self._selections[collection]

    def _make_selection(self, collection: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        settings = self._analysis.objects[collection]
        raw = self._raw_offsets(collection)

        def evaluate(text: str, key: str, *, condition: bool = False) -> NDArray[Any]:
            place = f"objects.{collection}.{key}"
            return self.all_objects(text, collection, place, condition=condition)

        owner = np.repeat(np.arange(self._events), np.diff(raw))
        if settings.select is None:
            rows = np.arange(int(raw[-1]))
        else:
            rows = np.flatnonzero(evaluate(settings.select, "select", condition=True))
        if settings.clean is not None:
            eta, phi = (evaluate(name, "clean") for name in ("eta", "phi"))
            key = f"objects.{collection}.clean"
            for other in settings.clean.against:
                removed = overlapping(
                    eta[rows],
                    phi[rows],
                    owner[rows],
                    self.objects("eta", other, key),
                    self.objects("phi", other, key),
                    self.offsets(other),
                    settings.clean.dr,
                )
                rows = rows[~removed]
        counts = np.bincount(owner[rows], minlength=self._events)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if settings.sort_by is not None:
            keys = evaluate(settings.sort_by, "sort_by")
            if not _is_sorted(keys, raw):
                rows = rows[descending(keys[rows], offsets)]
        return rows, offsets

    def _select(self, value: Value, collection: str) -> Value:
        if value.collection != collection:
            return value
        rows, offsets = self._selection(collection)
        if len(rows) == len(value.values) and offsets is not value.offsets and _is_identity(rows):
            return Value(value.values, collection, offsets)
        return Value(value.values[rows], collection, offsets)

    def _guarded(self, key: str, compute: Callable[[], Result]) -> Result:
        """Compute, refusing a definition that needs itself."""
        if key in self._active:
            circle = " → ".join([*self._active[self._active.index(key) :], key])
            message = f"the analysis file defines a quantity by itself: {circle}"
            raise AnalysisFileError(message)
        self._active.append(key)
        try:
            return compute()
        finally:
            self._active.pop()

    @contextmanager
    def _at(self, key: str) -> Iterator[None]:
        """Begin the message of an error with `key`, unless it has the key of an inner expression."""
        try:
            yield
        except AOTError as error:
            cause: BaseException | None = error
            while cause is not None:
                if cause is self._told:
                    raise
                cause = cause.__cause__
            self._told = type(error)(f"{key}: {error}")
            raise self._told from error


def _is_identity(rows: NDArray[np.int64]) -> bool:
    return len(rows) == 0 or (rows[0] == 0 and bool(np.all(np.diff(rows) == 1)))


def _is_sorted(keys: NDArray[Any], offsets: NDArray[np.int64]) -> bool:
    """Whether keys already fall within every event; files are usually written that way.

    NaN counts as unsorted: it always goes last, whatever else is in the chunk.
    """
    rising = ~(keys[1:] <= keys[:-1])
    inner = np.ones(len(rising), dtype=np.bool_)
    borders = offsets[1:-1]
    borders = borders[(borders > 0) & (borders < len(keys))]
    inner[borders - 1] = False
    return not bool(np.any(rising & inner))
