"""Evaluation of expressions on padded tensors, such that the graph of the operations can be kept.

The rules are those of `particle_transformer.expressions.evaluate`, which has accepted the expressions
before: mistakes in them are not worded here again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from particle_transformer.export import elementwise, padded
from particle_transformer.export.padded import PaddedValue, as_tensor, choose, common_dtype
from particle_transformer.expressions.elementwise import COMPARE
from particle_transformer.expressions.expression import Expression, parse
from particle_transformer.expressions.nodes import (
    Binary,
    Boolean,
    Call,
    Compare,
    Constant,
    Name,
    Unary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from particle_transformer.export.padded import Number, Operand
    from particle_transformer.expressions.nodes import Node
    from particle_transformer.expressions.values import Value

__all__ = ["condition", "evaluate"]

_BOOL, _INT, _DOUBLE = (np.dtype(kind) for kind in (np.bool_, np.int64, np.float64))
_DEFAULTED = {"mean", "min", "max", "leading", "subleading", "nth", "at_max", "at_min"}


def evaluate(text: str, lookup: Callable[[str], PaddedValue]) -> Operand:
    """Value of an expression.

    Parameters
    ----------
    text
        The expression.
    lookup
        Gives the column of a name; of a collection as such, any values with its occupied slots.

    Returns
    -------
    PaddedValue or number
        A number where the expression reads no column.
    """
    return _Evaluator(lookup).evaluate(parse(text).tree)


def condition(text: str, lookup: Callable[[str], PaddedValue]) -> PaddedValue | bool:
    """Value of a selection: true or false."""
    return _Evaluator(lookup).condition(parse(text).tree)


class _Evaluator:
    def __init__(self, lookup: Callable[[str], PaddedValue]) -> None:
        self.lookup = lookup

    def evaluate(self, node: Node) -> Operand:
        if (number := _constant(node)) is not None:
            return number
        match node:
            case Name(name=name):
                return self.lookup(name)
            case Unary(operator="not", operand=operand):
                return _apply(torch.logical_not, [self.condition(operand)], _BOOL)
            case Unary(operand=operand):
                return _apply(torch.neg, _widened([self.evaluate(operand)]))
            case Binary(operator="**", left=left, right=Constant(value=exponent)):
                base = [_floating(self.evaluate(left))]
                return _apply(lambda values: values**exponent, base)
            case Binary(operator=symbol, left=left, right=right):
                return _arithmetic(symbol, [self.evaluate(left), self.evaluate(right)])
            case Compare(operands=operands, operators=symbols):
                values = [self.evaluate(operand) for operand in operands]
                links = [
                    _compare(symbol, [one, other])
                    for symbol, one, other in zip(symbols, values, values[1:], strict=False)
                ]
                return _joined(torch.logical_and, links)
            case Boolean(operator=word, operands=operands):
                combine = torch.logical_and if word == "and" else torch.logical_or
                return _joined(combine, [self.condition(operand) for operand in operands])
            case Call():
                return self.call(node)
        raise AssertionError(node)

    def condition(self, node: Node) -> PaddedValue | bool:
        value = self.evaluate(node)
        if not isinstance(value, PaddedValue):
            return bool(value)
        if value.dtype.kind == "b":
            return value
        return _with(value, value.values != 0, _BOOL)

    def call(self, node: Call) -> Operand:
        name, arguments = node.function, node.arguments
        if name in ("min", "max") and len(arguments) > 1:
            pick = elementwise.minimum if name == "min" else elementwise.maximum
            value = self.evaluate(arguments[0])
            for argument in arguments[1:]:
                value = _apply(pick, _widened([value, self.evaluate(argument)]))
            return value
        if name == "index":
            value = _object_level(self.evaluate(arguments[0]))
            assert value.occupied is not None
            return _with(value, padded.index(value.occupied), _INT)
        if name == "bit":
            return _bit(self.evaluate(arguments[0]), arguments[1])
        if name == "where":
            chosen = self.condition(arguments[0])
            return _where(chosen, [self.evaluate(branch) for branch in arguments[1:]])
        if name == "invariant_mass":
            return self.invariant_mass(node)
        if name in ("sum", "product", "count", "any", "all") or name in _DEFAULTED:
            return self.reduce(node)
        operands = [self.evaluate(argument) for argument in arguments]
        if name in ("abs", "sign"):
            return _apply(torch.abs if name == "abs" else elementwise.sign, _widened(operands))
        if name == "is_finite":
            value = operands[0]
            assert isinstance(value, PaddedValue)
            if value.dtype.kind == "f":
                return _with(value, elementwise.is_finite(value.values), _BOOL)
            return _with(value, torch.ones_like(value.values, dtype=torch.bool), _BOOL)
        return _apply(elementwise.ELEMENTWISE[name], [_floating(each) for each in operands])

    def reduce(self, node: Call) -> PaddedValue:
        name = node.function
        first = node.arguments[0]
        value = _object_level(
            self.condition(first) if name in ("any", "all") else self.evaluate(first)
        )
        values, occupied = value.values, value.occupied
        assert occupied is not None
        if name == "count":
            bare = first == Name(str(value.collection))
            conditional = value.dtype.kind == "b" and not bare
            return PaddedValue(padded.count(occupied & values if conditional else occupied), _INT)
        if name == "any":
            return PaddedValue(padded.any_of(values, occupied), _BOOL)
        if name == "all":
            return PaddedValue(~padded.any_of(~values, occupied), _BOOL)
        kept = _INT if value.dtype.kind in "iu" else value.dtype
        if name in ("sum", "product"):
            summed = (padded.total if name == "sum" else padded.product)(values, occupied)
            return PaddedValue(summed, _INT if kept.kind == "b" else kept)
        present = padded.count(occupied)
        if name == "mean":
            found = PaddedValue(
                padded.mean(values, occupied), kept if kept.kind == "f" else _DOUBLE
            )
        elif name in ("min", "max"):
            found = PaddedValue(padded.extreme(values, occupied, largest=name == "max"), kept)
        elif name in ("at_min", "at_max"):
            key = _object_level(self.evaluate(node.arguments[1]))
            picked = padded.at_extreme(values, key.values, occupied, largest=name == "at_max")
            found = PaddedValue(picked, kept)
        else:
            last = node.arguments[-1]
            number = int(last.value) if name == "nth" and isinstance(last, Constant) else 0
            number = 1 if name == "subleading" else number
            found = PaddedValue(padded.nth(values, occupied, number), kept)
            present = present - number
        return self.placed(found, present > 0, node)

    def invariant_mass(self, node: Call) -> PaddedValue:
        operands = [_floating(self.evaluate(argument)) for argument in node.arguments]
        aligned, _, occupied = _aligned(operands)
        assert occupied is not None
        dtype = common_dtype(operands)
        polar = [as_tensor(each, _DOUBLE, occupied).expand(occupied.shape) for each in aligned]
        sums = [padded.total(part, occupied) for part in elementwise.cartesian(*polar)]
        found = PaddedValue(elementwise.mass(*sums).to(padded.storage(dtype)), dtype)
        return self.placed(found, padded.count(occupied) > 0, node)

    def placed(self, found: PaddedValue, present: Tensor, node: Call) -> PaddedValue:
        """`found`, and the call's default for events that lack the object."""
        default = float("nan") if node.default is None else self.evaluate(node.default)
        dtype = common_dtype([found, default])
        parts = [as_tensor(each, dtype, present) for each in (found, default)]
        return PaddedValue(choose(present, *parts), dtype)


def _constant(node: Node) -> Number | None:
    """The number that `node` is, if it reads no column."""
    try:
        value: Number = Expression("", node, ()).evaluate(_no_column).values.item()
    except _ReadsColumnError:
        return None
    return value


class _ReadsColumnError(Exception):
    pass


def _no_column(name: str) -> Value:
    raise _ReadsColumnError(name)


def _object_level(value: Operand) -> PaddedValue:
    assert isinstance(value, PaddedValue)
    assert value.occupied is not None
    return value


def _with(like: PaddedValue, values: Tensor, dtype: np.dtype[Any]) -> PaddedValue:
    return PaddedValue(values, dtype, like.collection, like.occupied)


def _aligned(
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


def _apply(
    function: Callable[..., Tensor],
    operands: Sequence[Operand],
    result: np.dtype[Any] | None = None,
) -> PaddedValue:
    """Apply `function` to the operands in their common dtype, which the result has but for `result`."""
    aligned, collection, occupied = _aligned(operands)
    dtype = common_dtype(aligned)
    like = next(each.values for each in aligned if isinstance(each, PaddedValue))
    values = function(*(as_tensor(each, dtype, like) for each in aligned))
    return PaddedValue(values, dtype if result is None else result, collection, occupied)


def _joined(combine: Callable[..., Tensor], parts: Sequence[PaddedValue | bool]) -> PaddedValue:
    whole: Operand = parts[0]
    for part in parts[1:]:
        if isinstance(whole, PaddedValue) or isinstance(part, PaddedValue):
            whole = _apply(combine, [whole, part], _BOOL)
        else:
            whole = bool(combine(torch.tensor(whole), torch.tensor(part)))
    assert isinstance(whole, PaddedValue)
    return whole


def _compare(symbol: str, operands: Sequence[Operand]) -> PaddedValue | bool:
    if not any(isinstance(each, PaddedValue) for each in operands):
        return bool(COMPARE[symbol](*operands))
    dtype = common_dtype(operands)
    if dtype.kind == "b":  # ONNX does not order booleans
        operands = _widened(operands)
    return _apply(COMPARE[symbol], operands, _BOOL)


def _widened(operands: Sequence[Operand]) -> list[Operand]:
    """Booleans and integers as int64, unless a floating column is beside them."""
    columns = [each for each in operands if isinstance(each, PaddedValue)]
    if any(each.dtype.kind == "f" for each in columns):
        return list(operands)
    return [
        _with(each, each.values.to(torch.int64), _INT)
        if isinstance(each, PaddedValue)
        else (int(each) if isinstance(each, bool) else each)
        for each in operands
    ]


def _floating(operand: Operand) -> Operand:
    if not isinstance(operand, PaddedValue):
        return float(operand)
    if operand.dtype.kind == "f":
        return operand
    return _with(operand, operand.values.to(torch.float64), _DOUBLE)


def _arithmetic(symbol: str, operands: Sequence[Operand]) -> PaddedValue:
    wide = _widened(operands)
    functions: dict[str, Callable[..., Tensor]] = {
        "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "%": elementwise.remainder,
    }  # fmt: skip
    if symbol == "/" and common_dtype(wide).kind in "iu":
        wide = [_floating(each) for each in wide]
    return _apply(functions[symbol], wide)


def _where(chosen: PaddedValue | bool, branches: Sequence[Operand]) -> Operand:
    kinds = {each.dtype.kind if isinstance(each, PaddedValue) else type(each) for each in branches}
    wide = list(branches) if kinds <= {"b", bool} else _widened(branches)
    columns = [each for each in (chosen, *wide) if isinstance(each, PaddedValue)]
    aligned, collection, occupied = _aligned([chosen, *wide])
    known = [each for each in wide if isinstance(each, PaddedValue)]
    # Of two numbers numpy makes int64 or float64, as of two columns.
    dtype = common_dtype(wide) if known else np.result_type(*map(np.asarray, wide))
    flag, *parts = (
        as_tensor(each, kind, columns[0].values)
        for each, kind in zip(aligned, (_BOOL, dtype, dtype), strict=True)
    )
    return PaddedValue(choose(flag, *parts), dtype, collection, occupied)


def _bit(value: Operand, position: Node) -> PaddedValue:
    assert isinstance(value, PaddedValue)
    assert isinstance(position, Constant)
    number = int(position.value)
    if number == 63:
        return _with(value, value.values < 0, _BOOL)
    mask = torch.full((), 1 << number, dtype=torch.int64)
    return _with(value, (value.values & mask) != 0, _BOOL)
