"""What every reader offers: columns of one tree or table, by entry range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Column", "Generated", "Reader"]


@dataclass(frozen=True)
class Column:
    """One branch over a range of entries.

    Attributes
    ----------
    values
        One number per entry (flat), or all numbers of all entries end to end (jagged); native
        byte order.
    offsets
        int64 (entries + 1,) from 0 for a jagged branch; None for a flat one.
    """

    values: NDArray[np.generic]
    offsets: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Generated:
    """What a file says about all events generated for it, before any selection."""

    count: float
    sum_of_weights: float


class Reader(Protocol):
    """One open input file; a context manager."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every branch of the tree."""
        ...

    @property
    def entries(self) -> int:
        """How many entries the tree holds."""
        ...

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop."""
        ...

    def generated(self) -> Generated | None:
        """Counts and sum of generator weights before any selection, where the file has them."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...
