"""Events that a store holds twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
