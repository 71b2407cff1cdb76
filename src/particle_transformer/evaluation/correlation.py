"""Linear correlations of event quantities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["correlation_matrix"]

_CONSTANT = 1e-12
"""A variance this small in units of the column's is rounding."""


def correlation_matrix(
    columns: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pearson's correlation coefficient of every pair of columns, with signed weights.

    ρ = (⟨xy⟩ − ⟨x⟩⟨y⟩) / √((⟨x²⟩ − ⟨x⟩²) (⟨y²⟩ − ⟨y⟩²)) with the weighted means over the events
    that have both quantities. With negative weights it may lie outside [−1, 1], which says that
    the sample is too small, and is given as it is.

    Parameters
    ----------
    columns
        float64 (events, quantities): NaN where an event has none.
    weight
        float64 (events,): signed weights.

    Returns
    -------
    float64 (quantities, quantities)
        Symmetric; NaN where the total weight or a variance is not positive.
    """
    known = ~np.isnan(columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = known.sum(axis=0)
        mean = np.where(known, columns, 0.0).sum(axis=0) / count
        centred = np.where(known, columns - mean, 0.0)
        # In units of its own spread nothing overflows, and what is rounding can be told.
        spread = np.sqrt((centred**2).sum(axis=0) / count)
        x = centred / np.where(spread > 0, spread, 1.0)  # (events, quantities)
        one = known.astype(np.float64)
        weighted = weight[:, None] * one
        total = weighted.T @ one  # (quantities, quantities), of the pair's events, as all below
        first = (weighted * x).T @ one / total  # ⟨x⟩ of the row's quantity
        variance = (weighted * x**2).T @ one / total - first**2
        covariance = (weighted * x).T @ x / total - first * first.T
        correlation = covariance / np.sqrt(variance * variance.T)
    positive = (total > 0) & (variance > _CONSTANT) & (variance.T > _CONSTANT)
    return np.where(positive, correlation, np.nan)
