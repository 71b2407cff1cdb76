"""How an expression behaves under the symmetries of a collider.

Collisions of two equal beams look the same after η → −η (``flip_eta``), which exchanges the beams,
after φ → −φ (``flip_phi``), and after φ → φ + α (``rotate_phi``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from particle_transformer.expressions.parity import EVEN, Parity, parity
from particle_transformer.expressions.rotation import Angle, Invariant, Turn, one_vector, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from particle_transformer.expressions.expression import Expression
    from particle_transformer.expressions.nodes import Node
    from particle_transformer.expressions.rotation import Keys

__all__ = ["INVARIANT", "TRANSFORMATIONS", "Symmetry", "Transformation", "symmetry"]

Transformation: TypeAlias = Literal["flip_eta", "flip_phi", "rotate_phi"]

TRANSFORMATIONS: tuple[Transformation, ...] = get_args(Transformation)
"""Every one, in the order in which they are applied."""


@dataclass(frozen=True)
class Symmetry:
    """What the transformations do to the value f of an expression.

    Attributes
    ----------
    flip_eta, flip_phi
        Whether f is even or odd.
    rotate_phi
        What a rotation does; None where nothing is known.
    """

    flip_eta: Parity
    flip_phi: Parity
    rotate_phi: Turn

    def sign(self, flip: Literal["flip_eta", "flip_phi"]) -> int | None:
        """1 where f is even, −1 where it is odd, None where neither is known."""
        found: Parity = getattr(self, flip)
        if not found.known:
            return None
        return 1 if found.even else -1

    @property
    def turns(self) -> int | None:
        """What a rotation by α adds to f, in units of α and modulo 2π.

        Not 0 only for angles within [−π, π]; None where f does anything else.
        """
        match self.rotate_phi:
            case Invariant():
                return 0
            case Angle(weight=weight, wrapped=True):
                return weight
        return None

    def knows(self, transformation: Transformation) -> bool:
        """Whether f of the transformed event follows from f."""
        if transformation == "rotate_phi":
            return self.turns is not None
        return self.sign(transformation) is not None


INVARIANT = Symmetry(EVEN, EVEN, Invariant())
"""Of a number without direction."""


def symmetry(
    expression: Expression,
    lookup: Callable[[str], Symmetry],
    keys: Keys,
    scope: Hashable = None,
) -> Symmetry:
    """Find how an expression behaves; see `parity` and `turn` for the rules.

    Parameters
    ----------
    expression
        The parsed expression.
    lookup
        How a name behaves; `INVARIANT` for a collection.
    keys, scope
        See `turn`.
    """

    def turned(name: str) -> Turn:
        return lookup(name).rotate_phi

    def paired(x: Node, y: Node) -> bool:
        return one_vector(turn(x, turned, keys, scope), turn(y, turned, keys, scope))

    return Symmetry(
        parity(expression.tree, lambda name: lookup(name).flip_eta, paired),
        parity(expression.tree, lambda name: lookup(name).flip_phi, paired),
        turn(expression.tree, turned, keys, scope),
    )
