"""The feed-forward branch of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn
from torch.nn import functional as F

from particle_transformer.model.fused import can_fuse, fused_feedforward
from particle_transformer.model.linear import ScaledLinear

if TYPE_CHECKING:
    from torch import Tensor

    from particle_transformer.model.layouts import Layout

__all__ = ["FeedForward", "FeedForwardKind"]

FeedForwardKind = Literal["gelu", "swiglu"]


class FeedForward(nn.Module):
    """x → x + γ ⊙ F(LN(x)), a feed-forward network of one hidden layer.

    ``"gelu"``: F(x) = W₂ gelu(W₁ x + b₁) + b₂ (arXiv:1706.03762 eq. (2), arXiv:1606.08415).
    ``"swiglu"``: F(x) = W₂ (silu(W₁ x + b₁) ⊙ (V x + c)) + b₂ (arXiv:2002.05202 eq. (6)), with two
    thirds of the hidden width and so as many weights.

    Parameters
    ----------
    width
        Width before and after.
    hidden
        Hidden width of ``"gelu"``.
    dropout
        Probability, on the hidden layer and on the result.
    layer_scale
        Initial value of γ.
    kind
        ``"gelu"`` or ``"swiglu"``.
    """

    def __init__(
        self, width: int, hidden: int, dropout: float, layer_scale: float, kind: FeedForwardKind
    ) -> None:
        super().__init__()
        self.gated = kind == "swiglu"
        inner = max(1, round(hidden * 2 / 3)) if self.gated else hidden
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * inner if self.gated else inner)
        self.out = ScaledLinear(inner, width, layer_scale)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The rows (…, width) after the branch, of `x` (…, width)."""
        parts = (self.norm, self.hidden, self.out)
        if not self.gated and can_fuse(x, *parts) and layout.spans is not None:
            dropout = self.dropout.p if self.training else 0.0
            return fused_feedforward(x, self.norm, self.hidden, self.out.scaled(), dropout)
        hidden = self.hidden(self.norm(x))  # (…, inner), or (…, 2 × inner) if gated
        if self.gated:
            gate, linear = hidden.chunk(2, -1)
            hidden = F.silu(gate) * linear  # (…, inner)
        else:
            hidden = F.gelu(hidden)
        total: Tensor = x + self.dropout(self.out(self.dropout(hidden)))
        return total
