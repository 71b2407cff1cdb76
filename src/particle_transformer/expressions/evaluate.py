"""Evaluation of the tree with numpy.

Dtypes: a constant never promotes a column (float32 stays float32); integer columns compute in
int64, their quotients, powers and functions in float64. Division by zero, the logarithm of a
negative number and overflow give inf or NaN silently: the policy for non-finite features counts
them later. ``and`` and ``or`` evaluate all their operands.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from particle_transformer import kinematics
from particle_transformer.errors import AOTError
from particle_transformer.expressions import reductions
from particle_transformer.expressions.nodes import (
    Binary,
    Boolean,
    Call,
    Compare,
    Constant,
    Name,
    Unary,
)
from particle_transformer.expressions.parse import complaint
from particle_transformer.expressions.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from particle_transformer.errors import ExpressionError
    from particle_transformer.expressions.nodes import Node

__all__ = ["Evaluator"]

Array: TypeAlias = "NDArray[Any]"
Operand: TypeAlias = "NDArray[Any] | bool | int | float"

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
}
_REDUCTIONS = {"sum", "count", "any", "all", "mean", "leading", "subleading"}
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in (
            "sqrt", "log", "log10", "exp", "sin", "cos", "tan", "arctan2", "sinh", "cosh", "tanh",
        )
    },
    **{
        name: getattr(kinematics, name)
        for name in (
            "delta_phi", "delta_r", "px", "py", "pz", "energy",
            "pt", "eta", "phi", "mass", "transverse_mass",
        )
    },
}  # fmt: skip


def _widen(operands: list[Operand]) -> list[Operand]:
    """Make integers and booleans int64, so that uint8 does not wrap and −True is −1.

    Beside a floating column they stay as they are, because int64 would promote float32.
    """
    if any(isinstance(operand, np.ndarray) and operand.dtype.kind == "f" for operand in operands):
        return operands
    return [
        operand.astype(np.int64, copy=False)
        if isinstance(operand, np.ndarray)
        else (int(operand) if isinstance(operand, bool) else operand)
        for operand in operands
    ]


def _floating(operands: list[Operand]) -> list[Operand]:
    """Make integers and booleans float64: numpy would take float16 for log(uint8)."""
    return [
        operand
        if isinstance(operand, np.ndarray) and operand.dtype.kind == "f"
        else (operand.astype(np.float64) if isinstance(operand, np.ndarray) else float(operand))
        for operand in operands
    ]


class Evaluator:
    """Evaluates the nodes of one expression against the columns `lookup` knows."""

    def __init__(self, text: str, lookup: Callable[[str], Value]) -> None:
        self.text = text
        self.lookup = lookup

    def error(self, node: Node, message: str) -> ExpressionError:
        """Word the error about `node`."""
        return complaint(self.text, node.column, message)

    def evaluate(self, node: Node) -> Value:
        """Give the value of `node`."""
        match node:
            case Constant():
                return Value(np.asarray(node.value))
            case Name():
                return self.name(node)
            case Unary(operator="not", operand=operand):
                return self.apply(node, np.logical_not, [self.condition(operand)])
            case Unary(operand=operand):
                return self.apply(node, np.negative, [self.evaluate(operand)], _widen)
            case Binary(operator="**", left=left, right=Constant(value=exponent)):
                power = [self.evaluate(left)]
                return self.apply(node, lambda base: base**exponent, power, _floating)
            case Binary(operator=symbol, left=left, right=right):
                sides = [self.evaluate(left), self.evaluate(right)]
                return self.apply(node, _ARITHMETIC[symbol], sides, _widen)
            case Compare():
                return self.compare(node)
            case Boolean(operator=word, operands=operands):
                combine = np.logical_and if word == "and" else np.logical_or
                value = self.condition(operands[0])
                for operand in operands[1:]:
                    value = self.apply(node, combine, [value, self.condition(operand)])
                return value
            case Call():
                return self.call(node)

    def name(self, node: Name) -> Value:
        """Give the column of a name that is not a collection as such."""
        value = self.look_up(node)
        if value.collection == node.name:
            raise self.error(
                node, f"{node.name} is a collection; write count({node.name}), or one of its fields"
            )
        return value

    def look_up(self, node: Name) -> Value:
        """Give the column or collection of a name."""
        try:
            value = self.lookup(node.name)
        except AOTError as error:
            if self.text in str(error):
                raise
            message = f"{error} (in expression '{self.text}')"
            raise type(error)(message) from error
        if value.values.dtype.kind not in "biuf":
            raise self.error(
                node, f"{node.name} is of type {value.values.dtype}; expected numbers or booleans"
            )
        return value

    def condition(self, node: Node) -> Value:
        """Give the value of `node`, which must be true or false; integers mean ≠ 0."""
        value = self.evaluate(node)
        kind = value.values.dtype.kind
        if kind == "f":
            raise self.error(
                node, "a condition is expected here, not a number; compare, as in 'pt > 30'"
            )
        if kind == "b":
            return value
        return Value(value.values != 0, value.collection, value.offsets)

    def compare(self, node: Compare) -> Value:
        """Evaluate a chain of comparisons; each operand once."""
        operands = [self.evaluate(operand) for operand in node.operands]
        result: Value | None = None
        for symbol, left, right in zip(node.operators, operands, operands[1:], strict=False):
            link = self.apply(node, _COMPARE[symbol], [left, right])
            result = link if result is None else self.apply(node, np.logical_and, [result, link])
        assert result is not None  # a Compare has at least one operator
        return result

    def align(
        self, node: Node, values: Sequence[Value]
    ) -> tuple[list[Operand], str | None, NDArray[np.int64] | None]:
        """Bring values to one shape; constants become Python scalars, which never promote."""
        ragged = [value for value in values if value.collection is not None]
        names = list(dict.fromkeys(str(value.collection) for value in ragged))
        if len(names) > 1:
            raise self.error(
                node,
                f"objects of {names[0]} and {names[1]} cannot be combined one by one; reduce one "
                f"of them with sum(...), max(...), leading(...)",
            )
        collection, offsets = (ragged[0].collection, ragged[0].offsets) if ragged else (None, None)
        flat = [value.values for value in values if value.collection is None and value.values.ndim]
        lengths = {len(column) for column in flat}
        if offsets is not None:
            lengths.add(len(offsets) - 1)
        if len(lengths) > 1:
            raise self.error(node, f"columns of different numbers of events: {sorted(lengths)}")
        operands: list[Operand] = []
        for value in values:
            if value.values.ndim == 0:
                operands.append(value.values.item())
            elif offsets is not None and value.collection is None:
                operands.append(np.repeat(value.values, np.diff(offsets)))
            else:
                operands.append(value.values)
        return operands, collection, offsets

    def apply(
        self,
        node: Node,
        function: Callable[..., Any],
        values: Sequence[Value],
        prepare: Callable[[list[Operand]], list[Operand]] | None = None,
    ) -> Value:
        """Apply an elementwise function."""
        operands, collection, offsets = self.align(node, values)
        if all(not isinstance(operand, np.ndarray) for operand in operands):
            # numpy scalars overflow to inf where Python raises, and never grow beyond 64 bits.
            operands = [np.asarray(operand) for operand in operands]
        if prepare is not None:
            operands = prepare(operands)
        return Value(np.asarray(function(*operands)), collection, offsets)

    def call(self, node: Call) -> Value:
        """Evaluate a function."""
        if node.function in _REDUCTIONS:
            return self.reduce(node)
        if node.function in ("min", "max"):
            if len(node.arguments) == 1:
                return self.reduce(node)
            ufunc = np.minimum if node.function == "min" else np.maximum
            value = self.evaluate(node.arguments[0])
            for argument in node.arguments[1:]:
                value = self.apply(node, ufunc, [value, self.evaluate(argument)], _widen)
            return value
        if node.function == "where":
            condition, *branches = node.arguments
            values = [self.condition(condition), *(self.evaluate(branch) for branch in branches)]
            return self.apply(node, np.where, values)
        arguments = [self.evaluate(argument) for argument in node.arguments]
        if node.function == "abs":
            return self.apply(node, np.abs, arguments, _widen)
        return self.apply(node, _ELEMENTWISE[node.function], arguments, _floating)

    def reduce(self, node: Call) -> Value:
        """Reduce the objects of each event to one value."""
        (argument,) = node.arguments
        name = node.function
        if name == "count" and isinstance(argument, Name):
            value = self.look_up(argument)
        elif name in ("any", "all"):
            value = self.condition(argument)
        else:
            value = self.evaluate(argument)
        values, offsets = value.values, value.offsets
        if offsets is None:
            hint = "; of two or more arguments it is elementwise" if name in ("min", "max") else ""
            raise self.error(
                node, f"{name}(x) works on the objects of each event, but x is one value{hint}"
            )
        if name == "count":
            bare = isinstance(argument, Name) and argument.name == value.collection
            conditional = values.dtype.kind == "b" and not bare
            counts = reductions.total(values, offsets) if conditional else reductions.count(offsets)
            return Value(counts)
        if name in ("any", "all"):
            combine = np.logical_or if name == "any" else np.logical_and
            return Value(reductions.any_all(combine, values, offsets))
        if values.dtype.kind in "iu":
            values = values.astype(np.int64, copy=False)
        if name == "sum":
            return Value(reductions.total(values, offsets))
        default = self.default(node, len(offsets) - 1)
        if name == "mean":
            return Value(reductions.mean(values, offsets, default))
        if name in ("min", "max"):
            ufunc = np.minimum if name == "min" else np.maximum
            return Value(reductions.extreme(ufunc, values, offsets, default))
        return Value(reductions.nth(values, offsets, int(name == "subleading"), default))

    def default(self, node: Call, events: int) -> Operand:
        """Give what an event without objects gets: NaN unless the call says otherwise."""
        if node.default is None:
            return float("nan")
        value = self.evaluate(node.default)
        if value.collection is not None:
            raise self.error(
                node.default, "the default must be one value per event, not one per object"
            )
        if value.values.ndim == 0:
            constant: Operand = value.values.item()
            return constant
        if len(value.values) != events:
            raise self.error(
                node.default, f"columns of different numbers of events: {events} and others"
            )
        return value.values
