"""How much a network has to compute on real objects, and how fast the machine multiplies matrices."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from peers import (
    ATT_BLOCKS,
    CLASS_BLOCKS,
    EVENT_FEATURES,
    FACTOR,
    FEATURES,
    HEAD,
    HEADS,
    PAIR_DIMS,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class Product:
    """A linear layer on real rows: (rows, inner) times (inner, outer)."""

    rows: int
    inner: int
    outer: int

    @property
    def operations(self) -> int:
        """Of the forward pass; a multiplication and an addition are two."""
        return 2 * self.rows * self.inner * self.outer


def linear_layers(width: int, counts: Tensor, *, pair_bias: bool) -> list[Product]:
    """Every linear layer of this project's network on events of `counts` objects."""
    objects, events = int(counts.sum()), len(counts)
    pairs = int((counts * (counts - 1) // 2).sum())
    hidden = FACTOR * width
    layers = [(objects, FEATURES, width), (objects, width, width), (objects, width, width)]
    for _ in range(ATT_BLOCKS):
        layers += [
            (objects, width, 3 * width), (objects, width, width), (objects, width, hidden),
            (objects, hidden, width),
        ]  # fmt: skip
    for _ in range(CLASS_BLOCKS):
        layers += [
            (events, width, width), (events + objects, width, 2 * width), (events, width, width),
            (events, width, hidden), (events, hidden, width),
        ]  # fmt: skip
    head = (width + EVENT_FEATURES, *HEAD, 1)
    layers += [(events, *sides) for sides in pairwise(head)]
    if pair_bias:
        dims = (4, *PAIR_DIMS, HEADS)
        layers += [(pairs, *sides) for sides in pairwise(dims)]
    return [Product(*layer) for layer in layers]


def operations(width: int, counts: Tensor, *, pair_bias: bool) -> int:
    """Of a forward pass: the linear layers, and the two products of every attention."""
    linear = sum(layer.operations for layer in linear_layers(width, counts, pair_bias=pair_bias))
    self_attention = ATT_BLOCKS * 4 * width * int((counts * counts).sum())
    class_attention = CLASS_BLOCKS * 4 * width * int((counts + 1).sum())
    return linear + self_attention + class_attention


class Products:
    """The matrix products of a training step: of each layer y = x Wᵀ, and the gradients of x and W.

    Every layer has operands of its own, as in a step.
    """

    def __init__(self, layers: list[Product], dtype: torch.dtype, device: str) -> None:
        self.steps: list[Callable[[], Tensor]] = []
        self.operations = 3 * sum(layer.operations for layer in layers)
        for layer in layers:
            x = torch.randn(layer.rows, layer.inner, device=device).to(dtype)
            weight = torch.randn(layer.outer, layer.inner, device=device).to(dtype)
            y = torch.randn(layer.rows, layer.outer, device=device).to(dtype)
            out = torch.empty_like(y), torch.empty_like(x), torch.empty_like(weight)
            self.steps += [
                lambda x=x, w=weight, out=out[0]: torch.mm(x, w.t(), out=out),  # type: ignore[misc]
                lambda y=y, w=weight, out=out[1]: torch.mm(y, w, out=out),  # type: ignore[misc]
                lambda y=y, x=x, out=out[2]: torch.mm(y.t(), x, out=out),  # type: ignore[misc]
            ]

    def repeated(self, repeats: int = 15) -> float:
        """Operations per second of each product many times over: operands are in cache if they fit."""
        total = 0.0
        for step in self.steps:
            seconds = []
            for _ in range(repeats + 2):
                started = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - started)
            total += statistics.median(seconds[2:])
        return self.operations / total

    def in_turn(self, repeats: int = 7) -> float:
        """Operations per second of all products, one after the other, as in a step."""
        seconds = []
        for _ in range(repeats + 2):
            started = time.perf_counter()
            for step in self.steps:
                step()
            seconds.append(time.perf_counter() - started)
        return self.operations / statistics.median(seconds[2:])
