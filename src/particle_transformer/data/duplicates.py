"""Events that a store holds twice."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.data.shard import flat, matrix
from particle_transformer.errors import SampleError
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.data.summary import ReadChunk

__all__ = ["Duplicate", "check_duplicates", "find_duplicate"]

EVENTS_AT_ONCE = 5_000_000
"""Identities sorted in memory at once; more are looked through in several passes."""


@dataclass(frozen=True)
class Duplicate:
    """One event that is there twice.

    Attributes
    ----------
    first, second
        (part, row) of both.
    identity
        Its numbers.
    count
        How many events are there again, in all.
    """

    first: tuple[int, int]
    second: tuple[int, int]
    identity: tuple[int, ...]
    count: int


def find_duplicate(rows: list[int], read: Callable[[int], NDArray[np.int64]]) -> Duplicate | None:
    """Look for identities that occur more than once.

    Parameters
    ----------
    rows
        Events of each part.
    read
        Gives the identities of a part: int64 (events, numbers). Called several times for each
        part where all together are too many for memory.

    Returns
    -------
    Duplicate or None
        The first in the order of parts and rows, with the number of all.
    """
    passes = max(1, -(-sum(rows) // EVENTS_AT_ONCE))
    found: Duplicate | None = None
    count = 0
    for number in range(passes):
        identities, places = [], []
        for part in range(len(rows)):
            identity = read(part)
            # Equal identities fall into the same pass; any spread will do.
            chosen = np.flatnonzero(
                identity.view(np.uint64).sum(axis=1) % np.uint64(passes) == number
            )
            identities.append(identity[chosen])
            places.append(np.stack([np.full(len(chosen), part), chosen], axis=1))
        identity, place = np.concatenate(identities), np.concatenate(places)
        order = np.lexsort(identity.T)
        identity, place = identity[order], place[order]
        again = np.flatnonzero((identity[1:] == identity[:-1]).all(axis=1))
        count += len(again)
        if len(again):
            # Sorting was stable: of equal identities the first in order comes first.
            row = again[np.lexsort(place[again].T[::-1])[0]]
            pair = (_place(place[row]), _place(place[row + 1]))
            if found is None or pair < (found.first, found.second):
                found = Duplicate(*pair, tuple(map(int, identity[row])), 0)
    return None if found is None else replace(found, count=count)


def _place(place: NDArray[np.int64]) -> tuple[int, int]:
    return int(place[0]), int(place[1])


def check_duplicates(
    analysis: Analysis, chunks: Sequence[ReadChunk], rows: Callable[[str], Any]
) -> None:
    """Refuse events that are there twice, where run, section and event number identify them.

    Data is looked through as a whole, because one event may be in two primary datasets, and the
    run, which belongs to one era, is among its numbers; each simulated process numbers its own.

    Parameters
    ----------
    analysis
        The analysis file.
    chunks
        In the order of files and entries.
    rows
        Gives the rows of the shard of a chunk's key, as an Arrow record batch.

    Raises
    ------
    SampleError
        If there is such an event; the message says where both are.
    """
    if len(analysis.source.identity) < 3:
        return
    groups: defaultdict[tuple[str, ...], list[ReadChunk]] = defaultdict(list)
    for chunk in chunks:
        file = chunk.task.file
        is_data = analysis.class_of(file.process) == DATA
        owner = () if is_data else (file.process, file.era, file.variation)
        if chunk.record.rows:
            groups[owner].append(chunk)
    for members in groups.values():

        def read(part: int, members: list[ReadChunk] = members) -> NDArray[np.int64]:
            return matrix(rows(members[part].task.key).column("identity"))

        found = find_duplicate([chunk.record.rows for chunk in members], read)
        if found is None:
            continue
        places = []
        for part, row in (found.first, found.second):
            entry = int(flat(rows(members[part].task.key).column("entry"))[row])
            places.append(f"entry {entry} of {members[part].task.file.path}")
        numbers = ", ".join(
            f"{name} {value}"
            for name, value in zip(analysis.source.identity, found.identity, strict=True)
        )
        message = (
            f"{found.count} selected events are there twice; the first ({numbers}) is "
            f"{places[0]} and {places[1]}; remove one copy, or, if different events share "
            f"numbers, leave out source.identity"
        )
        raise SampleError(message)
