"""The AnalysisObjectTransformer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from particle_transformer.model.attention import EventGrid
from particle_transformer.model.blocks import AttBlock, ClassBlock
from particle_transformer.model.checks import check_arguments
from particle_transformer.model.embedding import ObjectEmbedding
from particle_transformer.model.inputs import SINGLE, InputSpec, check_packed, packed_from_padded
from particle_transformer.model.packing import interleave
from particle_transformer.model.pairs import PairBias
from particle_transformer.model.scaling import Standardise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.events.packed import PackedBatch

__all__ = ["AnalysisObjectTransformer"]


class AnalysisObjectTransformer(nn.Module):
    """Classify collision events from their analysis objects and event features.

    The order of the objects, padding, and the other events of a batch change nothing; an event
    without objects is as good as any other.

    Parameters
    ----------
    input_dim_obj
        Features of an object; or, for several collections, features by collection name. With
        names, `forward` takes `objects`, `padding_mask` and `momenta` by name as well.
    input_dim_event
        Event features; may be 0.
    embed_dims
        Width of the object embedding.
    linear_dims1
        Width of the attention blocks but the last, and hidden width of the class blocks.
    linear_dims2
        Width after the last attention block, and of the class token.
    mlp_hidden_1, mlp_hidden_2
        Widths of the head's hidden layers.
    num_heads
        Attention heads; they divide `linear_dims1` and `linear_dims2`.
    feedforward_factor
        Hidden width of an attention block's feed-forward network, in units of its width.
    num_att_blocks
        Attention blocks: the first changes the width from `embed_dims` to `linear_dims1`, the
        last to `linear_dims2`. Two have nothing between; a single one goes from `embed_dims` to
        `linear_dims2` at once.
    num_class_blocks
        Class-attention blocks.
    num_outputs
        Logits per event: 1 for signal against background, else one per class.
    dropout
        Probability, inside the blocks and after the head's hidden layers; never on the logits.
    pair_bias
        Whether attention gets the pairwise bias of arXiv:2202.03772; needs `momenta`.
    layer_scale
        Initial LayerScale of the residual branches (arXiv:2103.17239).

    Attributes
    ----------
    collections : tuple of str
        Names of the collections; ``("objects",)`` where `input_dim_obj` is a number.
    arguments : dict
        The constructor's arguments, as JSON can hold them: ``AnalysisObjectTransformer(**it)``
        builds the same network.

    Raises
    ------
    ModelInputError
        If a number is not positive, or `num_heads` does not divide a width.
    """

    def __init__(
        self,
        input_dim_obj: int | Mapping[str, int],
        input_dim_event: int,
        embed_dims: int = 128,
        linear_dims1: int = 128,
        linear_dims2: int = 128,
        mlp_hidden_1: int = 64,
        mlp_hidden_2: int = 32,
        num_heads: int = 8,
        *,
        feedforward_factor: int = 4,
        num_att_blocks: int = 3,
        num_class_blocks: int = 3,
        num_outputs: int = 1,
        dropout: float = 0.0,
        pair_bias: bool = False,
        layer_scale: float = 0.1,
    ) -> None:
        super().__init__()
        named = isinstance(input_dim_obj, Mapping)
        features = (
            dict(input_dim_obj) if isinstance(input_dim_obj, Mapping) else {SINGLE: input_dim_obj}
        )
        self.arguments: dict[str, Any] = {
            "input_dim_obj": dict(features) if named else input_dim_obj,
            "input_dim_event": input_dim_event,
            "embed_dims": embed_dims,
            "linear_dims1": linear_dims1,
            "linear_dims2": linear_dims2,
            "mlp_hidden_1": mlp_hidden_1,
            "mlp_hidden_2": mlp_hidden_2,
            "num_heads": num_heads,
            "feedforward_factor": feedforward_factor,
            "num_att_blocks": num_att_blocks,
            "num_class_blocks": num_class_blocks,
            "num_outputs": num_outputs,
            "dropout": dropout,
            "pair_bias": pair_bias,
            "layer_scale": layer_scale,
        }
        check_arguments(features, self.arguments)
        self.collections = tuple(features)
        self.spec = InputSpec(features, input_dim_event, named, pair_bias)

        self.object_scaling = nn.ModuleList(Standardise(width) for width in features.values())
        self.event_scaling = Standardise(input_dim_event)
        self.embedding = nn.ModuleList(
            ObjectEmbedding(width, embed_dims) for width in features.values()
        )
        self.collection_embedding = nn.Parameter(torch.randn(len(features), embed_dims) * 0.02)
        self.pair_bias = PairBias(num_heads) if pair_bias else None
        widths = [embed_dims, *[linear_dims1] * (num_att_blocks - 1), linear_dims2]
        self.att_blocks = nn.ModuleList(
            AttBlock(before, after, num_heads, feedforward_factor * after, dropout, layer_scale)
            for before, after in itertools.pairwise(widths)
        )
        self.class_token = nn.Parameter(torch.randn(linear_dims2) * 0.02)
        self.class_blocks = nn.ModuleList(
            ClassBlock(linear_dims2, num_heads, linear_dims1, dropout, layer_scale)
            for _ in range(num_class_blocks)
        )
        self.class_norm = nn.LayerNorm(linear_dims2)
        self.head = nn.Sequential(
            nn.Linear(linear_dims2 + input_dim_event, mlp_hidden_1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_hidden_1, mlp_hidden_2),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_hidden_2, num_outputs),
        )

    def forward(
        self,
        objects: Tensor | Mapping[str, Tensor],
        event: Tensor,
        padding_mask: Tensor | Mapping[str, Tensor] | None = None,
        *,
        momenta: Tensor | Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits of a padded batch.

        Parameters
        ----------
        objects
            (batch, n, features), or such tensors by collection (n may differ).
        event
            (batch, event features).
        padding_mask
            bool (batch, n), True = padded, as in `torch.nn.MultiheadAttention`; or by
            collection. None where every slot is real. Padded slots may hold anything.
        momenta
            (batch, n, 4): px, py, pz, E in GeV, or by collection; needed by the pair bias,
            ignored without it.

        Returns
        -------
        Tensor
            (batch, num_outputs).

        Raises
        ------
        ModelInputError
            If a shape, dtype, device or collection is not what the model was built for.
        """
        batch = packed_from_padded(
            self.spec, objects, event, padding_mask, momenta, like=self.class_token
        )
        return self._logits(batch)

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs) of a packed batch; no padding is computed on.

        Raises
        ------
        ModelInputError
            If a shape, dtype, device or collection is not what the model was built for, or
            offsets do not fit the packed rows.
        """
        check_packed(self.spec, batch, like=self.class_token)
        return self._logits(batch)

    #  objects of each collection        event features
    #      standardise                        standardise
    #      embed (3 linear layers)                │
    #      + collection embedding                 │
    #          │ all objects of an event          │
    #      AttBlock × num_att_blocks ← pair bias  │
    #          │                                  │
    #      ClassBlock × num_class_blocks ← token  │
    #          │ class token                      │
    #          └────────── concatenate ───────────┘
    #                   MLP head → logits
    def _logits(self, batch: PackedBatch) -> Tensor:
        embedded = [
            embed(scale(batch.objects[name])) + kind
            for name, scale, embed, kind in zip(
                self.collections,
                self.object_scaling,
                self.embedding,
                self.collection_embedding,
                strict=True,
            )
        ]
        destination, offsets = interleave([batch.offsets[name] for name in self.collections])
        x = _move(embedded, destination)  # (objects, embed_dims)
        grid = EventGrid.from_offsets(offsets)
        bias = None
        if self.pair_bias is not None:
            assert batch.momenta is not None
            vectors = _move([batch.momenta[name] for name in self.collections], destination)
            bias = self.pair_bias(vectors, grid)  # (events, heads, slots, slots)
        for att_block in self.att_blocks:
            x = att_block(x, grid, bias)  # (objects, linear_dims1 or linear_dims2)
        token = self.class_token.expand(len(batch), -1)  # (events, linear_dims2)
        for class_block in self.class_blocks:
            token = class_block(token, x, grid)
        joined = torch.cat([self.class_norm(token), self.event_scaling(batch.event)], 1)
        logits: Tensor = self.head(joined)  # (events, num_outputs)
        return logits


def _move(parts: Sequence[Tensor], destination: Tensor) -> Tensor:
    """Rows of all collections in the order of events: (objects, width)."""
    if len(parts) == 1:
        return parts[0]
    rows = torch.cat(list(parts))
    return torch.empty_like(rows).index_copy(0, destination, rows)
