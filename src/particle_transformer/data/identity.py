"""The identity of an event: the numbers its fold is hashed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.data.readers import Column

__all__ = ["content_identity", "numbered_identity"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def numbered_identity(
    columns: Mapping[str, Column], names: Sequence[str], path: str
) -> NDArray[np.int64]:
    """Identity from the file's own numbers: int64 (events, parts).

    Unsigned 64-bit numbers keep their bits.

    Raises
    ------
    InputFileError
        If a branch is not an integer per event.
    """
    parts = []
    for name in names:
        column = columns[name]
        if column.offsets is not None or column.values.dtype.kind not in "iu":
            kind = "a list per event" if column.offsets is not None else column.values.dtype
            message = (
                f"{path}: branch {name!r} of source.identity holds {kind}; expected one integer "
                f"per event"
            )
            raise InputFileError(message)
        values = column.values
        parts.append(
            values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)
        )
    return np.stack(parts, axis=1)


def content_identity(columns: Mapping[str, Column], events: int) -> NDArray[np.int64]:
    """Identity of events without a number, from the bits of their columns: int64 (events, 1).

    Each value is mixed (splitmix64's finaliser, doi:10.1145/2714064.2660195) with its place in
    the event, and the mixed values of an event are added up modulo 2⁶⁴ column by column in the
    order of the columns' names, so that neither the file's order of events nor the size of the
    chunks matters.
    """
    state = np.zeros(events, dtype=np.uint64)
    for name in sorted(columns):
        column = columns[name]
        bits = _bits(column.values)
        if column.offsets is None:
            mixed = _mix(bits)
        else:
            starts, counts = column.offsets[:-1], np.diff(column.offsets)
            place = np.arange(len(bits)) - np.repeat(starts, counts)
            running = np.zeros(len(bits) + 1, dtype=np.uint64)
            np.cumsum(_mix(bits + _GOLDEN * (place + 1).astype(np.uint64)), out=running[1:])
            # Unsigned sums wrap modulo 2⁶⁴, and so do their differences: exact per event.
            mixed = running[column.offsets[1:]] - running[starts] + counts.astype(np.uint64)
        state = _mix(state + _GOLDEN) ^ mixed
        state = _mix(state)
    return state.view(np.int64)[:, np.newaxis]


def _bits(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """The bit pattern of each value as an unsigned integer; every dtype widens exactly."""
    if values.dtype == np.bool_:
        return values.astype(np.uint64)
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    return np.ascontiguousarray(values).view(unsigned).astype(np.uint64)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
