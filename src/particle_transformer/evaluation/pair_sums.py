"""Sums over all pairs of events of products of distances, in O(n log n) time and O(n) memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["distance_products", "distance_sums"]


def distance_sums(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σⱼ mⱼ |xᵢ − xⱼ| of each event i.

    Parameters
    ----------
    x
        float64 (events,), finite.
    weights
        float64 (columns, events): the m.

    Returns
    -------
    float64 (columns, events)
    """
    order = np.argsort(x, kind="stable")
    rising, ordered = x[order], weights[:, order]
    sums = np.cumsum(ordered, axis=1)
    moments = np.cumsum(ordered * rising, axis=1)
    result = np.empty_like(weights)
    # |d| = d (2 [xⱼ <= xᵢ] − 1); an event at distance 0 counts 0 on either side.
    result[:, order] = rising * (2 * sums - sums[:, -1:]) - (2 * moments - moments[:, -1:])
    return result


def distance_products(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Σⱼ mⱼ |xᵢ − xⱼ| |yᵢ − yⱼ| of each event i.

    With d = (xᵢ − xⱼ)(yᵢ − yⱼ) the product is d for an event above or below in both and −d for
    the others, hence d (1 − 2 [below in x] − 2 [below in y] + 4 [below in both]); its sums are
    those of m, m x, m y, m x y (X. Huo, G. Székely, Technometrics 58 (2016) 435, arXiv:1410.1503;
    A. Chaudhuri, W. Hu, Comput. Stat. Data Anal. 135 (2019) 15, arXiv:1810.11332). Events that tie
    count d = 0 on either side.

    Parameters
    ----------
    x, y
        float64 (events,), finite.
    weights
        float64 (columns, events): the m.

    Returns
    -------
    float64 (columns, events)
    """
    by_x, by_y = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    place = np.empty_like(by_x)
    place[by_x] = np.arange(len(x))
    result = np.empty_like(weights)
    for column, weight in enumerate(weights):
        moments = np.stack([weight, weight * x, weight * y, weight * x * y])  # (4, events)
        sums = 4 * _sums_before(moments[:, by_x], place[by_y])[:, place]
        for order in (by_x, by_y):
            sums[:, order] -= 2 * np.cumsum(moments[:, order], axis=1)
        sums += moments.sum(axis=1, keepdims=True)
        result[column] = x * y * sums[0] - y * sums[1] - x * sums[2] + sums[3]
    return result


def _sums_before(values: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Σ mⱼ over the events j that come before i both in place and in the order of `places`.

    A merge sort from the top: halves of ever smaller blocks of places. In each, the events of the
    right half collect those of the left half that come before them; each pair meets once.

    Parameters
    ----------
    values
        float64 (columns, events), by place.
    places
        int (events,): a permutation of the places.

    Returns
    -------
    float64 (columns, events), by place.
    """
    count, events = values.shape
    levels = (events - 1).bit_length()
    size = 1 << levels
    order = np.concatenate([places, np.arange(events, size)])  # (size,)
    carried = np.zeros((count, size))  # the values in the order of `order`
    carried[:, :events] = values[:, places]
    found = np.zeros((count, size))  # their sums, carried along
    for level in reversed(range(levels)):
        half = 1 << level
        left = (order >> level) & 1 == 0  # (size,): half of each block of 2 · half
        blocks = np.where(left, carried, 0.0).reshape(count, -1, 2 * half)
        before = np.cumsum(blocks, axis=2).reshape(count, size)
        found += np.where(left, 0.0, before)
        carried, found = _halves(carried, left, half), _halves(found, left, half)
        halves = [order[left].reshape(-1, half), order[~left].reshape(-1, half)]
        order = np.stack(halves, axis=1).reshape(size)
    return found[:, :events]


def _halves(
    columns: NDArray[np.float64], left: NDArray[np.bool_], half: int
) -> NDArray[np.float64]:
    """Columns (columns, size) with the left half of each block before its right half."""
    parts = [columns[:, chosen].reshape(len(columns), -1, half) for chosen in (left, ~left)]
    return np.stack(parts, axis=2).reshape(columns.shape)
