"""Events that a store holds twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Duplicate", "find_duplicate"]

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
        The first found, with the number of all.
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
        if found is None and len(again):
            row = int(again[0])
            first, second = sorted(tuple(map(int, place[row + step])) for step in (0, 1))
            found = Duplicate(
                (first[0], first[1]),
                (second[0], second[1]),
                tuple(map(int, identity[row])),
                0,
            )
    if found is None:
        return None
    return Duplicate(found.first, found.second, found.identity, count)
