"""One chunk of one input file: from branches to selected events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.data.cutflow import Cutflow
from particle_transformer.data.event_weights import GENERATOR, EventWeights, generator_weight
from particle_transformer.data.features import (
    MOMENTUM_FIELDS,
    Flaws,
    event_tables,
    object_features,
)
from particle_transformer.data.identity import content_identity, numbered_identity
from particle_transformer.data.names import Branch, Names
from particle_transformer.data.scope import Scope
from particle_transformer.data.selection import Selection
from particle_transformer.data.variations import Side
from particle_transformer.errors import AnalysisFileError, InputFileError
from particle_transformer.events import Events, Ragged
from particle_transformer.events.classes import DATA
from particle_transformer.expressions import parse
from particle_transformer.expressions.nodes import Name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis, Varied
    from particle_transformer.data.files import InputFile
    from particle_transformer.data.readers import Column, Reader

__all__ = ["Chunk", "ChunkReader", "VariedColumns"]


@dataclass
class VariedColumns:
    """What one side of a variation changes of the events of a chunk; the rest is nominal.

    Attributes
    ----------
    objects
        Collections; without momenta where these are nominal.
    tables
        float32 (events,) by the table of `event_tables` and the column there.
    weight
        float64 (events,), not normalised; None: the nominal weight.
    regions
        bool (events,) by region.
    """

    objects: dict[str, Ragged] = field(default_factory=dict)
    tables: dict[str, dict[int, NDArray[np.float32]]] = field(default_factory=dict)
    weight: NDArray[np.float64] | None = None
    regions: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass
class Chunk:
    """What one chunk yields.

    Attributes
    ----------
    events
        The events that are in a region, nominally or in a variation, with their nominal columns
        (in no nominal region, all region flags are False); `Events.weight` is not normalised.
    entry
        int64 (events,): where each event stands in its file.
    varied
        What each side of a variation changes, by its name (``JES.up``).
    cutflow
        Sums after each cut, nominal.
    generator_sum
        Σ of the generator weights of all entries of the chunk.
    truncated
        Objects beyond ``max`` of the events in a nominal region, by collection.
    non_finite
        Selected events with NaN or ±inf in a feature, by feature, and events with such a weight;
        they are in no region.
    also
        The branches of the identity and those that were asked for besides, of all entries.
    """

    events: Events
    entry: NDArray[np.int64]
    varied: dict[str, VariedColumns]
    cutflow: Cutflow
    generator_sum: float
    truncated: Counter[str]
    non_finite: Counter[str]
    also: dict[str, Column]


class ChunkReader:
    """Reads chunks of one open file.

    Parameters
    ----------
    reader
        The open file.
    analysis
        The analysis file.
    file
        Which process and era the file belongs to.
    unblind
        Whether data in blind regions may be read.
    also
        Branches to read besides; `Chunk.also` has them, and those of the identity.

    Raises
    ------
    InputFileError
        If the file lacks a branch that the analysis file needs.
    """

    def __init__(
        self,
        reader: Reader,
        analysis: Analysis,
        file: InputFile,
        *,
        unblind: bool,
        also: Sequence[str] = (),
    ) -> None:
        self._reader = reader
        self._analysis = analysis
        self._file = file
        self._process = list(analysis.processes).index(file.process)
        self._era = list(analysis.eras).index(file.era)
        self._is_data = analysis.class_of(file.process) == DATA
        self._names = Names(analysis, file.era, reader.names, file.path)
        self._selection = Selection(
            analysis, file.era, is_data=self._is_data, unblind=unblind, path=file.path
        )
        self._weights = EventWeights(analysis)
        self._sides = [] if self._is_data or file.variation else self._varied_sides()
        self._check_trigger(file.era)
        nominal = self._names.branches(self._nominal_expressions())
        self._tables = event_tables(analysis, self._names, is_data=self._is_data)
        others = self._spectator_expressions()
        others += [] if self._is_data else self._weights.expressions
        for side, weights in self._sides:
            others += [*side.expressions, *weights.expressions]
        self._identity = self._identity_branches(analysis.source.identity)
        self._jagged_momenta: list[tuple[Branch, str, str]] = []
        momenta = self._momentum_branches()
        self._hashed = sorted({name for names in nominal.values() for name in names})
        groups = (nominal, momenta, self._names.branches(others))
        self._branches = {
            key: tuple(dict.fromkeys(name for group in groups for name in group.get(key, ())))
            for key in {key: None for group in groups for key in group}
        }
        every = (name for names in self._branches.values() for name in names)
        self._also = tuple(dict.fromkeys([*self._identity, *also]))
        self._needed = tuple(dict.fromkeys([*every, *self._also]))

    def _check_trigger(self, era: str) -> None:
        """Trigger menus change between files: say whose key a missing branch stands in."""
        trigger = self._analysis.eras[era].trigger
        try:
            self._names.branches([] if trigger is None else [(trigger, None)])
        except InputFileError as error:
            message = f"eras.{era}.trigger: {error}"
            raise InputFileError(message) from error

    def _varied_sides(self) -> list[tuple[Side, EventWeights]]:
        def weights(varied: Varied) -> EventWeights:
            return EventWeights(self._analysis, varied.weights, varied.name)

        return [
            (Side(self._analysis, varied, self._names), weights(varied))
            for varied in self._analysis.varied
            if not varied.files
        ]

    def _nominal_expressions(self) -> list[tuple[str, str | None]]:
        """Every expression that shapes the nominal event: objects, features, selections."""
        analysis = self._analysis
        expressions: list[tuple[str, str | None]] = []
        for name, settings in analysis.objects.items():
            expressions.extend((text, name) for text in settings.features)
            expressions.extend((text, owner) for text, owner, _ in self._names.shaping(name))
        expressions.extend((text, None) for text in analysis.event.features)
        return [*expressions, *self._selection.expressions]

    def _spectator_expressions(self) -> list[tuple[str, str | None]]:
        """No part of the nominal event: its identity is the same with and without them."""
        spectators = self._tables["spectators"]
        return [
            (text, None)
            for column, text in enumerate(spectators.texts)
            if column not in spectators.absent
        ]

    def _momentum_branches(self) -> dict[str | None, tuple[str, ...]]:
        if not self._analysis.model.pair_bias:
            return {}
        fields = [(text, name) for name in self._analysis.objects for text in MOMENTUM_FIELDS]
        try:
            # A number per event of the same name (mass: of the dijet) is not the objects' own.
            for text, collection in fields:
                branch = self._names.check_field(text, collection)
                if branch is not None:
                    self._jagged_momenta.append((branch, text, collection))
            return self._names.branches(fields)
        except InputFileError as error:
            raise _needed_for_momenta(error) from error

    def _identity_branches(self, names: Sequence[str]) -> tuple[str, ...]:
        branches = []
        for name in names:
            meaning = self._names.resolve(name, None)
            if not isinstance(meaning, Branch):
                message = (
                    f"source.identity: {name!r} is defined in the analysis file; the identity "
                    f"must be branches of the files, call the definition something else"
                )
                raise AnalysisFileError(message)
            branches.append(meaning.name)
        return tuple(branches)

    @property
    def generator_is_branch(self) -> bool:
        """Whether the generator weight is a branch as the file has it, not computed from some."""
        tree = parse(str(self._analysis.weights[GENERATOR])).tree
        return isinstance(tree, Name) and isinstance(self._names.resolve(tree.name, None), Branch)

    def read(self, start: int, stop: int) -> Chunk:
        """Read, select and evaluate the entries start <= i < stop."""
        # Overflow and NaN are counted below, by feature; numpy need not warn of them as well.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._chunk(start, stop)

    def _chunk(self, start: int, stop: int) -> Chunk:
        size = stop - start
        columns = self._reader.read(self._needed, start, stop)
        self._check_momenta(columns)
        scope = Scope(self._names, columns, self._branches, start, size)
        weight, generator = np.ones(size), np.ones(size)
        if not self._is_data:
            weight = self._weights.product(scope, size)
            generator = generator_weight(self._analysis, scope, size)
        unweighted = ~(np.isfinite(weight) & np.isfinite(generator))
        weight = np.where(unweighted, 0, weight)
        # The denominator counts every generated event, also one that another weight spoils.
        generator = np.where(np.isfinite(generator), generator, 0)
        cutflow = Cutflow()
        cutflow.add("read", np.ones(size, dtype=np.bool_), weight)
        certified = self._selection.certified(columns, self._identity)
        regions = self._selection.regions(scope, certified, weight, cutflow)
        scopes = [side.scope(scope) for side, _ in self._sides]
        varied_regions = [
            self._selection.regions(varied, certified, weight)
            if side.touches(self._selection.expressions)
            else regions
            for (side, _), varied in zip(self._sides, scopes, strict=True)
        ]
        kept = np.flatnonzero(_anywhere((regions, *varied_regions)))
        nominal, flaws, truncated = self._nominal(scope, kept, regions, weight, columns)
        flaws.add("weight", unweighted[kept])
        own = {name: flags.copy() for name, flags in nominal.regions.items()}
        non_finite: Counter[str] = Counter()
        counted = _close(own, flaws, non_finite)
        # A weight normalises, wherever its event is: it counts outside of the regions, too.
        if unweighted.any():
            non_finite["weight"] = int(unweighted.sum())
            counted.columns["weight"] = unweighted[kept]
        varied = {}
        for (side, weights), side_scope, side_regions in zip(
            self._sides, scopes, varied_regions, strict=True
        ):
            name = side.name
            side_flaws = Flaws(dict(flaws.columns))
            changed = self._varied(side, weights, side_scope, kept, side_regions, side_flaws)
            varied[name] = changed
            _close(changed.regions, side_flaws, non_finite, f" ({name})", known=counted)
        found = (own, *(changed.regions for changed in varied.values()))
        rows = np.flatnonzero(_anywhere(found))
        events = replace(nominal, regions=own)
        if len(rows) < len(kept):
            events = events.take(rows)
            varied = {name: _taken(changed, rows) for name, changed in varied.items()}
        inside = _anywhere((own,))
        cutflow.add("kept", inside, nominal.weight)
        return Chunk(
            events,
            start + kept[rows],
            {name: _differing(changed, events) for name, changed in varied.items()},
            cutflow,
            float(generator.sum()),
            +Counter({name: int(cut[inside].sum()) for name, cut in truncated.items()}),
            non_finite,
            {name: columns[name] for name in self._also},
        )

    def _check_momenta(self, columns: dict[str, Column]) -> None:
        for branch, text, collection in self._jagged_momenta:
            if columns[branch.name].offsets is None:
                message = (
                    f"{self._file.path}: field {text!r} of {collection}: branch {branch.name!r} "
                    f"holds one number per event, expected one per object; define it under "
                    f"objects.{collection}.fields"
                )
                raise _needed_for_momenta(InputFileError(message))

    def _nominal(
        self,
        scope: Scope,
        kept: NDArray[np.int64],
        regions: dict[str, NDArray[np.bool_]],
        weight: NDArray[np.float64],
        columns: dict[str, Column],
    ) -> tuple[Events, Flaws, dict[str, NDArray[np.int64]]]:
        """The kept events, what of them is not finite, and what ``max`` has cut of each."""
        flaws = Flaws()
        truncated: dict[str, NDArray[np.int64]] = {}
        objects = {}
        for name in self._analysis.objects:
            objects[name], truncated[name] = object_features(
                self._analysis, scope, name, kept, flaws
            )
        tables = {name: table.matrix(scope, kept, flaws) for name, table in self._tables.items()}
        if self._identity:
            identity = numbered_identity(columns, self._identity, self._file.path)
        else:
            hashed = {name: columns[name] for name in self._hashed}
            identity = content_identity(hashed, len(weight))
        events = Events(
            objects,
            **tables,
            weight=weight[kept],
            identity=identity[kept],
            process=np.full(len(kept), self._process, dtype=np.int16),
            era=np.full(len(kept), self._era, dtype=np.int16),
            regions={name: flags[kept] for name, flags in regions.items()},
        )
        return events, flaws, truncated

    def _varied(
        self,
        side: Side,
        weights: EventWeights,
        scope: Scope,
        kept: NDArray[np.int64],
        regions: dict[str, NDArray[np.bool_]],
        flaws: Flaws,
    ) -> VariedColumns:
        """What the side changes; `flaws` becomes the side's own."""
        analysis = self._analysis
        changed = VariedColumns(regions={name: flags[kept] for name, flags in regions.items()})

        def forget(*labels: str) -> None:
            for label in labels:
                flaws.columns.pop(label, None)

        for name, settings in analysis.objects.items():
            texts = [(text, name) for text in settings.features]
            if analysis.model.pair_bias:
                texts += [(text, name) for text in MOMENTUM_FIELDS]
            if name not in side.unchanged or side.touches(texts):
                forget(*(f"{name}: {text}" for text in (*settings.features, "momentum")))
                changed.objects[name], _ = object_features(analysis, scope, name, kept, flaws)
        for name, table in self._tables.items():
            changed.tables[name] = {}
            for column, text in enumerate(table.texts):
                if side.touches([(text, None)]):
                    forget(table.flaw(column))
                    changed.tables[name][column] = table.column(column, scope, kept, flaws)
        forget("weight")
        weight = weights.product(scope, len(regions[next(iter(regions))]))[kept]
        flaws.add("weight", ~np.isfinite(weight))
        changed.weight = np.where(np.isfinite(weight), weight, 0)
        return changed


def _anywhere(regions: Sequence[dict[str, NDArray[np.bool_]]]) -> NDArray[np.bool_]:
    """Which events are in some region of some of these: bool (events,)."""
    inside: NDArray[np.bool_] = np.logical_or.reduce(
        [flags for found in regions for flags in found.values()]
    )
    return inside


def _close(
    regions: dict[str, NDArray[np.bool_]],
    flaws: Flaws,
    non_finite: Counter[str],
    where: str = "",
    known: Flaws | None = None,
) -> Flaws:
    """Take events with flaws out of all regions, and count those in one by what is not finite.

    Returns what is counted; what is in `known` has been counted before.
    """
    inside = _anywhere((regions,))
    counted = Flaws()
    for label, bad in flaws.columns.items():
        already = None if known is None else known.columns.get(label)
        new = bad & inside if already is None else bad & inside & ~already
        counted.add(label, new)
        if new.any():
            non_finite[f"{label}{where}"] += int(np.count_nonzero(new))
    spoilt = flaws.any(len(inside))
    for flags in regions.values():
        flags[spoilt] = False
    return counted


def _differing(changed: VariedColumns, nominal: Events) -> VariedColumns:
    """The columns that are not the nominal ones, bit for bit."""
    weight = changed.weight
    return VariedColumns(
        {
            name: _changed_part(ragged, nominal.objects[name])
            for name, ragged in changed.objects.items()
            if not _same(ragged, nominal.objects[name])
        },
        {
            name: {
                column: values
                for column, values in columns.items()
                if not _equal(values, getattr(nominal, name)[:, column])
            }
            for name, columns in changed.tables.items()
        },
        None if weight is None or _equal(weight, nominal.weight) else weight,
        {
            name: flags
            for name, flags in changed.regions.items()
            if not _equal(flags, nominal.regions[name])
        },
    )


def _same(one: Ragged, other: Ragged) -> bool:
    return (
        _equal(one.offsets, other.offsets)
        and _equal(one.values, other.values)
        and _same_momenta(one, other)
    )


def _changed_part(one: Ragged, other: Ragged) -> Ragged:
    """Without momenta where only the features are others: with the MET every Δφ to it changes."""
    if _equal(one.offsets, other.offsets) and _same_momenta(one, other):
        return replace(one, momenta=None)
    return one


def _same_momenta(one: Ragged, other: Ragged) -> bool:
    if one.momenta is None or other.momenta is None:
        return one.momenta is other.momenta
    return _equal(one.momenta, other.momenta)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether the bits are the same: -0 is not 0, NaN is NaN."""
    bits = np.dtype(f"u{one.itemsize}")
    return np.array_equal(one.view(bits), other.view(bits))


def _taken(changed: VariedColumns, rows: NDArray[np.int64]) -> VariedColumns:
    return VariedColumns(
        {name: ragged.take(rows) for name, ragged in changed.objects.items()},
        {
            name: {column: values[rows] for column, values in columns.items()}
            for name, columns in changed.tables.items()
        },
        None if changed.weight is None else changed.weight[rows],
        {name: flags[rows] for name, flags in changed.regions.items()},
    )


def _needed_for_momenta(error: InputFileError) -> InputFileError:
    """The user may never have written that name: say who asks for it."""
    return InputFileError(f"{error}; model.pair_bias needs {', '.join(MOMENTUM_FIELDS)}")
