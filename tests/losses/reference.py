"""Squared distance correlation by its definition, with full n × n matrices in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def centred(x: Tensor, p: Tensor) -> Tensor:
    """Distances minus their means over rows and columns plus the mean of all; (n, n)."""
    distance = (x[:, None] - x).abs()
    rows = distance @ p
    return distance - rows[:, None] - rows + p @ rows


def distance_covariance_squared(x: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Mean product of the centred distances (Székely et al. 2007, definition 4)."""
    return p @ (centred(x, p) * centred(y, p)) @ p


def brute_force(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """dCorr², differentiable by autograd."""
    p = weight / weight.sum()
    variances = distance_covariance_squared(x, x, p) * distance_covariance_squared(y, y, p)
    return distance_covariance_squared(x, y, p) / variances.sqrt()
