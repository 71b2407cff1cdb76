"""The AnalysisObjectTransformer as it was first published, faults included.

Its class token is drawn afresh in each call and so never trained; in its attention blocks the skip
connection round the first linear layer is computed and lost, and nothing leads from a block's
input past its first normalisation. Its event embedding was never used and is left out, and so is
its final sigmoid, which is the loss's business.

Three things are added, without which it could not be compared: the features are standardised, each
collection has its own embedding, and an event without any object attends to an empty slot instead
of giving NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from particle_transformer.studies.compare.peers.peer import Peer, hidden_layers, padded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch

__all__ = ["PublishedNetwork"]

_BLOCKS = 3


class _Block(nn.Module):
    """What both kinds of blocks are made of."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_2 = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, width)
        self.norm_3 = nn.LayerNorm(width)
        self.linear_2 = nn.Linear(width, width)

    def _attend(self, queries: Tensor, keys: Tensor, padding_mask: Tensor) -> Tensor:
        found: Tensor = self.attention(
            queries, keys, keys, key_padding_mask=padding_mask, need_weights=False
        )[0]
        return found

    def _hidden(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.norm_3(torch.relu(self.linear_1(x)))
        return hidden


class _AttBlock(_Block):
    """Self-attention: (events, slots, width) → the same shape."""

    def forward(self, x: Tensor, padding_mask: Tensor) -> Tensor:
        x = self.norm_1(x)
        x = self.norm_2(x + self._attend(x, x, padding_mask))
        hidden = self._hidden(x)  # the published code adds x to what is then thrown away
        out: Tensor = hidden + self.linear_2(hidden)
        return out


class _ClassBlock(_Block):
    """Class attention: token (events, 1, width) → the same shape."""

    def forward(self, x: Tensor, token: Tensor, padding_mask: Tensor) -> Tensor:
        keys = self.norm_1(torch.cat([token, x], dim=1))
        mask = nn.functional.pad(padding_mask, (1, 0))  # the token is never masked
        token = token + self.norm_2(self._attend(token, keys, mask))
        out: Tensor = token + self.linear_2(self._hidden(token))
        return out


class PublishedNetwork(Peer):
    """The published network; two calls with the same events differ.

    Parameters
    ----------
    features, event_features, momenta, num_outputs
        As for `Peer`; the published network has no use for momenta.
    width, heads, head_widths
        Of the blocks (the published code needs all widths equal), and of the MLP head.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        event_features: int,
        *,
        num_outputs: int,
        width: int,
        heads: int,
        head_widths: tuple[int, int],
    ) -> None:
        super().__init__(
            features,
            event_features,
            momenta=False,
            num_outputs=num_outputs,
            width=width,
            heads=heads,
            head_widths=list(head_widths),
        )
        self.width = width
        self.embedding = nn.ModuleList(
            hidden_layers([inputs, width, width, width]) for inputs in features.values()
        )
        self.att_blocks = nn.ModuleList(_AttBlock(width, heads) for _ in range(_BLOCKS))
        self.class_blocks = nn.ModuleList(_ClassBlock(width, heads) for _ in range(_BLOCKS))
        self.head = nn.Sequential(
            *hidden_layers([width + event_features, *head_widths]),
            nn.Linear(head_widths[-1], num_outputs),
        )

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        layer = self.head[-1]
        assert isinstance(layer, nn.Linear), "an MLP ends with one"
        return layer

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs), with a class token of this call."""
        objects, event = self.inputs(batch)
        grids, masks = [], []
        for network, (name, rows) in zip(self.embedding, objects.items(), strict=True):
            grid, occupied = padded(network(rows), batch.offsets[name])
            grids.append(grid)
            masks.append(~occupied)
        x, mask = torch.cat(grids, dim=1), torch.cat(masks, dim=1)  # (events, slots, …)
        empty = mask.all(dim=1, keepdim=True)  # (events, 1)
        mask = torch.cat([mask[:, :1] & ~empty, mask[:, 1:]], dim=1)
        token = nn.init.trunc_normal_(event.new_empty(1, 1, self.width), std=0.02)
        for block in self.att_blocks:
            x = block(x, mask)
        token = token.expand(len(batch), 1, -1)
        for block in self.class_blocks:
            token = block(x, token, mask)
        logits: Tensor = self.head(torch.cat([token[:, 0], event], dim=1))
        return logits
