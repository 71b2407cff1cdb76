"""Weights from correction files, by way of the correctionlib library."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from particle_transformer.errors import (
    AnalysisFileError,
    ExpressionError,
    InputFileError,
    SampleError,
    nearest,
    require,
)
from particle_transformer.expressions import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Correction, CorrectionLookup

__all__ = ["CorrectionEvaluator"]


class CorrectionEvaluator:
    """One correction weight of the analysis file.

    The file is opened when first needed, once per process; pickling leaves the open file behind.

    Parameters
    ----------
    settings
        The correction.
    key
        Its place in the analysis file (``weights.pileup``): every error begins with it.
    """

    def __init__(self, settings: Correction, key: str) -> None:
        self._settings = settings
        self._key = key
        self._factor = _Lookup(settings, key)
        self._efficiency = (
            None
            if settings.efficiency is None
            else _Lookup(settings.efficiency, f"{key}.efficiency")
        )

    @cached_property
    def expressions(self) -> tuple[tuple[str, str | None], ...]:
        """Every expression it evaluates, with its collection (None: of the event).

        Asking for them opens the files and checks everything that needs no events.

        Raises
        ------
        InputFileError
            If a file cannot be read or is no correction file.
        AnalysisFileError
            If a file lacks the correction, or its declared inputs are not those given.
        ExpressionError
            If the input for a number is not an expression.
        MissingExtraError
            If correctionlib is not installed.
        """
        settings = self._settings
        texts = [*self._factor.expressions]
        if self._efficiency is not None:
            texts += self._efficiency.expressions
        texts += [text for text in (settings.select, settings.tagged) if text is not None]
        return tuple((text, settings.objects) for text in dict.fromkeys(texts))

    def __call__(
        self,
        events: int,
        event: Callable[[str], NDArray[Any]],
        objects: Callable[[str, str], NDArray[Any]],
        offsets: Callable[[str], NDArray[np.int64]],
    ) -> NDArray[np.float64]:
        """Compute the weight of each event.

        With `tagged` it is, over the objects for which `select` holds,
        w = Π_tagged SF · Π_untagged (1 − SF·ε)/(1 − ε): the probability of the tags in data over
        that in simulation, "method 1a" of the recommendations for event reweighting with fixed
        working points (https://btv-wiki.docs.cern.ch, Fixed WP SF recommendations). The efficiency
        of tagged objects cancels and is not looked up; an untagged object with ε = 0 counts 1, and
        one with SF·ε > 1 makes the weight negative.

        Parameters
        ----------
        events
            The number of events.
        event
            Gives the value of an event-level expression: (events,).
        objects
            Gives the value of an expression for the selected objects of a collection: (objects,).
        offsets
            Gives the offsets of a collection's selected objects: int64 (events + 1,).

        Returns
        -------
        float64 (events,)
            1 for events without objects. NaN where an input is NaN.

        Raises
        ------
        InputFileError
            If the correction has no value for some input.
        AnalysisFileError
            If an input is not integer where the correction declares an integer.
        SampleError
            If an untagged object has an efficiency outside of 0 <= ε < 1.
        ExpressionError
            If `select` or `tagged` is not a condition.

        and everything that `expressions` raises.
        """
        collection = self._settings.objects
        if collection is None:
            return self._factor([event(text) for text in self._factor.expressions], events)

        def condition(name: str, text: str) -> NDArray[np.bool_]:
            values = objects(text, collection)
            if values.dtype.kind == "f":
                message = (
                    f"{self._key}.{name}: {text!r} is a number where a condition is expected; "
                    f"compare, as in 'pt > 30'"
                )
                raise ExpressionError(message)
            return values.astype(np.bool_)

        owner = np.repeat(np.arange(events), np.diff(offsets(collection)))
        rows = np.arange(len(owner))
        if self._settings.select is not None:
            rows = np.flatnonzero(condition("select", self._settings.select))
        factor = self._look_up(self._factor, rows, objects, collection)
        if self._settings.tagged is not None and self._efficiency is not None:
            untagged = ~condition("tagged", self._settings.tagged)[rows]
            efficiency = self._look_up(self._efficiency, rows[untagged], objects, collection)
            self._check_efficiency(efficiency, rows[untagged], objects, collection)
            factor[untagged] = (1 - factor[untagged] * efficiency) / (1 - efficiency)
        return _product(factor, np.bincount(owner[rows], minlength=events))

    @staticmethod
    def _look_up(
        lookup: _Lookup,
        rows: NDArray[np.int64],
        objects: Callable[[str, str], NDArray[Any]],
        collection: str,
    ) -> NDArray[np.float64]:
        # Objects that do not count may lie where the correction has no value.
        columns = [objects(text, collection)[rows] for text in lookup.expressions]
        return lookup(columns, len(rows))

    def _check_efficiency(
        self,
        efficiency: NDArray[np.float64],
        rows: NDArray[np.int64],
        objects: Callable[[str, str], NDArray[Any]],
        collection: str,
    ) -> None:
        bad = np.flatnonzero((efficiency < 0) | (efficiency >= 1))
        if not len(bad):
            return
        assert self._efficiency is not None  # only then are there efficiencies
        first = ", ".join(
            f"{text} = {float(objects(text, collection)[rows[bad[0]]]):g}"
            for text in self._efficiency.expressions
        )
        message = (
            f"{self._key}.efficiency: {efficiency[bad[0]]:g} for {len(bad)} untagged objects of "
            f"{collection} (the first has {first or 'no inputs'}); expected 0 <= efficiency < 1, "
            f"otherwise 1 - efficiency is no probability to divide by"
        )
        raise SampleError(message)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "expressions"}


class _Input(NamedTuple):
    """A declared input: its name and type (``string``, ``int``, ``real``)."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"


class _Lookup:
    """One correction of a file with the inputs that the analysis file gives."""

    def __init__(self, settings: CorrectionLookup, key: str) -> None:
        self._settings = settings
        self._key = key

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings, "_key": self._key}

    @cached_property
    def _correction(self) -> Any:
        settings = self._settings
        file = _open(settings.file, self._key)
        correction = file.corrections.get(settings.correction)
        if correction is None:
            message = (
                f"{self._key}.correction: got {settings.correction!r}, expected a correction of "
                f"{settings.file}; {nearest(settings.correction, file.corrections)}"
            )
            raise AnalysisFileError(message)
        declared = [_Input(entry.name, entry.type) for entry in correction.inputs]
        if len(declared) != len(settings.inputs):
            message = (
                f"{self._key}.inputs: got {len(settings.inputs)} "
                f"({', '.join(settings.inputs) or 'none'}), but {settings.correction} of "
                f"{settings.file} declares {len(declared)}: {', '.join(map(str, declared))}"
            )
            raise AnalysisFileError(message)
        for index, (entry, text) in enumerate(zip(declared, settings.inputs, strict=True)):
            where = f"{self._key}.inputs.{index}"
            if entry.type == "string":
                known = file.values_of(settings.correction, entry.name)
                if known is not None and text not in known:
                    message = f"{where}: got {text!r}, expected a value of {entry}; "
                    raise AnalysisFileError(message + nearest(text, known))
                continue
            try:
                parse(text)
            except ExpressionError as error:
                message = f"{where}: {error}; expected an expression for {entry}"
                raise ExpressionError(message) from error
        return correction

    @cached_property
    def _declared(self) -> list[_Input]:
        return [_Input(entry.name, entry.type) for entry in self._correction.inputs]

    @cached_property
    def expressions(self) -> list[str]:
        """The inputs that are no literal text, in order."""
        given = zip(self._declared, self._settings.inputs, strict=True)
        return [text for entry, text in given if entry.type != "string"]

    def __call__(self, columns: Sequence[NDArray[Any]], count: int) -> NDArray[np.float64]:
        """Look up `count` values; `columns` are the values of `expressions`: (count,) each."""
        numbers = [entry for entry in self._declared if entry.type != "string"]
        # correctionlib takes NaN for a number above all bins.
        defined = np.logical_and.reduce(
            [
                np.isfinite(column) if entry.type == "int" else ~np.isnan(column)
                for entry, column in zip(numbers, columns, strict=True)
            ],
            initial=True,
            axis=0,
        )
        defined = np.broadcast_to(defined, count)
        sound = [column[defined] for column in columns]
        typed = iter(
            [
                self._typed(entry, text, column)
                for entry, text, column in zip(numbers, self.expressions, sound, strict=True)
            ]
        )
        arguments = [
            text if entry.type == "string" else next(typed)
            for entry, text in zip(self._declared, self._settings.inputs, strict=True)
        ]
        result = np.full(count, np.nan)
        try:
            result[defined] = self._correction.evaluate(*arguments)
        except (IndexError, RuntimeError) as error:
            shown = "".join(
                f", {text} from {float(column.min()):g} to {float(column.max()):g}"
                for text, column in zip(self.expressions, sound, strict=True)
                if len(column)
            )
            message = (
                f"{self._key}: {self._settings.correction} of {self._settings.file} has no value "
                f"for some input ({error}); declared are {', '.join(map(str, self._declared))}; "
                f"got {', '.join(self._settings.inputs)}{shown}"
            )
            raise InputFileError(message) from error
        return result

    def _typed(self, entry: _Input, text: str, column: NDArray[Any]) -> NDArray[Any]:
        if entry.type == "real":
            return column.astype(np.float64)
        with np.errstate(invalid="ignore"):  # beyond 64 bits: not equal below
            whole = column.astype(np.int64)
        broken = np.flatnonzero(whole != column)
        if len(broken):
            index = self._settings.inputs.index(text)
            message = (
                f"{self._key}.inputs.{index}: {text} gives {float(column[broken[0]]):g}, expected whole "
                f"numbers for {entry}"
            )
            raise AnalysisFileError(message)
        return whole


class _File(NamedTuple):
    """An open file.

    Attributes
    ----------
    corrections
        Its corrections by name, the compound ones too.
    parts
        The plain corrections that each of them is made of.
    literals
        The texts that a plain correction knows for an input, by correction and input; None: any.
    """

    corrections: dict[str, Any]
    parts: dict[str, list[str]]
    literals: dict[tuple[str, str], set[str] | None]

    def values_of(self, correction: str, name: str) -> set[str] | None:
        """Texts that the correction knows for its input; None: any, or not known in advance."""
        known = [
            self.literals[part, name]
            for part in self.parts[correction]
            if (part, name) in self.literals
        ]
        sets = [texts for texts in known if texts is not None]
        return set.intersection(*sets) if sets else None


def _open(path: str, key: str) -> _File:
    try:
        stat = Path(path).stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{key}.file: {path}: cannot read the correction file ({reason})"
        raise InputFileError(message) from error
    except (ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        message = f"{key}.file: {path}: not a correction file of schema version 2 ({reason})"
        raise InputFileError(message) from error


@lru_cache(maxsize=32)
def _read(path: str, modified: int, size: int) -> _File:  # noqa: ARG001 (a changed file is read anew)
    correctionlib = require("correctionlib", "corrections")
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    text = content.decode("utf-8")
    opened = correctionlib.CorrectionSet.from_string(text)
    plain = json.loads(text)
    compound = plain.get("compound_corrections") or []
    corrections = {name: opened[name] for name in opened}
    parts = {name: [name] for name in corrections}
    for entry in compound:
        corrections[entry["name"]] = opened.compound[entry["name"]]
        parts[entry["name"]] = list(entry["stack"])
    literals: dict[tuple[str, str], set[str] | None] = {}
    for entry in plain["corrections"]:
        for node in _categories(entry["data"]):
            place = entry["name"], node["input"]
            keys = {item["key"] for item in node["content"]}
            known = literals.setdefault(place, set())
            closed = known is not None and node.get("default") is None
            literals[place] = {*(known or ()), *keys} if closed else None
    return _File(corrections, parts, literals)


def _categories(data: Any) -> Iterable[dict[str, Any]]:
    pending = [data]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("nodetype") == "category":
                yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _product(factors: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Multiply the factors of each event, which follow each other; 1 where it has none."""
    product = np.ones(len(counts))
    occupied = counts > 0
    if occupied.any():
        starts = (np.cumsum(counts) - counts)[occupied]
        product[occupied] = np.multiply.reduceat(factors, starts)
    return product
