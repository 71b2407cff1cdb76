"""Weighted histograms with statistical errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["feature_edges", "filled", "shape"]


def filled(
    values: NDArray[np.float64], weight: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of weights per bin, and its statistical error √Σw²; as numpy.histogram bins.

    Parameters
    ----------
    values, weight
        float64 (events,). Values beyond the edges are not counted.
    edges
        float64 (bins + 1,), rising.

    Returns
    -------
    contents, errors : float64 (bins,)
    """
    contents = np.histogram(values, edges, weights=weight)[0]
    squares = np.histogram(values, edges, weights=weight**2)[0]
    return contents, np.sqrt(squares)


def shape(
    values: NDArray[np.float64], weight: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`filled`, as fractions of the weight of all events; NaN where that is not positive."""
    contents, errors = filled(values, weight, edges)
    total = np.sum(weight)
    if total <= 0:
        return np.full_like(contents, np.nan), np.full_like(contents, np.nan)
    return contents / total, errors / total


def feature_edges(values: NDArray[np.float64], bins: int = 30) -> NDArray[np.float64]:
    """Bin edges for a feature of unknown kind.

    Integers get a bin each, as long as they are not too many; other values get equal bins over
    their central 99 %.

    Parameters
    ----------
    values
        float64 (events,): finite.
    bins
        How many bins at most.

    Returns
    -------
    float64 (edges,), rising
    """
    if values.size == 0:
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, [0.005, 0.995])
    if np.all(values == np.round(values)) and high - low < bins:
        return np.arange(low.round() - 0.5, high.round() + 1.0)
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, bins + 1)
