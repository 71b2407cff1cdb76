"""Expression: parsed text, and its evaluation to one value per event or per object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.expressions.evaluate import Evaluator
from particle_transformer.expressions.nodes import Binary, Boolean, Call, Compare, Name, Unary
from particle_transformer.expressions.parse import complaint, parse_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from particle_transformer.expressions.nodes import Node
    from particle_transformer.expressions.values import Value

__all__ = ["Expression", "evaluate_events", "evaluate_objects", "parse"]


@dataclass(frozen=True)
class Expression:
    """A parsed expression; equal to another where the trees are equal.

    Attributes
    ----------
    text
        What the user wrote.
    tree
        The nodes (`particle_transformer.expressions.nodes`).
    names
        The columns and collections it reads, plain (``pt``) or dotted (``jets.pt``), each once,
        in order of appearance.
    """

    text: str = field(compare=False)
    tree: Node
    names: tuple[str, ...] = field(compare=False)

    def evaluate(self, lookup: Callable[[str], Value]) -> Value:
        """Evaluate with numpy.

        Parameters
        ----------
        lookup
            Gives the column of a name, or raises an `AOTError`, which is passed on with the
            expression's text.

        Returns
        -------
        Value
            Event-level or object-level, as the expression is; 0-d for constants.

        Raises
        ------
        ExpressionError
            If values do not go together: two collections, a number where a condition is needed,
            a reduction of a single value.
        """
        with np.errstate(all="ignore"):
            return Evaluator(self.text, lookup).evaluate(self.tree)


def parse(text: str) -> Expression:
    """Parse an expression of the analysis file.

    The grammar is a part of Python's: numbers, names with at most one dot, ``+ - * / % **`` (with
    a plain number as exponent), comparisons and chains of them, ``and or not``, and the functions
    of `FUNCTIONS`. The text is parsed only; nothing of it is ever executed.

    Parameters
    ----------
    text
        The expression; at most 2000 characters and 80 levels of nesting.

    Raises
    ------
    ExpressionError
        If it is anything else; the message says the column.
    """
    tree = parse_tree(text)
    names = dict.fromkeys(node.name for node in _walk(tree) if isinstance(node, Name))
    return Expression(text, tree, tuple(names))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case Unary(operand=operand):
            yield from _walk(operand)
        case Binary(left=left, right=right):
            yield from _walk(left)
            yield from _walk(right)
        case Compare(operands=operands) | Boolean(operands=operands):
            for operand in operands:
                yield from _walk(operand)
        case Call(arguments=arguments, default=default):
            for argument in arguments:
                yield from _walk(argument)
            if default is not None:
                yield from _walk(default)


def evaluate_events(
    expression: Expression,
    lookup: Callable[[str], Value],
    events: int,
    *,
    condition: bool = False,
) -> NDArray[Any]:
    """Evaluate to one value per event.

    Parameters
    ----------
    expression, lookup
        See `Expression.evaluate`.
    events
        The number of events; a constant is repeated so often.
    condition
        Whether a selection is wanted: the result is boolean, and a floating one is an error.

    Returns
    -------
    (events,)

    Raises
    ------
    ExpressionError
        If the expression gives one value per object.
    """
    value = _evaluate(expression, lookup, condition)
    if value.collection is not None:
        raise complaint(
            expression.text,
            expression.tree.column,
            f"one value per event is needed, but this is one per object of {value.collection}; "
            f"use sum(...), max(...), count(...)",
        )
    return _broadcast(expression, value.values, events)


def evaluate_objects(
    expression: Expression,
    lookup: Callable[[str], Value],
    collection: str,
    offsets: NDArray[np.int64],
    *,
    condition: bool = False,
) -> NDArray[Any]:
    """Evaluate to one value per object of a collection.

    Parameters
    ----------
    expression, lookup
        See `Expression.evaluate`.
    collection, offsets
        The collection and its offsets, int64 (events + 1,); constants and event-level values are
        repeated for each object.
    condition
        Whether a selection is wanted: the result is boolean, and a floating one is an error.

    Returns
    -------
    (objects,)

    Raises
    ------
    ExpressionError
        If the expression gives one value per object of another collection.
    """
    value = _evaluate(expression, lookup, condition)
    if value.collection not in (None, collection):
        raise complaint(
            expression.text,
            expression.tree.column,
            f"one value per object of {collection} is needed, but this is one per object of "
            f"{value.collection}; use sum(...), max(...), count(...)",
        )
    if value.collection is not None:
        return value.values
    per_event = _broadcast(expression, value.values, len(offsets) - 1)
    return np.repeat(per_event, np.diff(offsets))


def _evaluate(expression: Expression, lookup: Callable[[str], Value], condition: bool) -> Value:
    if not condition:
        return expression.evaluate(lookup)
    with np.errstate(all="ignore"):
        return Evaluator(expression.text, lookup).condition(expression.tree)


def _broadcast(expression: Expression, values: NDArray[Any], events: int) -> NDArray[Any]:
    if values.ndim and len(values) != events:
        raise complaint(
            expression.text,
            expression.tree.column,
            f"it gives {len(values)} values for {events} events",
        )
    return np.full(events, values) if values.ndim == 0 else values
