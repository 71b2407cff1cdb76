"""The last linear layer of a residual branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ScaledLinear"]


class ScaledLinear(nn.Linear):
    """γ ⊙ (W x + b): a linear layer and its LayerScale (arXiv:2103.17239 eq. (3)).

    γ multiplies the weights, so that no further pass over the rows is needed.

    Parameters
    ----------
    width_in, width_out
        Widths before and after the layer.
    initial
        Initial value of every γ.

    Attributes
    ----------
    scale : Parameter
        γ, (width_out,).
    """

    def __init__(self, width_in: int, width_out: int, initial: float) -> None:
        super().__init__(width_in, width_out)
        self.scale = nn.Parameter(torch.full((width_out,), float(initial)))

    def scaled(self) -> tuple[Tensor, Tensor]:
        """γ ⊙ W (width_out, width_in) and γ ⊙ b (width_out,)."""
        return self.scale[:, None] * self.weight, self.scale * self.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, width_out) from `x` (…, width_in)."""
        return F.linear(x, *self.scaled())
