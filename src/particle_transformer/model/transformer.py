"""The AnalysisObjectTransformer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from particle_transformer.errors import ModelInputError
from particle_transformer.model.blocks import AttBlock, ClassBlock
from particle_transformer.model.checks import check_arguments
from particle_transformer.model.embedding import Embedding
from particle_transformer.model.event_network import EventNetwork
from particle_transformer.model.heads import Outputs, mlp_head
from particle_transformer.model.inputs import (
    SINGLE,
    InputSpec,
    check_packed,
    grid_from_padded,
    packed_from_padded,
)
from particle_transformer.model.layouts import DenseLayout, PackedLayout
from particle_transformer.model.maps import AttentionMaps
from particle_transformer.model.pairs import PairBias
from particle_transformer.model.pretrained import Pretrained
from particle_transformer.model.scaling import Standardise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.events.packed import PackedBatch
    from particle_transformer.model.embedding import FeatureEmbedding
    from particle_transformer.model.feedforward import FeedForwardKind
    from particle_transformer.model.inputs import PaddedEvents
    from particle_transformer.model.layouts import Layout

__all__ = ["AnalysisObjectTransformer"]

EventFeatures = Literal["concatenated", "token", "both"]


class AnalysisObjectTransformer(Pretrained, EventNetwork):
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
    class_feedforward_factor
        The same of a class block; None for the published hidden width `linear_dims1`.
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
    pair_dims
        Hidden widths of the network that turns a pair's features into the bias.
    layer_scale
        Initial LayerScale of the residual branches (arXiv:2103.17239).
    event_features
        How the event features enter: ``"concatenated"`` to the class token before the head (the
        published form), as a ``"token"`` among the objects, or ``"both"``; None for both, where
        there are any: measured to be the best (``benchmarks/RESULTS.md``).
    feedforward
        ``"gelu"`` or ``"swiglu"`` (arXiv:2002.05202, with as many weights).
    feature_embedding
        How a feature enters its linear layer: as it is (``"linear"``), or encoded as in
        arXiv:2203.05556 (``"periodic"``, ``"piecewise_linear"``).
    regression_targets
        Event quantities, such as the true MET, that a second head of the same form regresses;
        0 for none. `predict` returns them, `forward` the logits alone.

    Attributes
    ----------
    collections : tuple of str
        Names of the collections; ``("objects",)`` where `input_dim_obj` is a number.
    arguments : dict
        The constructor's arguments, as JSON can hold them: ``AnalysisObjectTransformer(**it)``
        builds the same network.
    metadata : dict
        What is known of the network besides, as JSON can hold it: names of features, classes, …;
        saved and loaded with it. Empty at first.

    Raises
    ------
    ModelInputError
        If a number is not positive, `num_heads` does not divide a width, or an option is unknown.

    Examples
    --------
    >>> import torch
    >>> from particle_transformer import AnalysisObjectTransformer
    >>> model = AnalysisObjectTransformer({"jets": 6, "muons": 4}, 2, num_outputs=3)
    >>> objects = {"jets": torch.randn(32, 10, 6), "muons": torch.randn(32, 2, 4)}
    >>> padding_mask = {"jets": torch.arange(10) >= torch.randint(0, 11, (32, 1))}  # True = padded
    >>> padding_mask["muons"] = torch.ones(32, 2, dtype=torch.bool)  # an event without any muon
    >>> model(objects, torch.randn(32, 2), padding_mask).shape
    torch.Size([32, 3])
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
        class_feedforward_factor: int | None = None,
        num_att_blocks: int = 3,
        num_class_blocks: int = 3,
        num_outputs: int = 1,
        dropout: float = 0.0,
        pair_bias: bool = False,
        pair_dims: Sequence[int] = (32, 32),
        layer_scale: float = 0.1,
        event_features: EventFeatures | None = None,
        feedforward: FeedForwardKind = "gelu",
        feature_embedding: FeatureEmbedding = "linear",
        regression_targets: int = 0,
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
            "class_feedforward_factor": class_feedforward_factor,
            "num_att_blocks": num_att_blocks,
            "num_class_blocks": num_class_blocks,
            "num_outputs": num_outputs,
            "dropout": float(dropout),
            "pair_bias": pair_bias,
            "pair_dims": list(pair_dims),
            "layer_scale": layer_scale,
            "event_features": event_features or ("both" if input_dim_event else "concatenated"),
            "feedforward": feedforward,
            "feature_embedding": feature_embedding,
            "regression_targets": regression_targets,
        }
        check_arguments(features, self.arguments)
        self.metadata: dict[str, Any] = {}
        self.collections = tuple(features)
        self.spec = InputSpec(features, input_dim_event, named, pair_bias)

        self.object_scaling = nn.ModuleList(Standardise(width) for width in features.values())
        self.event_scaling = Standardise(input_dim_event)
        self.embedding = nn.ModuleList(
            Embedding(width, embed_dims, feature_embedding) for width in features.values()
        )
        self.collection_embedding = nn.Parameter(torch.randn(len(features), embed_dims) * 0.02)
        self.event_embedding = (
            None
            if self.arguments["event_features"] == "concatenated"
            else Embedding(input_dim_event, embed_dims, feature_embedding)
        )
        self.pair_bias = PairBias(num_heads, pair_dims) if pair_bias else None
        widths = [embed_dims, *[linear_dims1] * (num_att_blocks - 1), linear_dims2]
        self.att_blocks = nn.ModuleList(
            AttBlock(
                before, after, num_heads, feedforward_factor * after, dropout, layer_scale,
                feedforward,
            )
            for before, after in itertools.pairwise(widths)
        )  # fmt: skip
        self.class_token = nn.Parameter(torch.randn(linear_dims2) * 0.02)
        hidden = (
            linear_dims1
            if class_feedforward_factor is None
            else class_feedforward_factor * linear_dims2
        )
        self.class_blocks = nn.ModuleList(
            ClassBlock(linear_dims2, num_heads, hidden, dropout, layer_scale, feedforward)
            for _ in range(num_class_blocks)
        )
        self.class_norm = nn.LayerNorm(linear_dims2)
        width = linear_dims2 + (
            0 if self.arguments["event_features"] == "token" else input_dim_event
        )
        self.head = mlp_head(width, mlp_hidden_1, mlp_hidden_2, num_outputs, dropout)
        # Made last, so that a seed gives the rest of the network the weights it has without.
        self.regression_head: nn.Sequential | None = None
        self.target_scaling: Standardise | None = None
        if regression_targets:
            self.regression_head = mlp_head(
                width, mlp_hidden_1, mlp_hidden_2, regression_targets, dropout
            )
            self.target_scaling = Standardise(regression_targets)

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        layer = self.head[-1]
        assert isinstance(layer, nn.Linear), "an MLP ends with one"
        return layer

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
        logits: Tensor = self.head(self._packed_trunk(batch))
        return logits

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs) of a packed batch; no padding is computed on.

        Raises
        ------
        ModelInputError
            If a shape, dtype, device or collection is not what the model was built for, or
            offsets do not fit the packed rows.
        """
        check_packed(self.spec, batch, like=self.class_token)
        logits: Tensor = self.head(self._packed_trunk(batch))
        return logits

    def forward_dense(
        self,
        objects: Tensor | Mapping[str, Tensor],
        event: Tensor,
        padding_mask: Tensor | Mapping[str, Tensor] | None = None,
        *,
        momenta: Tensor | Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The same as `forward`, computed on the padded tensors.

        The shapes of all that it computes follow from those of its arguments, which is what
        ``torch.export`` and ONNX need. Arguments, result and errors are those of `forward`.
        """
        grid = grid_from_padded(
            self.spec, objects, event, padding_mask, momenta, like=self.class_token
        )
        logits: Tensor = self.head(self._dense_trunk(grid))
        return logits

    def predict(
        self,
        objects: Tensor | Mapping[str, Tensor],
        event: Tensor,
        padding_mask: Tensor | Mapping[str, Tensor] | None = None,
        *,
        momenta: Tensor | Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """Logits and regressed quantities of a padded batch.

        Arguments are those of `forward`, and so are the logits.

        Raises
        ------
        ModelInputError
            As `forward`, and if the model regresses nothing.
        """
        self._check_regression()
        batch = packed_from_padded(
            self.spec, objects, event, padding_mask, momenta, like=self.class_token
        )
        return self._outputs(self._packed_trunk(batch))

    def predict_packed(self, batch: PackedBatch) -> Outputs:
        """Logits and regressed quantities of a packed batch.

        Raises
        ------
        ModelInputError
            As `forward_packed`, and if the model regresses nothing.
        """
        self._check_regression()
        check_packed(self.spec, batch, like=self.class_token)
        return self._outputs(self._packed_trunk(batch))

    def predict_dense(
        self,
        objects: Tensor | Mapping[str, Tensor],
        event: Tensor,
        padding_mask: Tensor | Mapping[str, Tensor] | None = None,
        *,
        momenta: Tensor | Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """The same as `predict`, computed on the padded tensors as `forward_dense` does."""
        self._check_regression()
        grid = grid_from_padded(
            self.spec, objects, event, padding_mask, momenta, like=self.class_token
        )
        return self._outputs(self._dense_trunk(grid))

    def attention_maps(
        self,
        objects: Tensor | Mapping[str, Tensor],
        event: Tensor,
        padding_mask: Tensor | Mapping[str, Tensor] | None = None,
        *,
        momenta: Tensor | Mapping[str, Tensor] | None = None,
    ) -> AttentionMaps:
        """Attention weights of every block, aligned with the slots of `objects`.

        Arguments and errors are those of `forward`. Gradients are not recorded.
        """
        grid = grid_from_padded(
            self.spec, objects, event, padding_mask, momenta, like=self.class_token
        )
        object_maps: list[Tensor] = []
        class_maps: list[Tensor] = []
        with torch.no_grad():
            self._dense_trunk(grid, object_maps, class_maps)
        return AttentionMaps.from_grid(grid, object_maps, class_maps)

    def _check_regression(self) -> None:
        if self.regression_head is None:
            message = (
                "regression_targets: the model was built with 0 and regresses nothing; call "
                "forward, or build it with regression_targets=1 or more"
            )
            raise ModelInputError(message)

    def _outputs(self, trunk: Tensor) -> Outputs:
        assert self.regression_head is not None
        assert self.target_scaling is not None
        logits: Tensor = self.head(trunk)  # first: its dropout is that of `forward`
        scaled: Tensor = self.regression_head(trunk)  # (events, regression_targets)
        return Outputs(logits, scaled, self.target_scaling.inverse(scaled))

    def checked_layout(self, batch: PackedBatch) -> PackedLayout:
        """How the objects of a packed batch lie; errors are those of `forward_packed`."""
        check_packed(self.spec, batch, like=self.class_token)
        return self._packed_layout(batch)

    def _packed_layout(self, batch: PackedBatch) -> PackedLayout:
        offsets = [batch.offsets[name] for name in self.collections]
        if self.event_embedding is not None:
            offsets.append(torch.arange(len(batch) + 1, device=batch.event.device))
        return PackedLayout(offsets)

    def _packed_trunk(self, batch: PackedBatch) -> Tensor:
        layout = self._packed_layout(batch)
        return self._trunk(batch.objects, batch.event, batch.momenta, layout)

    def _dense_trunk(
        self,
        grid: PaddedEvents,
        object_maps: list[Tensor] | None = None,
        class_maps: list[Tensor] | None = None,
    ) -> Tensor:
        occupied = [grid.occupied[name] for name in self.collections]
        if self.event_embedding is not None:
            occupied.append(torch.ones_like(grid.event[:, :1], dtype=torch.bool))
        layout = DenseLayout(torch.cat(occupied, 1), object_maps, class_maps)
        return self._trunk(grid.objects, grid.event, grid.momenta, layout)

    #  objects of each collection        event features
    #      standardise                        standardise
    #      embed (3 linear layers)                │
    #      + collection embedding   ← as a token ─┤
    #          │ all objects of an event          │
    #      AttBlock × num_att_blocks ← pair bias  │
    #          │                                  │
    #      ClassBlock × num_class_blocks ← token  │
    #          │ class token                      │
    #          └────────── concatenate ───────────┘
    #      MLP head → logits    MLP head × scale + mean → regression
    def _trunk(
        self,
        objects: Mapping[str, Tensor],
        event: Tensor,
        momenta: Mapping[str, Tensor] | None,
        layout: Layout,
    ) -> Tensor:
        """What the heads read (events, head's width)."""
        event = self.event_scaling(event)  # (events, event features)
        parts = [
            embed(scale(objects[name]), kind, layout)  # (rows of the collection, embed_dims)
            for name, scale, embed, kind in zip(
                self.collections,
                self.object_scaling,
                self.embedding,
                self.collection_embedding,
                strict=True,
            )
        ]
        if self.event_embedding is not None:
            parts.append(layout.event_rows(self.event_embedding(event, 0.0, layout)))
        x = layout.join(parts)  # (rows, embed_dims)
        bias = None
        if self.pair_bias is not None:
            assert momenta is not None
            bias = self._bias([momenta[name] for name in self.collections], event, layout)
        for att_block in self.att_blocks:
            x = att_block(x, layout, bias)  # (rows, linear_dims1 or linear_dims2)
        token = self.class_token.expand(layout.events, -1)  # (events, linear_dims2)
        for class_block in self.class_blocks:
            token = class_block(token, x, layout)
        token = self.class_norm(token)
        if self.arguments["event_features"] != "token":
            token = torch.cat([token, event], 1)
        return token

    def _bias(self, momenta: list[Tensor], event: Tensor, layout: Layout) -> Tensor:
        """Bias of every pair, 0 where one of the two is the event features' token."""
        assert self.pair_bias is not None
        if self.event_embedding is None:
            bias: Tensor = self.pair_bias(*layout.pairs(layout.join(momenta)))
            return bias
        nothing = event.new_zeros(event.shape[0], 4)  # (events, 4)
        rows = layout.join([*momenta, layout.event_rows(nothing)])
        first, second = layout.pairs(rows)
        real = [torch.ones_like(vectors[..., :1]) for vectors in momenta]
        flags = layout.join([*real, layout.event_rows(nothing[:, :1])])  # (rows, 1)
        one, other = layout.pairs(flags)
        pairs: Tensor = self.pair_bias(first, second)  # (pairs, heads)
        return pairs * (one * other)
