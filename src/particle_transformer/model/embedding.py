"""The embedding of analysis objects and event features."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from particle_transformer.model.fused import can_fuse, fused_layers

if TYPE_CHECKING:
    from torch import Tensor

    from particle_transformer.model.layouts import Layout

__all__ = ["Embedding", "FeatureEmbedding", "PeriodicFeatures", "PiecewiseLinearFeatures"]

FeatureEmbedding = Literal["linear", "periodic", "piecewise_linear"]


class PeriodicFeatures(nn.Module):
    """x → (x, sin(2π c₁ x), …, cos(2π c₁ x), …) for each feature, with trained c.

    arXiv:2203.05556 section 3.3, eq. (3); the feature itself stays among its waves, so that what
    lies outside the training range keeps an order.

    Parameters
    ----------
    features
        Number of standardised features.
    frequencies
        Number of c for each.
    spread
        Standard deviation of the initial c.
    """

    def __init__(self, features: int, frequencies: int = 8, spread: float = 0.3) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(features, frequencies) * spread)
        self.width = features * (2 * frequencies + 1)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) from `x` (…, features)."""
        angle = 2 * math.pi * x[..., None] * self.frequency  # (…, features, frequencies)
        return torch.cat([x[..., None], angle.sin(), angle.cos()], -1).flatten(-2)


class PiecewiseLinearFeatures(nn.Module):
    """x → how far each bin is filled up to x, for each feature.

    arXiv:2203.05556 section 3.2, eq. (1): bin t gives (x − b_{t−1}) / (b_t − b_{t−1}), cut at 0 and
    1, but not below in the first and not above in the last bin. The bins are equally probable for
    a standard normal, as the features are standardised.

    Parameters
    ----------
    features
        Number of standardised features.
    bins
        Number of bins for each.
    """

    low: Tensor
    width_of_bin: Tensor

    def __init__(self, features: int, bins: int = 12) -> None:
        super().__init__()
        inner = [NormalDist().inv_cdf(step / bins) for step in range(1, bins)]
        edges = torch.tensor([2 * inner[0] - inner[1], *inner, 2 * inner[-1] - inner[-2]])
        self.register_buffer("low", edges[:-1])  # (bins,)
        self.register_buffer("width_of_bin", edges.diff())  # (bins,)
        self.width = features * bins

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) from `x` (…, features)."""
        filled = (x[..., None] - self.low) / self.width_of_bin  # (…, features, bins)
        first, inner, last = filled[..., :1], filled[..., 1:-1], filled[..., -1:]
        parts = [first.clamp(max=1), inner.clamp(0, 1), last.clamp(min=0)]
        return torch.cat(parts, -1).flatten(-2)


class Embedding(nn.Module):
    """Three linear layers with GELU between them, behind an encoding of the features, and the kind.

    Parameters
    ----------
    features
        Number of standardised features.
    width
        Width of each of the three layers.
    kind
        ``"linear"`` takes the features as they are.
    """

    def __init__(self, features: int, width: int, kind: FeatureEmbedding) -> None:
        super().__init__()
        self.encoding: nn.Module = nn.Identity()
        encoded = features
        if kind == "periodic":
            self.encoding = PeriodicFeatures(features)
            encoded = self.encoding.width
        elif kind == "piecewise_linear":
            self.encoding = PiecewiseLinearFeatures(features)
            encoded = self.encoding.width
        self.layers = nn.Sequential(
            nn.Linear(encoded, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor, kind: Tensor | float, layout: Layout) -> Tensor:
        """Embed `x` (…, features) as (…, width), and add `kind` (width,) or a number."""
        encoded = self.encoding(x)
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        if len(linear) == 3 and can_fuse(encoded, *linear) and layout.spans is not None:
            return fused_layers(encoded, linear, kind)
        embedded: Tensor = self.layers(encoded) + kind
        return embedded
