"""The tree of an expression: small frozen nodes that know nothing of how they are evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "Binary",
    "Boolean",
    "Call",
    "Compare",
    "Constant",
    "Name",
    "Node",
    "Unary",
]

ArithmeticOperator: TypeAlias = Literal["+", "-", "*", "/", "%", "**"]
ComparisonOperator: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True)
class _Located:
    """Where a node begins in the text: 1 for the first character."""

    column: int = field(default=1, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True)
class Constant(_Located):
    """A finite number that fits in int64 or float64, or True or False."""

    value: bool | int | float


@dataclass(frozen=True)
class Name(_Located):
    """A column (``pt``), a column of something else (``met.phi``) or a collection (``jets``)."""

    name: str


@dataclass(frozen=True)
class Unary(_Located):
    """−x, or not x."""

    operator: Literal["-", "not"]
    operand: Node


@dataclass(frozen=True)
class Binary(_Located):
    """Arithmetic. The right side of ``**`` is always a `Constant`."""

    operator: ArithmeticOperator
    left: Node
    right: Node


@dataclass(frozen=True)
class Compare(_Located):
    """A chain of comparisons: operands[0] operators[0] operands[1] operators[1] …, all true."""

    operands: tuple[Node, ...]
    operators: tuple[ComparisonOperator, ...]


@dataclass(frozen=True)
class Boolean(_Located):
    """All (``and``) or any (``or``) of two or more operands; each of them is evaluated."""

    operator: Literal["and", "or"]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Call(_Located):
    """A function of the table `functions.FUNCTIONS`; `default` serves events without objects."""

    function: str
    arguments: tuple[Node, ...]
    default: Node | None = None


Node: TypeAlias = Constant | Name | Unary | Binary | Compare | Boolean | Call
