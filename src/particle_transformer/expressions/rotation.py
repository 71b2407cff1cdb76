"""What an expression does when the event is turned about the beam, φ → φ + α.

A node is a number that stays (`Invariant`), an angle that gets a multiple of α (`Angle`), one
component of a transverse vector (`Component`), or none of these (None). Components count only in
pairs, of which a length or a direction is made: pt(px, py), phi(px, py). The rules may fail to
see a symmetry, but claim none that is not there, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

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
    from collections.abc import Callable, Hashable, Sequence

    from particle_transformer.expressions.nodes import Node

__all__ = ["Angle", "Component", "Invariant", "Keys", "Turn", "one_vector", "turn"]


class Keys:
    """Numbers that stand for descriptions, equal ones for equal ones."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def __call__(self, *description: Hashable) -> int:
        """Give the number of a description, whose parts may be numbers of others."""
        return self._numbers.setdefault(description, len(self._numbers))


@dataclass(frozen=True)
class Invariant:
    """The same after any rotation."""


@dataclass(frozen=True)
class Angle:
    """f + weight × α after a rotation by α, modulo 2π.

    Attributes
    ----------
    weight
        0 for φ1 − φ2, which still jumps by 2π where one of the two does.
    wrapped
        Whether it lies in [−π, π] before and after.
    key
        Which angle (`Keys`).
    """

    weight: int
    wrapped: bool
    key: int


@dataclass(frozen=True)
class Component:
    """One of the two components of a vector that turns with the event.

    Attributes
    ----------
    axis
        Which.
    key
        Of which vector (`Keys`).
    nonzero
        Whether it is no sum or default that leaves exactly 0, a vector without direction.
    """

    axis: Literal["x", "y"]
    key: int
    nonzero: bool


Turn: TypeAlias = Invariant | Angle | Component | None

_STAYS = Invariant()
_PICKS = {"leading", "subleading", "nth", "at_max", "at_min"}


def turn(node: Node, lookup: Callable[[str], Turn], keys: Keys, scope: Hashable) -> Turn:
    """Find what a rotation does to an expression.

    Parameters
    ----------
    node
        Its tree.
    lookup
        What it does to a name; `Invariant` for a collection.
    keys
        The same for all expressions that refer to each other.
    scope
        Where the expression stands: in one scope a name always means the same.
    """
    return _Rotation(lookup, keys, scope).turn(node)


@dataclass(frozen=True)
class _Rotation:
    lookup: Callable[[str], Turn]
    keys: Keys
    scope: Hashable

    def turn(self, node: Node) -> Turn:
        match node:
            case Constant():
                return _STAYS
            case Name(name=name):
                return self.lookup(name)
            case Unary(operator="-", operand=operand):
                return self.negative(self.turn(operand))
            case Unary(operand=operand):
                return self.invariant([operand])
            case Binary(operator="+" | "-" as operator, left=left, right=right):
                return self.sum(operator, left, right)
            case Binary(operator="*" | "/" as operator, left=left, right=right):
                return self.scaled(operator, left, right)
            case Binary(left=left, right=right):
                return self.invariant([left, right])
            case Compare(operands=operands) | Boolean(operands=operands):
                return self.invariant(operands)
            case Call():
                return self.call(node)

    def invariant(self, nodes: Sequence[Node]) -> Turn:
        """Whatever is computed of invariants alone is invariant."""
        return _STAYS if all(self.turn(node) == _STAYS for node in nodes) else None

    def negative(self, found: Turn) -> Turn:
        match found:
            case Angle(weight=weight, key=key):
                return replace(found, weight=-weight, key=self.keys("-", key))
            case Component(key=key):
                return replace(found, key=self.keys("-", key))
        return found

    def sum(self, operator: str, left: Node, right: Node) -> Turn:
        match self.turn(left), self.turn(right):
            case Invariant(), Invariant():
                return _STAYS
            case Component(axis=axis) as a, Component(axis=other) as b if axis == other:
                return Component(axis, self.keys(operator, a.key, b.key), nonzero=False)
        return self.combined(operator, left, right, wrapped=False)

    def combined(self, operator: str, left: Node, right: Node, *, wrapped: bool) -> Angle | None:
        """Sum or difference of angles, of which one may be an invariant number."""
        parts: list[Hashable] = []
        weight = 0
        for node, sign in ((left, 1), (right, -1 if operator == "-" else 1)):
            match self.turn(node):
                case Angle() as angle:
                    parts.append(angle.key)
                    weight += sign * angle.weight
                case Invariant():
                    parts.append((self.scope, node))
                case _:
                    return None
        return Angle(weight, wrapped, self.keys("angle", operator, *parts))

    def scaled(self, operator: str, left: Node, right: Node) -> Turn:
        """Products and quotients: a vector may be scaled by an invariant."""
        first, second = self.turn(left), self.turn(right)
        match first, second:
            case Invariant(), Invariant():
                return _STAYS
            case Component(), Invariant():
                return self.stretched(first, right, operator)
            case Invariant(), Component() if operator == "*":
                return self.stretched(second, left, operator)
        return None

    def stretched(self, vector: Component, factor: Node, operator: str) -> Component:
        known = isinstance(factor, Constant) and factor.value != 0
        return replace(
            vector,
            key=self.keys(operator, vector.key, self.scope, factor),
            nonzero=vector.nonzero and known,
        )

    def call(self, node: Call) -> Turn:
        name, arguments = node.function, node.arguments
        if name == "index":
            return _STAYS
        if name == "count":
            return None if self.turn(arguments[0]) is None else _STAYS
        if name in ("sum", "mean"):
            return self.total(node)
        if name in _PICKS:
            if name[:2] == "at" and self.turn(arguments[1]) != _STAYS:
                return None
            return self.either((name, self.scope, *arguments[1:]), arguments[0], node.default)
        if name == "where":
            if self.turn(arguments[0]) != _STAYS:
                return None
            return self.either((name, self.scope, arguments[0]), *arguments[1:])
        if node.default is not None and self.turn(node.default) != _STAYS:
            return None
        found = [self.turn(argument) for argument in arguments]
        return self.kinematic(node, found) or self.invariant(arguments)

    def total(self, node: Call) -> Turn:
        """Sums and means of vectors are vectors; a default of 0 keeps them so."""
        found = self.turn(node.arguments[0])
        default = node.default
        if isinstance(found, Component) and (default is None or _is_zero(default)):
            return replace(found, key=self.keys(node.function, found.key), nonzero=False)
        if found == _STAYS and (default is None or self.turn(default) == _STAYS):
            return _STAYS
        return None

    def either(self, choice: tuple[Hashable, ...], first: Node, second: Node | None) -> Turn:
        """What is one of two, by an invariant `choice`."""
        assert second is not None  # the grammar demands the default
        match self.turn(first), self.turn(second):
            case Invariant(), Invariant():
                return _STAYS
            case Angle(weight=weight) as a, Angle(weight=other) as b if weight == other:
                return Angle(weight, a.wrapped and b.wrapped, self.keys(*choice, a.key, b.key))
            case Component(axis=axis) as a, Component(axis=other) as b if axis == other:
                key = self.keys(*choice, a.key, b.key)
                return Component(axis, key, a.nonzero and b.nonzero)
            case Component() as a, Invariant() if _is_zero(second):
                return replace(a, key=self.keys(*choice, a.key, "0"), nonzero=False)
            case Invariant(), Component() as b if _is_zero(first):
                return replace(b, key=self.keys(*choice, "0", b.key), nonzero=False)
        return None

    def kinematic(self, node: Call, found: list[Turn]) -> Turn:
        """A function of angles or components; None where it has none that it understands."""
        match node.function, found:
            case "cos" | "sin" as name, [Angle(weight=0 | 1) as angle]:
                return self.projection(name == "cos", angle, nonzero=True)
            case "tan", [Angle(weight=0)]:
                return _STAYS
            case "px" | "py" as name, [Invariant(), Angle(weight=0 | 1) as angle]:
                pt = node.arguments[0]
                nonzero = isinstance(pt, Name) and pt.name.rpartition(".")[2].lower() == "pt"
                return self.projection(name == "px", angle, self.scope, pt, nonzero=nonzero)
            case "delta_phi", _:
                difference = self.combined("-", *node.arguments, wrapped=True)
                return _STAYS if difference is not None and not difference.weight else difference
            case "delta_r" | "transverse_mass", [Invariant(), a, Invariant(), b]:
                return _STAYS if _turn_together(a, b) else None
            case "pair_mass", [
                Invariant(), Invariant(), a, Invariant(),
                Invariant(), Invariant(), b, Invariant(),
            ]:  # fmt: skip
                return _STAYS if _turn_together(a, b) else None
            case "invariant_mass", [Invariant(), Invariant(), Angle(), Invariant()]:
                return _STAYS
            case "pt" | "eta" | "mass", [Component() as x, Component() as y, *rest] if _one_vector(
                x, y
            ) and all(other == _STAYS for other in rest):
                return _STAYS
            case ("phi", [Component() as x, Component() as y]) | (
                "arctan2",
                [Component() as y, Component() as x],
            ) if _one_vector(x, y) and x.nonzero and y.nonzero:
                return Angle(1, wrapped=True, key=self.keys("phi", x.key))
        return None

    def projection(
        self, along_x: bool, angle: Angle, *length: Hashable, nonzero: bool
    ) -> Component | Invariant:
        if not angle.weight:
            return _STAYS
        return Component("x" if along_x else "y", self.keys("polar", angle.key, *length), nonzero)


def one_vector(x: Turn, y: Turn) -> bool:
    """Whether these are the two components of one vector."""
    return isinstance(x, Component) and isinstance(y, Component) and _one_vector(x, y)


def _one_vector(x: Component, y: Component) -> bool:
    return (x.axis, y.axis) == ("x", "y") and x.key == y.key


def _weight(found: Angle | Invariant) -> int:
    return found.weight if isinstance(found, Angle) else 0


def _turn_together(a: Turn, b: Turn) -> bool:
    ends = [found for found in (a, b) if isinstance(found, Angle | Invariant)]
    return len(ends) == 2 and _weight(ends[0]) == _weight(ends[1])


def _is_zero(node: Node) -> bool:
    return isinstance(node, Constant) and node.value == 0
