"""The best division of a row of fine bins into blocks, by dynamic programming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Partition", "best_partitions", "fewest_blocks"]


@dataclass(frozen=True)
class Partition:
    """A row of fine bins divided into blocks.

    Attributes
    ----------
    total
        Sum of the blocks' values; −inf where no division is allowed.
    bounds
        Where the blocks begin and the last one ends: blocks + 1 positions; empty likewise.
    """

    total: float
    bounds: tuple[int, ...]


def best_partitions(value: NDArray[np.float64], most: int) -> tuple[Partition, ...]:
    """For 1, 2, …, `most` blocks the division with the greatest sum of values.

    Parameters
    ----------
    value
        float64 (n + 1, n + 1): ``value[i, j]`` is that of the block of fine bins i to j − 1, −inf
        where it is not allowed, as for all j <= i.
    most
        The greatest number of blocks.

    Returns
    -------
    tuple of Partition
        One for each number of blocks. Exact: R. Bellman's recursion, total(k, j) =
        max_i total(k − 1, i) + value(i, j). Among equals the one with the earliest bounds.
    """
    positions = len(value)
    total = np.full((most + 1, positions), -np.inf)
    total[0, 0] = 0.0
    came = np.zeros((most + 1, positions), dtype=np.int64)
    for blocks in range(1, most + 1):
        sums = total[blocks - 1][:, None] + value
        came[blocks] = np.argmax(sums, axis=0)
        total[blocks] = np.max(sums, axis=0)
    found = []
    for blocks in range(1, most + 1):
        best = float(total[blocks, -1])
        bounds = [positions - 1]
        if np.isfinite(best):
            for part in range(blocks, 0, -1):
                bounds.append(int(came[part, bounds[-1]]))
        found.append(Partition(best, tuple(bounds[::-1]) if np.isfinite(best) else ()))
    return tuple(found)


def fewest_blocks(total: NDArray[np.float64], tolerance: float) -> int | None:
    """The smallest number of blocks whose significance comes close to the greatest one.

    Parameters
    ----------
    total
        float64 (most,): Z² with 1, 2, … blocks; −inf where not allowed.
    tolerance
        The share of the greatest Z that may be given up.

    Returns
    -------
    int or None
        None where nothing is allowed.
    """
    if not np.isfinite(total).any():
        return None
    reached = np.sqrt(np.maximum(total, 0.0)) >= (1 - tolerance) * np.sqrt(np.max(total))
    return int(np.argmax(reached & np.isfinite(total))) + 1
