"""Operations of expressions on padded values, in the dtypes that numpy would give.

Operands of events and of objects stand side by side; integers and booleans are widened as in
`particle_transformer.expressions.evaluate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from particle_transformer.export import elementwise
from particle_transformer.export.padded import PaddedValue, as_tensor, choose, common_dtype
from particle_transformer.expressions.elementwise import COMPARE
from particle_transformer.expressions.nodes import Constant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from particle_transformer.export.padded import Operand
    from particle_transformer.expressions.nodes import Node

__all__ = [
    "BOOL", "DOUBLE", "INT", "align", "apply", "arithmetic", "bit", "compare", "floating",
    "joined", "object_level", "where", "widened", "with_values",
]  # fmt: skip

BOOL, INT, DOUBLE = (np.dtype(kind) for kind in (np.bool_, np.int64, np.float64))


def object_level(value: Operand) -> PaddedValue:
    """The value, which is one of objects: mistakes were worded when the file was prepared."""
    assert isinstance(value, PaddedValue)
    assert value.occupied is not None
    return value


def with_values(like: PaddedValue, values: Tensor, dtype: np.dtype[Any]) -> PaddedValue:
    """Other values of the same events or objects."""
    return PaddedValue(values, dtype, like.collection, like.occupied)


def align(
    operands: Sequence[Operand],
) -> tuple[list[Operand], str | None, Tensor | None]:
    """Operands of one shape, up to broadcasting; the collection and its occupied slots."""
    owner = next(
        (each for each in operands if isinstance(each, PaddedValue) and each.collection), None
    )
    if owner is None:
        return list(operands), None, None
    return (
        [
            PaddedValue(each.values[:, None], each.dtype)
            if isinstance(each, PaddedValue) and each.collection is None
            else each
            for each in operands
        ],
        owner.collection,
        owner.occupied,
    )


def apply(
    function: Callable[..., Tensor],
    operands: Sequence[Operand],
    result: np.dtype[Any] | None = None,
) -> PaddedValue:
    """Apply `function` to the operands in their common dtype, which the result has but for `result`."""
    aligned, collection, occupied = align(operands)
    dtype = common_dtype(aligned)
    like = next(each.values for each in aligned if isinstance(each, PaddedValue))
    values = function(*(as_tensor(each, dtype, like) for each in aligned))
    return PaddedValue(values, dtype if result is None else result, collection, occupied)


def joined(combine: Callable[..., Tensor], parts: Sequence[PaddedValue | bool]) -> PaddedValue:
    """Conditions, at least one of which reads a column, combined from left to right."""
    whole: Operand = parts[0]
    for part in parts[1:]:
        if isinstance(whole, PaddedValue) or isinstance(part, PaddedValue):
            whole = apply(combine, [whole, part], BOOL)
        else:
            whole = bool(combine(torch.tensor(whole), torch.tensor(part)))
    assert isinstance(whole, PaddedValue)
    return whole


def compare(symbol: str, operands: Sequence[Operand]) -> PaddedValue | bool:
    """One link of a comparison; a bool where neither side reads a column."""
    if not any(isinstance(each, PaddedValue) for each in operands):
        return bool(COMPARE[symbol](*operands))
    dtype = common_dtype(operands)
    if dtype.kind == "b":  # ONNX does not order booleans
        operands = widened(operands)
    return apply(COMPARE[symbol], operands, BOOL)


def widened(operands: Sequence[Operand]) -> list[Operand]:
    """Booleans and integers as int64, unless a floating column is beside them."""
    columns = [each for each in operands if isinstance(each, PaddedValue)]
    if any(each.dtype.kind == "f" for each in columns):
        return list(operands)
    return [
        with_values(each, each.values.to(torch.int64), INT)
        if isinstance(each, PaddedValue)
        else (int(each) if isinstance(each, bool) else each)
        for each in operands
    ]


def floating(operand: Operand) -> Operand:
    """Integers and booleans as float64."""
    if not isinstance(operand, PaddedValue):
        return float(operand)
    if operand.dtype.kind == "f":
        return operand
    return with_values(operand, operand.values.to(torch.float64), DOUBLE)


def arithmetic(symbol: str, operands: Sequence[Operand]) -> PaddedValue:
    """One of + − * / %."""
    wide = widened(operands)
    functions: dict[str, Callable[..., Tensor]] = {
        "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "%": elementwise.remainder,
    }  # fmt: skip
    if symbol == "/" and common_dtype(wide).kind in "iu":
        wide = [floating(each) for each in wide]
    return apply(functions[symbol], wide)


def where(chosen: PaddedValue | bool, branches: Sequence[Operand]) -> Operand:
    """The first branch where `chosen`, else the second."""
    kinds = {each.dtype.kind if isinstance(each, PaddedValue) else type(each) for each in branches}
    wide = list(branches) if kinds <= {"b", bool} else widened(branches)
    columns = [each for each in (chosen, *wide) if isinstance(each, PaddedValue)]
    aligned, collection, occupied = align([chosen, *wide])
    known = [each for each in wide if isinstance(each, PaddedValue)]
    # Of two numbers numpy makes int64 or float64, as of two columns.
    dtype = common_dtype(wide) if known else np.result_type(*map(np.asarray, wide))
    flag, *parts = (
        as_tensor(each, kind, columns[0].values)
        for each, kind in zip(aligned, (BOOL, dtype, dtype), strict=True)
    )
    return PaddedValue(choose(flag, *parts), dtype, collection, occupied)


def bit(value: Operand, position: Node) -> PaddedValue:
    """Whether a bit of an integer is set."""
    assert isinstance(value, PaddedValue)
    assert isinstance(position, Constant)
    number = int(position.value)
    if number == 63:
        return with_values(value, value.values < 0, BOOL)
    mask = torch.full((), 1 << number, dtype=torch.int64)
    return with_values(value, (value.values & mask) != 0, BOOL)
