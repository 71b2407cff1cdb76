"""The two kinds of residual block: objects to objects, and objects to the class token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from particle_transformer.model.feedforward import FeedForward
from particle_transformer.model.fused import can_fuse, fused_attention, fused_class_attention
from particle_transformer.model.linear import ScaledLinear

if TYPE_CHECKING:
    from torch import Tensor

    from particle_transformer.model.feedforward import FeedForwardKind
    from particle_transformer.model.layouts import Layout

__all__ = ["AttBlock", "ClassAttention", "ClassBlock", "SelfAttention"]


class SelfAttention(nn.Module):
    """x → S x + γ ⊙ A(LN(x)): each object asks all objects of its event.

    S is the identity, or a linear projection where the width changes.

    Parameters
    ----------
    width_in, width_out
        Widths of the objects before and after.
    num_heads
        Attention heads; they divide `width_out`.
    dropout
        Probability, on attention weights and on the result.
    layer_scale
        Initial value of γ.
    """

    def __init__(
        self, width_in: int, width_out: int, num_heads: int, dropout: float, layer_scale: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width_in)
        self.query_key_value = nn.Linear(width_in, 3 * width_out)
        self.out = ScaledLinear(width_out, width_out, layer_scale)
        self.dropout = nn.Dropout(dropout)
        self.skip = None if width_in == width_out else nn.Linear(width_in, width_out, bias=False)

    def forward(self, x: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
        """Objects (rows, width_out) of `x` (rows, width_in); `bias` (pairs, heads)."""
        base = None if self.skip is None else self.skip(x)  # (rows, width_out)
        dropout = self.dropout.p if self.training else 0.0
        if can_fuse(x, self.norm, self.query_key_value, self.out) and layout.spans is not None:
            return fused_attention(
                x, base, self.norm, self.query_key_value, self.out.scaled(), bias, layout.spans,
                self.num_heads, dropout,
            )  # fmt: skip
        query_key_value = self.query_key_value(self.norm(x))  # (rows, 3 × width_out)
        attended = layout.attend(query_key_value, bias, self.num_heads, dropout)
        total: Tensor = (x if base is None else base) + self.dropout(self.out(attended))
        return total


class AttBlock(nn.Module):
    """Self-attention of the objects of an event, then a feed-forward network.

    x → S x + γ₁ ⊙ A(LN(x)), then x → x + γ₂ ⊙ F(LN(x)): pre-norm residual branches
    (arXiv:2002.04745) with LayerScale. S is the identity, or a linear projection where the width
    changes.

    Parameters
    ----------
    width_in, width_out
        Widths of the objects before and after the block.
    num_heads
        Attention heads; they divide `width_out`.
    hidden
        Hidden width of the feed-forward network.
    dropout
        Probability, on attention weights, on the hidden layer and on both branches.
    layer_scale
        Initial value of γ₁ and γ₂.
    feedforward
        Kind of the feed-forward network.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        num_heads: int,
        hidden: int,
        dropout: float,
        layer_scale: float,
        feedforward: FeedForwardKind,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(width_in, width_out, num_heads, dropout, layer_scale)
        self.feedforward = FeedForward(width_out, hidden, dropout, layer_scale, feedforward)

    def forward(self, x: Tensor, layout: Layout, bias: Tensor | None = None) -> Tensor:
        """Transform objects.

        Parameters
        ----------
        x
            (rows, width_in).
        layout
            Which objects belong together.
        bias
            (pairs, heads), added to the attention scores of both directions of a pair.

        Returns
        -------
        Tensor
            (rows, width_out).
        """
        x = self.attention(x, layout, bias)  # (rows, width_out)
        result: Tensor = self.feedforward(x, layout)
        return result


class ClassAttention(nn.Module):
    """z → z + γ ⊙ A(LN(z), LN(x)): the class token asks itself and the objects of its event.

    Parameters
    ----------
    width
        Width of objects and class token.
    num_heads
        Attention heads; they divide `width`.
    dropout
        Probability, on attention weights and on the result.
    layer_scale
        Initial value of γ.
    """

    def __init__(self, width: int, num_heads: int, dropout: float, layer_scale: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = ScaledLinear(width, width, layer_scale)
        self.dropout = nn.Dropout(dropout)

    def forward(self, token: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (events, width) of `token` (events, width) and `x` (rows, width)."""
        dropout = self.dropout.p if self.training else 0.0
        normed = self.norm(token)  # (events, width)
        query, own = self.query(normed), self.key_value(normed)  # (events, 2 × width)
        if can_fuse(x, self.norm, self.key_value) and layout.spans is not None:
            attended = fused_class_attention(
                query, own, x, self.norm, self.key_value, layout.spans, self.num_heads, dropout
            )
        else:
            key_value = self.key_value(self.norm(x))  # (rows, 2 × width)
            attended = layout.attend_from_class(query, own, key_value, self.num_heads, dropout)
        total: Tensor = token + self.dropout(self.out(attended))
        return total


class ClassBlock(nn.Module):
    """Class attention (arXiv:2103.17239 section 3): the class token reads the objects.

    Only the class token asks and changes; keys and values come from the class token and the
    objects together.

    Parameters
    ----------
    width
        Width of objects and class token.
    num_heads
        Attention heads; they divide `width`.
    hidden
        Hidden width of the feed-forward network.
    dropout
        Probability, on attention weights, on the hidden layer and on both branches.
    layer_scale
        Initial value of the LayerScale of both branches.
    feedforward
        Kind of the feed-forward network.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden: int,
        dropout: float,
        layer_scale: float,
        feedforward: FeedForwardKind,
    ) -> None:
        super().__init__()
        self.attention = ClassAttention(width, num_heads, dropout, layer_scale)
        self.feedforward = FeedForward(width, hidden, dropout, layer_scale, feedforward)

    def forward(self, token: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """Transform the class token.

        Parameters
        ----------
        token
            (events, width): the class token of each event.
        x
            (rows, width): the objects.
        layout
            Which objects belong to which event.

        Returns
        -------
        Tensor
            (events, width).
        """
        token = self.attention(token, x, layout)  # (events, width)
        result: Tensor = self.feedforward(token, layout)
        return result
