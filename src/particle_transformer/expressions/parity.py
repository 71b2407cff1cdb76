"""Even or odd: what an expression does when some of its quantities change sign.

A reflection (η → −η, or φ → −φ) keeps some quantities and reverses others. From their parities
follows that of an expression, node by node. The rules may fail to see a symmetry, but claim none
that is not there. Angles are what they are modulo 2π: Δφ = π of two objects exactly back to back
is its own reflection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    from collections.abc import Callable, Iterable

    from particle_transformer.expressions.nodes import Node

__all__ = ["EVEN", "NEITHER", "ODD", "Parity", "parity"]


@dataclass(frozen=True)
class Parity:
    """What is known of f(reflected event).

    Attributes
    ----------
    even
        It is f.
    odd
        It is −f. Both hold for 0.
    exact
        Also the sign of a zero is the claimed one (for 0 itself, that of an even number): only
        then is 1/f what the claim makes of it. A difference and the sum over no object give +0
        on either side.
    """

    even: bool
    odd: bool
    exact: bool = True

    @property
    def known(self) -> bool:
        """Whether it is even or odd."""
        return self.even or self.odd


EVEN = Parity(even=True, odd=False)
ODD = Parity(even=False, odd=True)
ZERO = Parity(even=True, odd=True)
NEITHER = Parity(even=False, odd=False, exact=False)

_OF_EVEN = {
    "sqrt", "log", "log10", "exp", "bit", "min", "max", "product", "any", "all",
}  # fmt: skip
_EVEN_FUNCTIONS = {"abs", "cos", "cosh"}
_ODD_FUNCTIONS = {"sin", "tan", "sinh", "tanh", "sign"}
_PICKS = {"leading", "subleading", "nth", "at_max", "at_min"}


def parity(
    node: Node, lookup: Callable[[str], Parity], one_vector: Callable[[Node, Node], bool]
) -> Parity:
    """Find the parity of an expression under one reflection.

    Parameters
    ----------
    node
        Its tree.
    lookup
        The parity of a name; `EVEN` for a collection.
    one_vector
        Whether two nodes are the x and y component of one transverse vector, so that both are 0
        where one is.
    """
    return _Reflection(lookup, one_vector).parity(node)


@dataclass(frozen=True)
class _Reflection:
    lookup: Callable[[str], Parity]
    one_vector: Callable[[Node, Node], bool]

    def parity(self, node: Node) -> Parity:
        match node:
            case Constant(value=value):
                return ZERO if value == 0 and not isinstance(value, bool) else EVEN
            case Name(name=name):
                return self.lookup(name)
            case Unary(operator="not", operand=operand):
                return _even(self.parity(operand).even)
            case Unary(operand=operand):
                return self.parity(operand)
            case Binary(operator="**", left=left, right=Constant(value=exponent)):
                return _power(self.parity(left), exponent)
            case Binary(operator=operator, left=left, right=right):
                return _arithmetic(operator, self.parity(left), self.parity(right))
            case Compare(operands=operands, operators=operators):
                sides = [self.parity(operand) for operand in operands]
                return _even(
                    all(
                        (a.even and b.even) or (a.odd and b.odd and operator in ("==", "!="))
                        for operator, a, b in zip(operators, sides, sides[1:], strict=False)
                    )
                )
            case Boolean(operands=operands):
                return _even(all(self.parity(operand).even for operand in operands))
            case Call():
                return self.call(node)

    def call(self, node: Call) -> Parity:
        name = node.function
        if name == "index":
            return EVEN
        arguments = [self.parity(argument) for argument in node.arguments]
        first = arguments[0]
        if node.default is not None:
            first = _alike(first, self.parity(node.default))
        if name in ("count", "is_finite"):
            return _even(first.known)
        if name in _OF_EVEN:
            return _even(
                all(a.even for a in (first, *arguments)), exact=_exact((first, *arguments))
            )
        if name in _EVEN_FUNCTIONS:
            return _even(first.known)
        if name in _ODD_FUNCTIONS:
            return replace(first, exact=first.exact and (first.even or name != "sign"))
        if name in ("sum", "mean"):
            return replace(first, exact=first.exact and first.even)
        if name in _PICKS:
            return first if name[:2] != "at" or arguments[1].even else NEITHER
        if name == "where":
            return _alike(*arguments[1:]) if first.even else NEITHER
        return self.kinematic(node, arguments)

    def kinematic(self, node: Call, arguments: list[Parity]) -> Parity:
        """Parity of a function of angles or momenta."""
        first = arguments[0]
        match node.function:
            case "px":  # pt cos φ
                return _product(first, _even(arguments[1].known))
            case "py" | "pz":  # pt sin φ, pt sinh η
                return _product(*arguments)
            case "energy" | "pt" | "mass":  # squares of their arguments
                return _even(all(a.known for a in arguments))
            case "eta":  # asinh(pz / |p_T|)
                if not all(a.known for a in arguments[:2]):
                    return NEITHER
                return replace(arguments[2], exact=arguments[2].exact and arguments[2].even)
            case "delta_phi":
                return _sum(*arguments)
            case "delta_r":
                return _even(_share(arguments[0::2]) and _share(arguments[1::2]))
            case "transverse_mass":
                return _even(_evens(arguments[0::2]) and _share(arguments[1::2]))
            case "invariant_mass":
                default = node.default is None or self.parity(node.default).even
                return _even(default and _evens(arguments[:1]) and all(a.known for a in arguments))
            case "pair_mass":
                scalars = arguments[0::4] + arguments[3::4]
                angles = _share(arguments[1::4]) and _share(arguments[2::4])
                return _even(_evens(scalars) and angles)
            case "arctan2":
                y, x = arguments
                # ±π where y is ±0 and x negative.
                if not (x.even and x.exact and y.exact):
                    return NEITHER
                return replace(y, odd=y.odd and not y.even, exact=y.even)
            case "phi":
                x, y = arguments
                if x.even and y.even:
                    return EVEN
                if x.even and y.odd and self.one_vector(*node.arguments):
                    return replace(ODD, exact=False)
        return NEITHER


def _even(holds: bool, *, exact: bool = True) -> Parity:
    return Parity(even=True, odd=False, exact=exact) if holds else NEITHER


def _exact(parities: Iterable[Parity]) -> bool:
    return all(a.exact for a in parities)


def _evens(parities: Iterable[Parity]) -> bool:
    return all(a.even for a in parities)


def _share(parities: list[Parity]) -> bool:
    """Whether all are even, or all are odd."""
    return _evens(parities) or all(a.odd for a in parities)


def _alike(a: Parity, b: Parity) -> Parity:
    """Parity of what is a or b."""
    found = Parity(a.even and b.even, a.odd and b.odd, a.exact and b.exact)
    if not found.known:
        return NEITHER
    return replace(found, exact=found.exact and (found.even or ZERO not in (a, b)))


def _sum(a: Parity, b: Parity) -> Parity:
    found = _alike(a, b)
    return replace(found, exact=found.exact and found.even)


def _product(a: Parity, b: Parity) -> Parity:
    even = (a.even and b.even) or (a.odd and b.odd)
    odd = (a.even and b.odd) or (a.odd and b.even)
    # 0 x is a zero with the sign of x.
    return Parity(even, odd, exact=a.exact and b.exact and not (even and odd))


def _arithmetic(operator: str, a: Parity, b: Parity) -> Parity:
    if operator in "+-":
        return _sum(a, b)
    if operator == "*":
        return _product(a, b)
    if operator == "/":
        if not b.exact:
            return NEITHER
        return _product(a, replace(b, odd=b.odd and not b.even))
    return replace(_alike(a, b), exact=False)  # %: the remainder of −a by −b is the negative


def _power(base: Parity, exponent: float) -> Parity:
    whole = exponent == int(exponent)
    if whole and exponent % 2 == 0:
        return _even(base.known)
    if not whole:
        return _even(base.even, exact=base.exact)
    if exponent > 0:
        return base
    return replace(base, odd=base.odd and not base.even) if base.exact else NEITHER
