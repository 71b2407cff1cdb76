"""Values of expressions on padded tensors, and their reductions per event.

What `particle_transformer.expressions.reductions` computes on ragged columns. Slots that are not
occupied may hold anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Number", "Operand", "PaddedValue", "as_tensor", "choose", "common_dtype", "storage"]

Number: TypeAlias = bool | int | float


@dataclass(frozen=True)
class PaddedValue:
    """One column of a batch of events.

    Attributes
    ----------
    values
        (batch,) of the event; (batch, slots) of the objects of a collection. Of torch.bool, int64,
        float32 or float64: integers of any width are int64.
    dtype
        What numpy's evaluation of the same column has: it decides what the column becomes beside
        others.
    collection
        The collection of an object-level value; None for an event-level one.
    occupied
        bool (batch, slots), object-level only: where there is an object.
    """

    values: Tensor
    dtype: np.dtype[Any]
    collection: str | None = None
    occupied: Tensor | None = None


Operand: TypeAlias = PaddedValue | Number


def storage(dtype: np.dtype[Any]) -> torch.dtype:
    """The dtype in which a column that is of `dtype` in numpy is held here."""
    if dtype.kind == "f":
        return torch.float64 if dtype.itemsize == 8 else torch.float32
    return torch.bool if dtype.kind == "b" else torch.int64


def common_dtype(operands: Sequence[Operand]) -> np.dtype[Any]:
    """What numpy makes of arrays and Python numbers together: numbers never widen floats."""
    dtypes = [each.dtype for each in operands if isinstance(each, PaddedValue)]
    found = np.result_type(*dtypes)
    for number in operands:
        if isinstance(number, float) and found.kind in "biu":
            found = np.dtype(np.float64)
        elif isinstance(number, int) and not isinstance(number, bool) and found.kind == "b":
            found = np.dtype(np.int64)
    return found


def as_tensor(operand: Operand, dtype: np.dtype[Any], like: Tensor) -> Tensor:
    """The values of `operand` in the storage of `dtype`; a number as a tensor without axes."""
    if isinstance(operand, PaddedValue):
        return operand.values.to(storage(dtype))
    return torch.full((), operand, dtype=storage(dtype), device=like.device)


def choose(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """`one` where `condition`, else `other`; ONNX Runtime chooses no booleans."""
    if one.dtype == torch.bool:
        return (condition & one) | (~condition & other)
    return torch.where(condition, one, other)


def _filled(values: Tensor, occupied: Tensor, filling: Number) -> Tensor:
    return torch.where(occupied, values, torch.full((), filling, dtype=values.dtype))


def count(occupied: Tensor) -> Tensor:
    """Objects per event: int64 (batch,)."""
    return occupied.to(torch.int64).sum(1)


def index(occupied: Tensor) -> Tensor:
    """Position of each object in its event: int64 (batch, slots)."""
    return occupied.to(torch.int64).cumsum(1) - 1


def total(values: Tensor, occupied: Tensor) -> Tensor:
    """Sum per event, accumulated in float64 or int64 and given in the dtype of `values`."""
    wide = torch.float64 if values.is_floating_point() else torch.int64
    return _filled(values.to(wide), occupied, 0).sum(1).to(_summed(values))


def product(values: Tensor, occupied: Tensor) -> Tensor:
    """Product per event, as `total`."""
    wide = torch.float64 if values.is_floating_point() else torch.int64
    return _filled(values.to(wide), occupied, 1).prod(1).to(_summed(values))


def _summed(values: Tensor) -> torch.dtype:
    return values.dtype if values.is_floating_point() else torch.int64


def mean(values: Tensor, occupied: Tensor) -> Tensor:
    """Mean per event, float64 of integers; means nothing without objects."""
    sums = _filled(values.to(torch.float64), occupied, 0).sum(1)  # (batch,)
    means = sums / count(occupied)
    return means.to(values.dtype) if values.is_floating_point() else means


def any_of(values: Tensor, occupied: Tensor) -> Tensor:
    """Whether any object of the event is true: bool (batch,)."""
    return count(values & occupied) > 0


def extreme(values: Tensor, occupied: Tensor, *, largest: bool) -> Tensor:
    """Smallest or largest value per event, NaN if one is; means nothing without objects."""
    if values.dtype == torch.bool:
        return any_of(values, occupied) if largest else ~any_of(~values, occupied)
    if not values.is_floating_point():
        edge = torch.iinfo(values.dtype)
        filled = _filled(values, occupied, edge.min if largest else edge.max)
        return filled.amax(1) if largest else filled.amin(1)
    numbers = ~torch.isnan(values)
    found = _best(values, occupied & numbers, largest=largest)
    broken = any_of(~numbers, occupied)
    return torch.where(broken, torch.full((), torch.nan, dtype=values.dtype), found)


def _best(values: Tensor, chosen: Tensor, *, largest: bool) -> Tensor:
    filled = _filled(values, chosen, -torch.inf if largest else torch.inf)
    return filled.amax(1) if largest else filled.amin(1)


def nth(values: Tensor, occupied: Tensor, number: int) -> Tensor:
    """Value of each event's object `number`; means nothing where it has no such object."""
    return _pick(values, occupied & (index(occupied) == number))


def _pick(values: Tensor, chosen: Tensor) -> Tensor:
    """The value of the only chosen slot of each event."""
    if values.dtype == torch.bool:
        return any_of(values, chosen)
    return _filled(values, chosen, 0).sum(1)


def at_extreme(values: Tensor, key: Tensor, occupied: Tensor, *, largest: bool) -> Tensor:
    """Value of the first object with the smallest or largest `key`; NaN keys only if all are."""
    if key.is_floating_point():
        numbers = occupied & ~torch.isnan(key)
        best = _best(key, numbers, largest=largest)[:, None]  # (batch, 1)
        some = any_of(numbers, occupied)[:, None]  # (batch, 1)
        candidates = choose(some, numbers & (key == best), occupied)
    else:
        whole = key.to(torch.int64)
        best = extreme(whole, occupied, largest=largest)[:, None]  # (batch, 1)
        candidates = occupied & (whole == best)
    return _pick(values, candidates & (index(candidates) == 0))
