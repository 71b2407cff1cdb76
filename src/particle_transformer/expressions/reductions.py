"""Per-event reductions of ragged columns, at numpy speed.

Every function takes the values of all objects end to end and the offsets (int64 (events + 1,):
event i owns values[offsets[i]:offsets[i + 1]]) and returns one value per event.

Sums of floating values are accumulated in float64 and returned in the dtype of the values, so
that HT of many jets is the correctly rounded float32 number; products too. Sums and products of
integers are int64. NaN of one object makes sum, product, mean and extremes of its event NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from particle_transformer import kinematics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "any_all",
    "at_extreme",
    "count",
    "extreme",
    "index",
    "invariant_mass",
    "mean",
    "nth",
    "product",
    "total",
]

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


def index(offsets: Offsets) -> NDArray[np.int64]:
    """Position of each object in its event: 0, 1, …; (objects,)."""
    return np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))


def total(values: Array, offsets: Offsets) -> Array:
    """Sum per event, 0 without objects."""
    return _accumulate(np.add, values, offsets, 0)


def product(values: Array, offsets: Offsets) -> Array:
    """Product per event, 1 without objects."""
    return _accumulate(np.multiply, values, offsets, 1)


def _accumulate(ufunc: np.ufunc, values: Array, offsets: Offsets, empty: int) -> Array:
    floating = values.dtype.kind == "f"
    occupied, reduced = _reduce(ufunc, values, offsets, np.float64 if floating else np.int64)
    return _place(occupied, reduced.astype(values.dtype) if floating else reduced, empty)


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


def at_extreme(
    ufunc: np.ufunc, values: Array, key: Array, offsets: Offsets, default: Default
) -> Array:
    """Pick the value of the object with the smallest (np.fmin) or largest (np.fmax) `key`.

    The first of equal ones; one with key NaN only where all are NaN. `default` without objects.
    """
    occupied, best = _reduce(ufunc, key, offsets, key.dtype)
    wanted = np.repeat(best, np.diff(offsets)[occupied])
    # fmin and fmax give NaN only where every key is NaN; there any object will do.
    candidates = np.flatnonzero((key == wanted) | (wanted != wanted))  # noqa: PLR0124
    first = candidates[np.searchsorted(candidates, offsets[:-1][occupied])]
    return _place(occupied, values[first], default)


def invariant_mass(momenta: Sequence[Default], offsets: Offsets, default: Default) -> Array:
    """Invariant mass of the sum of all four-momenta of each event; GeV. `default` without objects.

    Computed in float64 and returned in the dtype of the arguments, like `kinematics.pair_mass`.

    Parameters
    ----------
    momenta
        pt (GeV), eta, phi (radians) and mass (GeV), each (objects,) and floating, or one number
        for all.
    offsets, default
        As everywhere here.
    """
    dtype = np.result_type(*momenta)
    pt, eta, phi, mass = (
        np.broadcast_to(np.asarray(part, dtype=np.float64), (int(offsets[-1]),)) for part in momenta
    )
    components = (
        kinematics.px(pt, phi),
        kinematics.py(pt, phi),
        kinematics.pz(pt, eta),
        kinematics.energy(pt, eta, mass),
    )
    sums = [total(component, offsets) for component in components]
    occupied = offsets[1:] > offsets[:-1]
    masses = kinematics.mass(*(part[occupied] for part in sums)).astype(dtype)
    return _place(occupied, masses, default)
