"""The embedding of analysis objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ObjectEmbedding"]


class ObjectEmbedding(nn.Module):
    """Three linear layers with GELU between them.

    Parameters
    ----------
    features
        Features of an object.
    width
        Width of each of the three layers.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed `x` (objects, features) as (objects, width)."""
        embedded: Tensor = self.layers(x)
        return embedded
