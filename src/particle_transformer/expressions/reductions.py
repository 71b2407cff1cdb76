"""Per-event reductions of ragged columns, at numpy speed.

Every function takes the values of all objects end to end and the offsets (int64 (events + 1,):
event i owns values[offsets[i]:offsets[i + 1]]) and returns one value per event.

Sums of floating values are accumulated in float64 and returned in the dtype of the values, so
that HT of many jets is the correctly rounded float32 number. Sums of integers are int64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["any_all", "count", "extreme", "mean", "nth", "total"]

Array: TypeAlias = "NDArray[Any]"
Offsets: TypeAlias = "NDArray[np.int64]"
Default: TypeAlias = "NDArray[Any] | bool | int | float"


def _reduce(ufunc: np.ufunc, values: Array, offsets: Offsets, dtype: Any) -> tuple[Array, Array]:
    """Reduce the events that have objects: (bool (events,) occupied, one value for each)."""
    occupied = offsets[1:] > offsets[:-1]
    # reduceat gives an empty segment the next event's first value; without the empty events the
    # segments join without a gap.
    starts = offsets[:-1][occupied]
    if not len(starts):
        return occupied, np.zeros(0, dtype=dtype)
    return occupied, ufunc.reduceat(values, starts, dtype=dtype)


def _place(occupied: Array, reduced: Array, default: Default) -> Array:
    """Put `reduced` where `occupied`, and `default` (scalar or (events,)) elsewhere."""
    out = np.empty(len(occupied), dtype=np.result_type(reduced, default))
    out[...] = default
    out[occupied] = reduced
    return out


def count(offsets: Offsets) -> NDArray[np.int64]:
    """Objects per event."""
    return np.diff(offsets)


def total(values: Array, offsets: Offsets) -> Array:
    """Sum per event, 0 without objects."""
    floating = values.dtype.kind == "f"
    occupied, sums = _reduce(np.add, values, offsets, np.float64 if floating else np.int64)
    return _place(occupied, sums.astype(values.dtype) if floating else sums, 0)


def mean(values: Array, offsets: Offsets, default: Default) -> Array:
    """Mean per event; `default` without objects. Integers give float64."""
    occupied, sums = _reduce(np.add, values, offsets, np.float64)
    means = sums / np.diff(offsets)[occupied]
    return _place(
        occupied, means.astype(values.dtype) if values.dtype.kind == "f" else means, default
    )


def extreme(ufunc: np.ufunc, values: Array, offsets: Offsets, default: Default) -> Array:
    """Smallest (np.minimum) or largest (np.maximum) value; `default` without objects."""
    occupied, reduced = _reduce(ufunc, values, offsets, values.dtype)
    return _place(occupied, reduced, default)


def any_all(ufunc: np.ufunc, values: NDArray[np.bool_], offsets: Offsets) -> Array:
    """Whether any (np.logical_or) or all (np.logical_and); False and True without objects."""
    occupied, reduced = _reduce(ufunc, values, offsets, np.bool_)
    return _place(occupied, reduced, ufunc is np.logical_and)


def nth(values: Array, offsets: Offsets, index: int, default: Default) -> Array:
    """Pick the value of each event's object number `index`; `default` where it has no such object."""
    present = np.diff(offsets) > index
    return _place(present, values[offsets[:-1][present] + index], default)
