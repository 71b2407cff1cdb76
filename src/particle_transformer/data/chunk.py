"""One chunk of one input file: from branches to selected events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer import kinematics
from particle_transformer.config import DATA
from particle_transformer.data.cutflow import Cutflow
from particle_transformer.data.identity import content_identity, numbered_identity
from particle_transformer.data.names import Branch, Names
from particle_transformer.data.scope import Scope
from particle_transformer.errors import AnalysisFileError, InputFileError
from particle_transformer.events import Events, Ragged
from particle_transformer.expressions import conjuncts, parse
from particle_transformer.expressions.nodes import Name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.data.files import InputFile
    from particle_transformer.data.readers import Reader

__all__ = ["Chunk", "ChunkReader"]

MOMENTUM_FIELDS = ("pt", "eta", "phi", "mass")


@dataclass
class Chunk:
    """What one chunk yields.

    Attributes
    ----------
    events
        Selected events; `Events.weight` is not normalised yet.
    entry
        int64 (events,): where each event stands in its file.
    cutflow
        Sums after each cut.
    generator_sum
        Σ of the generator weights of all entries of the chunk.
    truncated
        Objects of selected events beyond ``max``, by collection.
    non_finite
        Selected events with NaN or ±inf in a feature, by feature, and events with such a weight;
        they are not in `events`.
    """

    events: Events
    entry: NDArray[np.int64]
    cutflow: Cutflow
    generator_sum: float
    truncated: Counter[str] = field(default_factory=Counter)
    non_finite: Counter[str] = field(default_factory=Counter)


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
    process, era
        Their indices.
    unblind
        Whether data in blind regions may be read.

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
        process: int,
        era: int,
        unblind: bool,
    ) -> None:
        self._reader = reader
        self._analysis = analysis
        self._file = file
        self._process = process
        self._era = era
        self._is_data = analysis.class_of(file.process) == DATA
        self._unblind = unblind
        self._names = Names(analysis, file.era, reader.names, file.path)
        nominal = self._names.branches(_nominal_expressions(analysis, self._names))
        weights = self._names.branches([(text, None) for text in self._weight_expressions()])
        self._identity = self._identity_branches(analysis.source.identity)
        momentum_fields = _momentum_expressions(analysis)
        self._jagged_momenta: list[tuple[Branch, str, str]] = []
        try:
            # A number per event of the same name (mass: of the dijet) is not the objects' own.
            for text, collection in momentum_fields:
                branch = self._names.check_field(text, collection)
                if branch is not None:
                    self._jagged_momenta.append((branch, text, collection))
            momenta = self._names.branches(momentum_fields)
        except InputFileError as error:
            raise _needed_for_momenta(error) from error
        self._hashed = sorted({name for names in nominal.values() for name in names})
        groups = (nominal, momenta, weights)
        self._branches = {
            key: tuple(dict.fromkeys(name for group in groups for name in group.get(key, ())))
            for key in {key: None for group in groups for key in group}
        }
        every = (name for names in self._branches.values() for name in names)
        self._needed = tuple(dict.fromkeys([*every, *self._identity]))

    def _weight_expressions(self) -> Sequence[str]:
        if self._is_data:
            return ()
        ready = self._analysis.event.weight
        return (ready,) if ready is not None else tuple(self._analysis.weights.values())

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
        tree = parse(self._analysis.weights["generator"]).tree
        return isinstance(tree, Name) and isinstance(self._names.resolve(tree.name, None), Branch)

    def read(self, start: int, stop: int) -> Chunk:
        """Read, select and evaluate the entries start <= i < stop."""
        # Overflow and NaN are counted below, by feature; numpy need not warn of them as well.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._chunk(start, stop)

    def _chunk(self, start: int, stop: int) -> Chunk:
        columns = self._reader.read(self._needed, start, stop)
        for branch, text, collection in self._jagged_momenta:
            if columns[branch.name].offsets is None:
                message = (
                    f"{self._file.path}: field {text!r} of {collection}: branch {branch.name!r} "
                    f"holds one number per event, expected one per object; define it under "
                    f"objects.{collection}.fields"
                )
                raise _needed_for_momenta(InputFileError(message))
        scope = Scope(self._names, columns, self._branches, start, stop - start)
        weight, generator = self._weights(scope, stop - start)
        unweighted = ~(np.isfinite(weight) & np.isfinite(generator))
        weight, generator = np.where(unweighted, 0, weight), np.where(unweighted, 0, generator)
        cutflow = Cutflow()
        cutflow.add("read", np.ones(stop - start, dtype=np.bool_), weight)
        regions = self._regions(scope, cutflow, weight)
        kept = np.flatnonzero(np.logical_or.reduce(list(regions.values())))
        if self._identity:
            identity = numbered_identity(columns, self._identity, self._file.path)
        else:
            identity = content_identity(
                {name: columns[name] for name in self._hashed}, stop - start
            )
        truncated: Counter[str] = Counter()
        non_finite: Counter[str] = Counter()
        if unweighted.any():
            non_finite["weight"] += int(unweighted.sum())
        spoilt = unweighted[kept]
        objects = {
            name: self._collection(scope, name, kept, truncated, non_finite, spoilt)
            for name in self._analysis.objects
        }
        event = self._event_features(scope, kept, non_finite, spoilt)
        events = Events(
            objects,
            event,
            weight[kept],
            identity[kept],
            np.full(len(kept), self._process, dtype=np.int16),
            np.full(len(kept), self._era, dtype=np.int16),
            {name: flags[kept] for name, flags in regions.items()},
        )
        entry = start + kept
        if spoilt.any():
            sound = np.flatnonzero(~spoilt)
            events, entry = events.take(sound), entry[sound]
        cutflow.add("kept", np.ones(len(events), dtype=np.bool_), events.weight)
        return Chunk(events, entry, cutflow, float(generator.sum()), truncated, non_finite)

    def _weights(
        self, scope: Scope, events: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Product of all weights, and the generator weight alone: float64 (events,) each."""
        weight = np.ones(events)
        generator = np.ones(events)
        if self._is_data:
            return weight, generator
        if self._analysis.event.weight is not None:
            ready = scope.event(self._analysis.event.weight, "event.weight")
            return ready.astype(np.float64), generator
        for name, text in self._analysis.weights.items():
            factor = scope.event(text, f"weights.{name}").astype(np.float64)
            weight = weight * factor
            if name == "generator":
                generator = factor
        return weight, generator

    def _regions(
        self, scope: Scope, cutflow: Cutflow, weight: NDArray[np.float64]
    ) -> dict[str, NDArray[np.bool_]]:
        blind = [
            name
            for name, region in self._analysis.regions.items()
            if region.blind and self._is_data and not self._unblind
        ]
        # A blinded event is in no region and no row of the cutflow: its count is the secret.
        visible = np.ones(len(weight), dtype=np.bool_)
        for name in blind:
            select = self._analysis.regions[name].select
            visible &= ~scope.passing(select, f"regions.{name}.select")
        regions: dict[str, NDArray[np.bool_]] = {}
        for name, region in self._analysis.regions.items():
            if name in blind:
                regions[name] = np.zeros(len(weight), dtype=np.bool_)
                continue
            passing = visible
            for cut in dict.fromkeys(conjuncts(region.select)):
                passing = passing & scope.passing(cut, f"regions.{name}.select")
                cutflow.add(f"{name}: {'all' if cut == 'True' else cut}", passing, weight)
            regions[name] = passing
        return regions

    def _collection(
        self,
        scope: Scope,
        name: str,
        kept: NDArray[np.int64],
        truncated: Counter[str],
        non_finite: Counter[str],
        spoilt: NDArray[np.bool_],
    ) -> Ragged:
        settings = self._analysis.objects[name]
        offsets = scope.offsets(name)
        starts, counts = offsets[kept], np.diff(offsets)[kept]
        capped = counts if settings.max is None else np.minimum(counts, settings.max)
        if cut := int((counts - capped).sum()):
            truncated[name] += cut
        kept_offsets = np.concatenate([[0], np.cumsum(capped)]).astype(np.int64)
        rows = np.arange(kept_offsets[-1]) + np.repeat(starts - kept_offsets[:-1], capped)
        values = np.empty((len(rows), len(settings.features)), dtype=np.float32)
        owner = np.repeat(np.arange(len(kept)), capped)
        for column, feature in enumerate(settings.features):
            key = f"objects.{name}.features.{column}"
            values[:, column] = scope.objects(feature, name, key)[rows]
            bad = ~np.isfinite(values[:, column])
            if bad.any():
                spoilt_events = np.unique(owner[bad])
                non_finite[f"{name}: {feature}"] += len(spoilt_events)
                spoilt[spoilt_events] = True
        momenta = None
        if self._analysis.model.pair_bias:
            polar = [
                scope.objects(field_name, name, "model.pair_bias")[rows].astype(np.float64)
                for field_name in MOMENTUM_FIELDS
            ]
            momenta = _cartesian(*polar)
            incomplete = ~np.isfinite(momenta.sum(axis=1))
            if incomplete.any():
                spoilt_events = np.unique(owner[incomplete])
                non_finite[f"{name}: momentum"] += len(spoilt_events)
                spoilt[spoilt_events] = True
        return Ragged(values, kept_offsets, momenta)

    def _event_features(
        self,
        scope: Scope,
        kept: NDArray[np.int64],
        non_finite: Counter[str],
        spoilt: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        features = self._analysis.event.features
        values = np.empty((len(kept), len(features)), dtype=np.float32)
        for column, feature in enumerate(features):
            values[:, column] = scope.event(feature, f"event.features.{column}")[kept]
            bad = ~np.isfinite(values[:, column])
            if bad.any():
                non_finite[f"event: {feature}"] += int(bad.sum())
                spoilt |= bad
        return values


def _nominal_expressions(analysis: Analysis, names: Names) -> list[tuple[str, str | None]]:
    """Every expression that shapes the nominal event: objects, features, selections."""
    expressions: list[tuple[str, str | None]] = []
    for name, settings in analysis.objects.items():
        expressions.extend((text, name) for text in settings.features)
        expressions.extend((text, collection) for text, collection, _ in names.shaping(name))
    expressions.extend((text, None) for text in analysis.event.features)
    expressions.extend((region.select, None) for region in analysis.regions.values())
    return expressions


def _needed_for_momenta(error: InputFileError) -> InputFileError:
    """The user may never have written that name: say who asks for it."""
    return InputFileError(f"{error}; model.pair_bias needs {', '.join(MOMENTUM_FIELDS)}")


def _momentum_expressions(analysis: Analysis) -> list[tuple[str, str]]:
    if not analysis.model.pair_bias:
        return []
    return [(text, name) for name in analysis.objects for text in MOMENTUM_FIELDS]


def _cartesian(
    pt: NDArray[np.float64],
    eta: NDArray[np.float64],
    phi: NDArray[np.float64],
    mass: NDArray[np.float64],
) -> NDArray[np.float32]:
    return np.stack(
        [
            kinematics.px(pt, phi),
            kinematics.py(pt, phi),
            kinematics.pz(pt, eta),
            kinematics.energy(pt, eta, mass),
        ],
        axis=1,
    ).astype(np.float32)
