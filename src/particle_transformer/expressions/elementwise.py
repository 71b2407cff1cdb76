"""The functions that work value by value, and the dtypes they are given."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from particle_transformer import kinematics

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "ARITHMETIC",
    "COMPARE",
    "ELEMENTWISE",
    "Operand",
    "bit",
    "choose",
    "divisible",
    "floating",
    "widen",
]

Operand: TypeAlias = "NDArray[Any] | bool | int | float"

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "%": np.remainder,
}
ELEMENTWISE: dict[str, Callable[..., Any]] = {
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
            "pt", "eta", "phi", "mass", "pair_mass", "transverse_mass",
        )
    },
}  # fmt: skip
"""Those that compute with floating numbers (`floating`)."""


def widen(operands: list[Operand]) -> list[Operand]:
    """Make integers and booleans int64, so that uint8 does not wrap and −True is −1.

    Beside a floating column they stay as they are, because int64 would promote float32.

    Raises
    ------
    OverflowError
        If an unsigned value does not fit in int64.
    """
    if any(isinstance(operand, np.ndarray) and operand.dtype.kind == "f" for operand in operands):
        return operands
    widened: list[Operand] = []
    for operand in operands:
        if not isinstance(operand, np.ndarray):
            widened.append(int(operand) if isinstance(operand, bool) else operand)
            continue
        if operand.dtype == np.uint64 and operand.size and operand.max() >= 2**63:
            message = f"the value {operand.max()} is too large for int64"
            raise OverflowError(message)
        widened.append(operand.astype(np.int64, copy=False))
    return widened


def divisible(operands: list[Operand]) -> list[Operand]:
    """Prepare dividend and divisor of a remainder.

    Raises
    ------
    ZeroDivisionError
        If both are integers and a divisor is 0: no integer could stand for the result.
    OverflowError
        See `widen`.
    """
    dividend, divisor = map(np.asarray, widened := widen(operands))
    if "f" not in (dividend.dtype.kind, divisor.dtype.kind) and not divisor.all():
        message = (
            f"an integer % 0 has no value, and the divisor is 0 in "
            f"{np.count_nonzero(divisor == 0)} of {divisor.size} values; write max(divisor, 1)"
        )
        raise ZeroDivisionError(message)
    return widened


def floating(operands: list[Operand]) -> list[Operand]:
    """Make integers and booleans float64: numpy would take float16 for log(uint8)."""
    return [
        operand
        if isinstance(operand, np.ndarray) and operand.dtype.kind == "f"
        else (operand.astype(np.float64) if isinstance(operand, np.ndarray) else float(operand))
        for operand in operands
    ]


def choose(operands: list[Operand]) -> list[Operand]:
    """Prepare a condition and two branches for np.where: two booleans remain boolean.

    Raises
    ------
    OverflowError
        See `widen`.
    """
    condition, *branches = operands
    if all(np.asarray(branch).dtype.kind == "b" for branch in branches):
        return operands
    return [condition, *widen(branches)]


def bit(number: int) -> Callable[[Any], Any]:
    """Give the test whether bit `number` (0: the lowest) of integers is set; two's complement."""

    def test(values: Any) -> Any:
        return (values >> values.dtype.type(number)) & 1 != 0

    return test
