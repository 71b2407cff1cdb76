"""The networks that are compared, each behind one call on the same events.

All have the same width, heads, feed-forward hidden width (4 × width), numbers of blocks, embedding
(three layers), head and pair network, and no dropout. Each gets events in its own format: packed
rows for this project, padded slots for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.events.packed import PackedBatch

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = 6
EVENT_FEATURES = 3
HEADS = 8
FACTOR = 4
ATT_BLOCKS = 3
CLASS_BLOCKS = 2
HEAD = (64, 32)
PAIR_DIMS = (64, 64, 64)


@dataclass(frozen=True)
class EventSet:
    """Random events of given multiplicities, packed and padded.

    Attributes
    ----------
    packed
        The events end to end.
    objects, momenta
        (events, slots, features) and (events, slots, 4), zero where padded.
    padding_mask
        bool (events, slots), True = padded.
    event
        (events, event features).
    target
        (events, 1), 0 or 1.
    """

    packed: PackedBatch
    objects: Tensor
    momenta: Tensor
    padding_mask: Tensor
    event: Tensor
    target: Tensor

    @property
    def counts(self) -> Tensor:
        """int64 (events,)."""
        return self.packed.offsets["objects"].diff()

    @staticmethod
    def draw(counts: Tensor, slots: int, seed: int = 1) -> EventSet:
        """Fill events of `counts` objects with random numbers, padded to `slots`."""
        random = torch.Generator().manual_seed(seed)
        events, objects = len(counts), int(counts.sum())
        values = torch.randn(objects, FEATURES, generator=random)
        transverse = 30 + 100 * torch.rand(objects, 1, generator=random)
        phi = 2 * torch.pi * torch.rand(objects, 1, generator=random)
        along = 100 * torch.randn(objects, 1, generator=random)
        momentum = torch.cat([transverse * phi.cos(), transverse * phi.sin(), along], 1)
        energy = (momentum.square().sum(1, keepdim=True) + 100).sqrt()
        momenta = torch.cat([momentum, energy], 1)  # (objects, 4)
        mask = torch.arange(slots) >= counts[:, None]  # (events, slots)
        event = torch.randn(events, EVENT_FEATURES, generator=random)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

        def padded(rows: Tensor) -> Tensor:
            grid = rows.new_zeros(events, slots, rows.shape[1])
            grid[~mask] = rows
            return grid

        packed = PackedBatch({"objects": values}, {"objects": offsets}, event, {"objects": momenta})
        target = torch.randint(2, (events, 1), generator=random).float()
        return EventSet(packed, padded(values), padded(momenta), mask, event, target)

    def to(self, device: str) -> EventSet:
        """The same events with all tensors on `device`."""
        return EventSet(
            self.packed.to(device),
            self.objects.to(device), self.momenta.to(device), self.padding_mask.to(device),
            self.event.to(device), self.target.to(device),
        )  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network and how it is called.

    Attributes
    ----------
    name
        What the tables call it.
    model
        The module.
    logits
        (events, 1) of an `EventSet`.
    """

    name: str
    model: nn.Module
    logits: Callable[[EventSet], Tensor]


def ours(width: int, *, pair_bias: bool, door: str = "packed", **options: Any) -> Network:
    """The network of this project; `door` is ``"packed"`` or ``"padded"``."""
    torch.manual_seed(1)
    model = AnalysisObjectTransformer(
        FEATURES, EVENT_FEATURES, width, width, width, *HEAD, num_heads=HEADS,
        feedforward_factor=FACTOR, class_feedforward_factor=FACTOR, num_att_blocks=ATT_BLOCKS,
        num_class_blocks=CLASS_BLOCKS, pair_bias=pair_bias, pair_dims=PAIR_DIMS,
        event_features="concatenated", **options,
    )  # fmt: skip

    def packed(events: EventSet) -> Tensor:
        return model.forward_packed(events.packed)

    def padded(events: EventSet) -> Tensor:
        logits: Tensor = model(
            events.objects, events.event, events.padding_mask,
            momenta=events.momenta if pair_bias else None,
        )  # fmt: skip
        return logits

    return Network("this project", model, packed if door == "packed" else padded)


def particle_transformer(width: int, *, pair_bias: bool, trim: bool) -> Network:
    """weaver-core's ParT; it has no event features.

    Parameters
    ----------
    width
        Of the blocks.
    pair_bias
        Whether it gets the momenta.
    trim
        Its default cuts every training batch at a random quantile of the multiplicity, 90 % or
        more, and so leaves objects out; False computes on all of them.
    """
    from weaver.nn.model.ParticleTransformer import (  # noqa: PLC0415
        ParticleTransformer,
    )

    torch.manual_seed(1)
    nothing = {"dropout": 0.0, "attn_dropout": 0.0, "activation_dropout": 0.0}
    model = ParticleTransformer(
        FEATURES, 1, embed_dims=(width, width, width), num_heads=HEADS, num_layers=ATT_BLOCKS,
        num_cls_layers=CLASS_BLOCKS, fc_params=tuple((hidden, 0.0) for hidden in HEAD),
        pair_embed_dims=PAIR_DIMS if pair_bias else None, block_params=nothing, trim=trim,
    )  # fmt: skip

    def logits(events: EventSet) -> Tensor:
        objects = events.objects.transpose(1, 2)
        momenta = events.momenta.transpose(1, 2) if pair_bias else None
        result: Tensor = model(objects, v=momenta, mask=~events.padding_mask[:, None])
        return result

    return Network("ParT" if trim else "ParT, all objects", model, logits)


class _Encoder(nn.Module):
    """`nn.TransformerEncoder` on padded objects and a class token."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.Linear(FEATURES, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, width),
        )  # fmt: skip
        self.token = nn.Parameter(torch.randn(width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, HEADS, FACTOR * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        widths = (width + EVENT_FEATURES, *HEAD)
        hidden = [
            layer
            for before, after in pairwise(widths)
            for layer in (nn.Linear(before, after), nn.GELU())
        ]
        self.head = nn.Sequential(*hidden, nn.Linear(HEAD[-1], 1))

    def forward(self, events: EventSet) -> Tensor:
        x = self.embedding(events.objects)  # (events, slots, width)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)  # (events, 1 + slots, width)
        mask = nn.functional.pad(events.padding_mask, (1, 0))  # (events, 1 + slots)
        x = self.encoder(x, src_key_padding_mask=mask)
        logits: Tensor = self.head(torch.cat([x[:, 0], events.event], 1))
        return logits


def encoder(width: int, layers: int) -> Network:
    """PyTorch's encoder, with a class token as in BERT."""
    torch.manual_seed(1)
    model = _Encoder(width, layers)
    return Network(f"nn.TransformerEncoder, {layers} layers", model, model)
