"""The two kinds of residual block: objects to objects, and objects to the class token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from particle_transformer.model.attention import attend, attend_from_class

if TYPE_CHECKING:
    from torch import Tensor

    from particle_transformer.model.attention import EventGrid

__all__ = ["AttBlock", "ClassBlock", "LayerScale"]


class LayerScale(nn.Module):
    """A trained factor for each channel of a residual branch (arXiv:2103.17239 eq. (3)).

    Parameters
    ----------
    width
        Number of channels.
    initial
        Their common initial value.
    """

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((width,), float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        """Scale `x` (…, width)."""
        return x * self.factor


def _feedforward(width: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, width),
        nn.Dropout(dropout),
    )


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
        Width inside the feed-forward network.
    dropout
        Probability, on attention weights and on both branches.
    layer_scale
        Initial value of γ₁ and γ₂.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        num_heads: int,
        hidden: int,
        dropout: float,
        layer_scale: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width_in)
        self.query_key_value = nn.Linear(width_in, 3 * width_out)
        self.attention_out = nn.Linear(width_out, width_out)
        self.attention_dropout = nn.Dropout(dropout)
        self.attention_scale = LayerScale(width_out, layer_scale)
        self.skip = (
            nn.Identity() if width_in == width_out else nn.Linear(width_in, width_out, bias=False)
        )
        self.feedforward_norm = nn.LayerNorm(width_out)
        self.feedforward = _feedforward(width_out, hidden, dropout)
        self.feedforward_scale = LayerScale(width_out, layer_scale)

    def forward(self, x: Tensor, grid: EventGrid, bias: Tensor | None = None) -> Tensor:
        """Transform packed objects.

        Parameters
        ----------
        x
            (objects, width_in).
        grid
            Which objects belong together.
        bias
            (events, heads, slots, slots), added to the attention logits.

        Returns
        -------
        Tensor
            (objects, width_out).
        """
        branch = self.query_key_value(self.attention_norm(x))  # (objects, 3 × width_out)
        query, key, value = branch.unflatten(1, (3, self.num_heads, -1)).unbind(1)
        dropout = self.dropout if self.training else 0.0
        branch = attend(query, key, value, grid, bias, dropout)  # (objects, heads, d)
        branch = self.attention_dropout(self.attention_out(branch.flatten(1)))
        x = self.skip(x) + self.attention_scale(branch)  # (objects, width_out)
        branch = self.feedforward(self.feedforward_norm(x))
        result: Tensor = x + self.feedforward_scale(branch)
        return result


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
        Width inside the feed-forward network.
    dropout
        Probability, on attention weights and on both branches.
    layer_scale
        Initial value of the LayerScale of both branches.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, dropout: float, layer_scale: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attention_out = nn.Linear(width, width)
        self.attention_dropout = nn.Dropout(dropout)
        self.attention_scale = LayerScale(width, layer_scale)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = _feedforward(width, hidden, dropout)
        self.feedforward_scale = LayerScale(width, layer_scale)

    def forward(self, token: Tensor, x: Tensor, grid: EventGrid) -> Tensor:
        """Transform the class token.

        Parameters
        ----------
        token
            (events, width): the class token of each event.
        x
            (objects, width): the packed objects.
        grid
            Which objects belong to which event.

        Returns
        -------
        Tensor
            (events, width).
        """
        normed = self.attention_norm(token)  # (events, width)
        heads = (self.num_heads, -1)
        query = self.query(normed).unflatten(1, heads)  # (events, heads, d)
        class_key, class_value = self.key_value(normed).unflatten(1, (2, *heads)).unbind(1)
        branch = self.key_value(self.attention_norm(x))  # (objects, 2 × width)
        key, value = branch.unflatten(1, (2, *heads)).unbind(1)  # (objects, heads, d)
        dropout = self.dropout if self.training else 0.0
        branch = attend_from_class(query, class_key, class_value, key, value, grid, dropout)
        branch = self.attention_dropout(self.attention_out(branch.flatten(1)))
        token = token + self.attention_scale(branch)  # (events, width)
        branch = self.feedforward(self.feedforward_norm(token))
        result: Tensor = token + self.feedforward_scale(branch)
        return result
