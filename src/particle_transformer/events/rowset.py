"""Sets of rows at one bit per row: which events of a store have a role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RowSet", "RowSetBuilder"]

_BLOCK = 64  # bytes, 512 rows: the counts before the blocks take an eighth of the bits' memory
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_POPCOUNT = _BITS.sum(axis=1, dtype=np.uint8)  # (256,): set bits of a byte
# (256, 8): place of the n-th set bit of a byte; set bits sort before the others.
_PLACE = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.uint8)


class RowSet:
    """Some of the rows of a table, in their order: 1.125 bits of memory per row of the table.

    Parameters
    ----------
    bits
        uint8, ⌈size / 8⌉: bit i of byte j tells about row 8 j + i; see `RowSetBuilder`.
    size
        Rows of the table.
    """

    def __init__(self, bits: NDArray[np.uint8], size: int) -> None:
        self.size = size
        self._bits = np.zeros((-(-len(bits) // _BLOCK), _BLOCK), dtype=np.uint8)
        self._bits.reshape(-1)[: len(bits)] = bits
        self._before = np.zeros(len(self._bits) + 1, dtype=np.int64)
        self._before[1:] = _POPCOUNT[self._bits].sum(axis=1)
        np.cumsum(self._before, out=self._before)

    @staticmethod
    def from_index(index: NDArray[np.int64], size: int) -> RowSet:
        """The rows `index` (any order) of a table of `size` rows."""
        flags = np.zeros(size, dtype=np.bool_)
        flags[index] = True
        return RowSet(np.packbits(flags, bitorder="little"), size)

    def __len__(self) -> int:
        return int(self._before[-1])

    def select(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows at `positions` (int64 (selected,), each in [0, len)) of the set; int64."""
        block = np.searchsorted(self._before, positions, side="right") - 1
        rest = positions - self._before[block]
        content = self._bits[block]  # (selected, _BLOCK)
        through = np.cumsum(_POPCOUNT[content], axis=1, dtype=np.int16)
        byte = (through <= rest[:, None]).sum(axis=1)
        each = np.arange(len(positions))
        own = content[each, byte]
        rest -= through[each, byte] - _POPCOUNT[own]
        rows: NDArray[np.int64] = (block * _BLOCK + byte) * 8 + _PLACE[own, rest]
        return rows

    def flags(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Whether each of the rows start … stop − 1 is in the set: bool (stop − start,)."""
        packed = self._bits.reshape(-1)[start // 8 : -(-stop // 8)]
        flags = np.unpackbits(packed, bitorder="little").view(np.bool_)
        return flags[start % 8 : start % 8 + stop - start]

    def shared(self, other: RowSet) -> int:
        """How many rows are also in `other`, a set of rows of the same table."""
        both = np.bitwise_and(self._bits, other._bits)
        return len(RowSet(both.reshape(-1), self.size))


class RowSetBuilder:
    """Make a `RowSet` of a table that is read piece by piece.

    Parameters
    ----------
    size
        Rows of the table.
    """

    def __init__(self, size: int) -> None:
        self._bits = np.zeros(-(-size // 8), dtype=np.uint8)
        self._size = size
        self._done = 0

    def extend(self, flags: NDArray[np.bool_]) -> None:
        """Take the flags of the next rows: bool (rows,)."""
        shift = self._done % 8
        packed = np.packbits(np.concatenate([np.zeros(shift, np.bool_), flags]), bitorder="little")
        first = self._done // 8
        self._bits[first : first + len(packed)] |= packed
        self._done += len(flags)

    def finish(self) -> RowSet:
        """The set; every row must have been told."""
        assert self._done == self._size, f"{self._done} of {self._size} rows told"
        return RowSet(self._bits, self._size)
