"""Evaluation of expressions on padded tensors, such that the graph of the operations can be kept.

The rules are those of `particle_transformer.expressions.evaluate`, which has accepted the expressions
before: mistakes in them are not worded here again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from particle_transformer.export import elementwise, padded
from particle_transformer.export.operations import (
    BOOL,
    DOUBLE,
    INT,
    align,
    apply,
    arithmetic,
    bit,
    compare,
    floating,
    joined,
    object_level,
    where,
    widened,
    with_values,
)
from particle_transformer.export.padded import PaddedValue, as_tensor, choose, common_dtype
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
    from collections.abc import Callable

    from torch import Tensor

    from particle_transformer.export.padded import Number, Operand
    from particle_transformer.expressions.nodes import Node
    from particle_transformer.expressions.values import Value

__all__ = ["condition", "evaluate"]

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
                return apply(torch.logical_not, [self.condition(operand)], BOOL)
            case Unary(operand=operand):
                return apply(torch.neg, widened([self.evaluate(operand)]))
            case Binary(operator="**", left=left, right=Constant(value=exponent)):
                base = [floating(self.evaluate(left))]
                return apply(lambda values: values**exponent, base)
            case Binary(operator=symbol, left=left, right=right):
                return arithmetic(symbol, [self.evaluate(left), self.evaluate(right)])
            case Compare(operands=operands, operators=symbols):
                values = [self.evaluate(operand) for operand in operands]
                links = [
                    compare(symbol, [one, other])
                    for symbol, one, other in zip(symbols, values, values[1:], strict=False)
                ]
                return joined(torch.logical_and, links)
            case Boolean(operator=word, operands=operands):
                combine = torch.logical_and if word == "and" else torch.logical_or
                return joined(combine, [self.condition(operand) for operand in operands])
            case Call():
                return self.call(node)
        raise AssertionError(node)

    def condition(self, node: Node) -> PaddedValue | bool:
        value = self.evaluate(node)
        if not isinstance(value, PaddedValue):
            return bool(value)
        if value.dtype.kind == "b":
            return value
        return with_values(value, value.values != 0, BOOL)

    def call(self, node: Call) -> Operand:
        name, arguments = node.function, node.arguments
        if name in ("min", "max") and len(arguments) > 1:
            pick = elementwise.minimum if name == "min" else elementwise.maximum
            value = self.evaluate(arguments[0])
            for argument in arguments[1:]:
                value = apply(pick, widened([value, self.evaluate(argument)]))
            return value
        if name == "index":
            value = object_level(self.evaluate(arguments[0]))
            assert value.occupied is not None
            return with_values(value, padded.index(value.occupied), INT)
        if name == "bit":
            return bit(self.evaluate(arguments[0]), arguments[1])
        if name == "where":
            chosen = self.condition(arguments[0])
            return where(chosen, [self.evaluate(branch) for branch in arguments[1:]])
        if name == "invariant_mass":
            return self.invariant_mass(node)
        if name in ("sum", "product", "count", "any", "all") or name in _DEFAULTED:
            return self.reduce(node)
        operands = [self.evaluate(argument) for argument in arguments]
        if name in ("abs", "sign"):
            return apply(torch.abs if name == "abs" else elementwise.sign, widened(operands))
        if name == "is_finite":
            value = operands[0]
            assert isinstance(value, PaddedValue)
            if value.dtype.kind == "f":
                return with_values(value, elementwise.is_finite(value.values), BOOL)
            return with_values(value, torch.ones_like(value.values, dtype=torch.bool), BOOL)
        return apply(elementwise.ELEMENTWISE[name], [floating(each) for each in operands])

    def reduce(self, node: Call) -> PaddedValue:
        name = node.function
        first = node.arguments[0]
        value = object_level(
            self.condition(first) if name in ("any", "all") else self.evaluate(first)
        )
        values, occupied = value.values, value.occupied
        assert occupied is not None
        if name == "count":
            bare = first == Name(str(value.collection))
            conditional = value.dtype.kind == "b" and not bare
            return PaddedValue(padded.count(occupied & values if conditional else occupied), INT)
        if name == "any":
            return PaddedValue(padded.any_of(values, occupied), BOOL)
        if name == "all":
            return PaddedValue(~padded.any_of(~values, occupied), BOOL)
        kept = INT if value.dtype.kind in "iu" else value.dtype
        if name in ("sum", "product"):
            summed = (padded.total if name == "sum" else padded.product)(values, occupied)
            return PaddedValue(summed, INT if kept.kind == "b" else kept)
        present = padded.count(occupied)
        if name == "mean":
            found = PaddedValue(padded.mean(values, occupied), kept if kept.kind == "f" else DOUBLE)
        elif name in ("min", "max"):
            found = PaddedValue(padded.extreme(values, occupied, largest=name == "max"), kept)
        elif name in ("at_min", "at_max"):
            key = object_level(self.evaluate(node.arguments[1]))
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
        operands = [floating(self.evaluate(argument)) for argument in node.arguments]
        aligned, _, occupied = align(operands)
        assert occupied is not None
        dtype = common_dtype(operands)
        polar = [as_tensor(each, DOUBLE, occupied).expand(occupied.shape) for each in aligned]
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
