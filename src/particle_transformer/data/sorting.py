"""The order of the objects within each event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["descending"]


def descending(keys: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the objects, each event's sorted by falling key.

    Objects with equal keys keep their order; NaN goes last.

    Parameters
    ----------
    keys
        (objects,).
    offsets
        int64 (events + 1,).

    Returns
    -------
    int64 (objects,)
    """
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        # lexsort is stable and puts NaN last, but takes ten times as long.
        return np.lexsort((-keys, owner))
    listed = ak.Array(
        ak.contents.ListOffsetArray(ak.index.Index64(offsets), ak.contents.NumpyArray(keys))
    )
    place = ak.argsort(listed, axis=1, ascending=False, stable=True)
    order: NDArray[np.int64] = np.asarray(ak.flatten(place)) + offsets[:-1][owner]
    return order
