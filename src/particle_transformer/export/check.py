"""The events that an exported graph is checked with, and what PyTorch says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from particle_transformer.data.features import Flaws, event_tables, object_features
from particle_transformer.data.readers import Column
from particle_transformer.data.scope import Scope
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.events import Events
from particle_transformer.events.packed import PackedBatch
from particle_transformer.export.outputs import fold_of, mean_logits, of_fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from particle_transformer.export.graph import RawGraph
    from particle_transformer.export.inputs import RawColumns

__all__ = ["CheckEvents", "Parity", "check", "padded_inputs", "random_events", "reference_logits"]

TOLERANCE = 1e-4
"""Largest difference of a logit between the exported graph and PyTorch, in float32."""

_ROUNDS = 12
_BEYOND = 3


@dataclass(frozen=True)
class CheckEvents:
    """Raw events.

    Attributes
    ----------
    columns
        By branch.
    parameters
        By name: float32 (events,).
    events
        How many.
    """

    columns: Mapping[str, Column]
    parameters: Mapping[str, NDArray[np.float32]]
    events: int


@dataclass(frozen=True)
class Parity:
    """What a check has found.

    Attributes
    ----------
    difference
        Largest difference of a logit.
    events
        With finite features: those that were compared.
    multiplicities
        By collection: the numbers of objects after selection and ``max`` that were met.
    """

    difference: float
    events: int
    multiplicities: Mapping[str, tuple[int, ...]]


def random_events(
    raw: RawColumns, parameters: Mapping[str, tuple[float, ...]], seed: int = 1
) -> CheckEvents:
    """Events of random objects of the input file: every multiplicity from 0 to beyond each ``max``.

    Objects are drawn one by one from all of the file's first entries, numbers of the event entry by
    entry, identities from all of int64.

    Parameters
    ----------
    raw
        The columns, with a sample of them.
    parameters
        Values from which a parameter of the networks is drawn.
    seed
        Of the generator.
    """
    rng = np.random.default_rng(seed)
    analysis = raw.names.analysis
    tops: dict[str, int] = {}
    for name, group in raw.groups.items():
        jagged = next(each.name for each in raw.inputs if each.group == group)
        most = int(_counts(raw.sample[jagged]).max())
        tops[group] = max(tops.get(group, 0), most, (analysis.objects[name].max or 0) + _BEYOND)
    events = _ROUNDS * (max(tops.values()) + 1)
    counts = {group: rng.permutation(np.arange(events) % (top + 1)) for group, top in tops.items()}
    offsets = {group: np.concatenate([[0], np.cumsum(each)]) for group, each in counts.items()}
    drawn: dict[str, NDArray[np.int64]] = {}
    entry = rng.integers(raw.entries, size=events)
    columns: dict[str, Column] = {}
    for each in raw.inputs:
        if each.kind == "mask":
            continue
        column = raw.sample[each.name]
        if each.name in raw.identity:
            numbers = rng.integers(-(2**63), 2**63, events, dtype=np.int64, endpoint=False)
            columns[each.name] = Column(numbers)
        elif each.group is None:
            columns[each.name] = Column(column.values[entry])
        else:
            total = int(offsets[each.group][-1])
            if not len(column.values):
                message = (
                    f"{raw.names.path}: its first {raw.entries} entries have no object with "
                    f"{each.name!r} to check the export with; give --like a file with some"
                )
                raise InputFileError(message)
            index = drawn.setdefault(each.group, rng.integers(len(column.values), size=total))
            columns[each.name] = Column(column.values[index], offsets[each.group])
    values = {
        name: rng.choice(np.array(points, dtype=np.float32), events)
        for name, points in parameters.items()
    }
    return CheckEvents(columns, values, events)


def _counts(column: Column) -> NDArray[np.int64]:
    assert column.offsets is not None
    return np.diff(column.offsets)


def padded_inputs(
    graph: RawGraph, drawn: CheckEvents, start: int, stop: int, slots: int = 0
) -> dict[str, NDArray[Any]]:
    """The inputs of the graph, by name, for the events start <= i < stop.

    Parameters
    ----------
    slots
        At least so many; what is padded holds NaN, 0 or True.
    """
    found: dict[str, NDArray[Any]] = {}
    for each in graph.inputs:
        dtype = np.dtype(np.float32) if graph.float_inputs else each.tensor_dtype
        if each.kind == "parameter":
            found[each.name] = drawn.parameters[each.name][start:stop]
            continue
        if each.kind == "mask":
            jagged = next(
                other.name
                for other in graph.inputs
                if other.group == each.group and other.kind == "branch"
            )
        else:
            jagged = each.name
        column = drawn.columns[jagged]
        if column.offsets is None:
            found[each.name] = column.values[start:stop].astype(dtype)
            continue
        offsets = column.offsets[start : stop + 1]
        counts = np.diff(offsets)
        filling = {"f": np.nan, "b": True}.get(dtype.kind, 0)
        filling = 1 if each.kind == "mask" else filling
        grid = np.full((stop - start, max(int(counts.max(initial=0)), slots)), filling, dtype)
        real = np.arange(grid.shape[1]) < counts[:, None]
        grid[real] = 0 if each.kind == "mask" else column.values[offsets[0] : offsets[-1]]
        found[each.name] = grid
    return found


def _batches(events: int) -> Iterator[tuple[int, int, int]]:
    """Batches of one event, of a few, and of many, with and without slots to spare."""
    yield 0, 1, 0
    yield 1, 8, 5
    yield 8, events, 0


def reference_logits(
    graph: RawGraph, drawn: CheckEvents
) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[str, tuple[int, ...]]]:
    """What PyTorch and numpy's expressions say of the events, without any padding.

    Returns
    -------
    logits : float64 (events, outputs)
        By the networks of each event's own fold, or the only fold's.
    finite : bool (events,)
        Which have finite features; the others are in no prepared store.
    multiplicities
        As `Parity.multiplicities`.
    """
    raw = graph.raw
    analysis = raw.names.analysis
    scope = Scope(raw.names, drawn.columns, raw.branches, 0, drawn.events)
    every = np.arange(drawn.events)
    flaws = Flaws()
    with np.errstate(all="ignore"):
        objects = {
            name: object_features(analysis, scope, name, every, flaws)[0]
            for name in analysis.objects
        }
        table = event_tables(analysis, raw.names, is_data=False)["event"].matrix(
            scope, every, flaws
        )
    event = np.concatenate([table, *(each[:, None] for each in drawn.parameters.values())], axis=1)
    batch = PackedBatch.from_events(Events.of(objects, event, np.zeros(drawn.events)))
    with torch.inference_mode():
        by_fold = []
        for members in graph.networks:
            assert isinstance(members, nn.ModuleList)
            found = [network.forward_packed(batch).double() for network in members]  # type: ignore[operator]
            by_fold.append(mean_logits(found, two_scores=graph.two_scores))
        logits = by_fold[0]
        if len(by_fold) > 1:
            identity = [torch.from_numpy(drawn.columns[name].values) for name in raw.identity]
            logits = of_fold(by_fold, fold_of(identity, len(by_fold)))
    met = {name: tuple(np.unique(ragged.counts).tolist()) for name, ragged in objects.items()}
    return logits.numpy(), ~flaws.any(drawn.events), met


def check(
    graph: RawGraph,
    drawn: CheckEvents,
    run: Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]],
    *,
    tolerance: float | None = TOLERANCE,
) -> Parity:
    """Compare an exported graph with PyTorch.

    Parameters
    ----------
    graph
        What was exported.
    drawn
        The events.
    run
        Gives the outputs by name of inputs by name.
    tolerance
        Largest difference allowed; None: any.

    Raises
    ------
    OutputError
        If a logit differs by more.
    """
    expected, finite, met = reference_logits(graph, drawn)
    found = np.concatenate(
        [run(padded_inputs(graph, drawn, *batch))["logits"] for batch in _batches(drawn.events)]
    )
    if not finite.any():
        message = (
            f"{graph.raw.names.path}: no event of random objects of it has finite features: nothing to check "
            "the export with; give --like another file"
        )
        raise InputFileError(message)
    differences = np.abs(found[finite] - expected[finite])
    worst = float(np.max(np.where(np.isfinite(differences), differences, np.inf)))
    if tolerance is not None and not worst <= tolerance:
        message = (
            f"the exported graph differs from PyTorch by up to {worst:.2g} in a logit, expected at most "
            f"{tolerance:g} (of {int(finite.sum())} random events); nothing was written"
        )
        raise OutputError(message)
    return Parity(worst, int(finite.sum()), met)
