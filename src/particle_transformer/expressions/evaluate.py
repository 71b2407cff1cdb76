"""Evaluation of the tree with numpy.

Dtypes: a constant never promotes a column (float32 stays float32); integer columns compute in
int64, their quotients, powers and functions in float64. Division by zero, the logarithm of a
negative number and overflow give inf or NaN silently: the policy for non-finite features counts
them later. The remainder of integers has no such value: modulo 0 it is an error. ``and``, ``or``
and ``where`` evaluate all their operands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import AOTError
from particle_transformer.expressions import reductions
from particle_transformer.expressions.elementwise import (
    ARITHMETIC,
    COMPARE,
    ELEMENTWISE,
    bit,
    choose,
    divisible,
    floating,
    widen,
)
from particle_transformer.expressions.functions import FUNCTIONS
from particle_transformer.expressions.nodes import (
    Binary,
    Boolean,
    Call,
    Compare,
    Constant,
    Name,
    Unary,
)
from particle_transformer.expressions.parse import complaint, quoted
from particle_transformer.expressions.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from particle_transformer.errors import ExpressionError
    from particle_transformer.expressions.elementwise import Operand
    from particle_transformer.expressions.nodes import Node

__all__ = ["Evaluator"]

# Functions of the objects of each event; min and max are that with a single argument.
_REDUCTIONS = {
    "sum", "product", "count", "any", "all", "mean", "leading", "subleading", "nth", "at_max",
    "at_min", "invariant_mass",
}  # fmt: skip


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
                return self.apply(node, np.negative, [self.evaluate(operand)], widen)
            case Binary(operator="**", left=left, right=Constant(value=exponent)):
                power = [self.evaluate(left)]
                return self.apply(node, lambda base: base**exponent, power, floating)
            case Binary(operator=symbol, left=left, right=right):
                sides = [self.evaluate(left), self.evaluate(right)]
                prepare = divisible if symbol == "%" else widen
                return self.apply(node, ARITHMETIC[symbol], sides, prepare)
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
            shown = quoted(self.text)
            if shown[1:-1] in str(error):
                raise
            message = f"{error} (in expression {shown})"
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
            link = self.apply(node, COMPARE[symbol], [left, right])
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
            try:
                operands = prepare(operands)
            except ArithmeticError as error:
                raise self.error(node, str(error)) from None
        return Value(np.asarray(function(*operands)), collection, offsets)

    def call(self, node: Call) -> Value:
        """Evaluate a function."""
        name = node.function
        if name in ("min", "max") and len(node.arguments) > 1:
            ufunc = np.minimum if name == "min" else np.maximum
            value = self.evaluate(node.arguments[0])
            for argument in node.arguments[1:]:
                value = self.apply(node, ufunc, [value, self.evaluate(argument)], widen)
            return value
        if name in _REDUCTIONS or name in ("min", "max"):
            return self.reduce(node)
        if name == "index":
            value = self.objects(node, bare=True)[0]
            assert value.offsets is not None  # as objects() says
            return Value(reductions.index(value.offsets), value.collection, value.offsets)
        if name == "bit":
            return self.bit(node)
        if name == "where":
            condition, *branches = node.arguments
            values = [self.condition(condition), *(self.evaluate(branch) for branch in branches)]
            return self.apply(node, np.where, values, choose)
        if name == "abs" and isinstance(node.arguments[0], Compare):
            raise self.error(node, "abs of a comparison; write abs(x) < 2, not abs(x < 2)")
        arguments = [self.evaluate(argument) for argument in node.arguments]
        if name in ("abs", "sign"):
            return self.apply(node, np.abs if name == "abs" else np.sign, arguments, widen)
        if name == "is_finite":
            return self.apply(node, np.isfinite, arguments)
        return self.apply(node, ELEMENTWISE[name], arguments, floating)

    def bit(self, node: Call) -> Value:
        """Test one bit of an integer."""
        argument, position = node.arguments
        assert isinstance(position, Constant)  # the parser sees to it
        value = self.evaluate(argument)
        dtype = value.values.dtype
        if dtype.kind not in "iu":
            raise self.error(argument, f"bit(x, n) needs an integer x, but it is of type {dtype}")
        if position.value >= 8 * dtype.itemsize:
            raise self.error(
                position,
                f"bit {position.value} of an integer of type {dtype}, "
                f"which has the bits 0 to {8 * dtype.itemsize - 1}",
            )
        return self.apply(node, bit(int(position.value)), [value])

    def objects(self, node: Call, *, bare: bool = False) -> list[Value]:
        """Give the arguments of a function of objects: each object-level, of one collection.

        With `bare` a collection as such (``jets``) is allowed.
        """
        signature = FUNCTIONS[node.function]
        names = signature.arguments
        values = []
        for name, argument in zip(names, node.arguments, strict=True):
            if isinstance(argument, Name) and bare:
                value = self.look_up(argument)
            elif node.function in ("any", "all"):
                value = self.condition(argument)
            else:
                value = self.evaluate(argument)
            values.append(value)
            if signature.integer is not None:
                break  # the last argument is the constant
            # A massless collection has no mass column: such a function wants one column at least.
            if value.offsets is None and node.function != "invariant_mass":
                raise self.misshapen(node, name)
        if values[0].offsets is None and all(value.offsets is None for value in values):
            raise self.misshapen(node, names[0])
        return values

    def misshapen(self, node: Call, argument: str) -> ExpressionError:
        """Word the error about an event-level argument where objects are needed."""
        name = node.function
        hint = "; of two or more arguments it is elementwise" if name in ("min", "max") else ""
        shown = ", ".join(FUNCTIONS[name].arguments)
        return self.error(
            node,
            f"{name}({shown}) works on the objects of each event, but {argument} is one value"
            f"{hint}",
        )

    def reduce(self, node: Call) -> Value:
        """Reduce the objects of each event to one value."""
        name = node.function
        arguments = self.objects(node, bare=name == "count")
        if name == "invariant_mass":
            operands, _, offsets = self.align(node, arguments)
            assert offsets is not None  # as objects() says
            default = self.default(node, len(offsets) - 1)
            return Value(reductions.invariant_mass(floating(operands), offsets, default))
        columns, _, offsets = self.align(node, arguments)
        values = np.asarray(columns[0])
        assert offsets is not None  # as objects() says
        if name == "count":
            bare = node.arguments[0] == Name(str(arguments[0].collection))
            conditional = values.dtype.kind == "b" and not bare
            counts = reductions.total(values, offsets) if conditional else reductions.count(offsets)
            return Value(counts)
        if name in ("any", "all"):
            combine = np.logical_or if name == "any" else np.logical_and
            return Value(reductions.any_all(combine, values, offsets))
        if values.dtype.kind in "iu":
            try:
                values = np.asarray(widen([values])[0])
            except ArithmeticError as error:
                raise self.error(node, str(error)) from None
        if name in ("sum", "product"):
            return Value(getattr(reductions, "total" if name == "sum" else name)(values, offsets))
        default = self.default(node, len(offsets) - 1)
        if name == "mean":
            return Value(reductions.mean(values, offsets, default))
        if name in ("min", "max"):
            ufunc = np.minimum if name == "min" else np.maximum
            return Value(reductions.extreme(ufunc, values, offsets, default))
        if name in ("at_min", "at_max"):
            picked = np.fmin if name == "at_min" else np.fmax
            key = np.asarray(columns[1])
            return Value(reductions.at_extreme(picked, values, key, offsets, default))
        last = node.arguments[-1]
        position = int(last.value) if name == "nth" and isinstance(last, Constant) else 0
        if name == "subleading":
            position = 1
        return Value(reductions.nth(values, offsets, position, default))

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
