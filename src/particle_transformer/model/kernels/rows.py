"""What happens between matrix products, on rows: calls of the compiled functions.

All work in place or fill what they are given. R is float32 or float64, the dtype of the residual
stream and of all parameters; S is that of the factors of matrix products: R, or bfloat16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.model.kernels.calls import call_kernel

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "add_residual",
    "add_rows",
    "gelu",
    "gelu_backward",
    "layer_norm",
    "layer_norm_again",
    "layer_norm_backward",
]


def _size(rows: Tensor) -> list[int]:
    return [rows.shape[0], rows.shape[1]]


def layer_norm(
    x: Tensor, gain: Tensor, shift: Tensor, epsilon: float, normed: Tensor, statistics: Tensor
) -> None:
    """Layer norm, arXiv:1607.06450.

    Parameters
    ----------
    x
        R (rows, width).
    gain, shift
        R (width,).
    epsilon
        Added to the variance.
    normed
        S (rows, width), filled.
    statistics
        R (rows, 2), filled with each row's mean and 1 / √(variance + epsilon).
    """
    call_kernel(
        "layer_norm", [x, gain, shift], [*_size(x), epsilon],
        [normed, statistics], like=normed,
    )  # fmt: skip


def layer_norm_again(
    x: Tensor, statistics: Tensor, gain: Tensor, shift: Tensor, normed: Tensor
) -> None:
    """Fill `normed` as `layer_norm` did, from its statistics."""
    call_kernel("layer_norm_again", [x, statistics, gain, shift], _size(x), [normed], like=normed)


def layer_norm_backward(
    x: Tensor,
    statistics: Tensor,
    gain: Tensor,
    gradient: Tensor,
    through: Tensor | None,
    x_gradient: Tensor,
    sums: Tensor,
) -> None:
    """Gradients of `layer_norm`.

    Parameters
    ----------
    x, statistics, gain
        As in `layer_norm`.
    gradient
        S (rows, width), of what it returned.
    through
        R (rows, width): another gradient that reaches `x`, added to the result; or None.
    x_gradient
        R (rows, width), filled.
    sums
        R (3, width): the gradients of gain and shift, and the sum of `through`, are added.
    """
    call_kernel(
        "layer_norm_backward", [x, statistics, gain, gradient, through], _size(x),
        [x_gradient, sums], like=gradient,
    )  # fmt: skip


def gelu(hidden: Tensor, added: Tensor, activated: Tensor) -> None:
    """Fill `activated` S (rows, width) with gelu(hidden + added), arXiv:1606.08415.

    Parameters
    ----------
    hidden
        S (rows, width).
    added
        R (width,).
    activated
        May be `hidden`.
    """
    call_kernel("gelu", [hidden, added], _size(hidden), [activated], like=hidden)


def gelu_backward(
    hidden: Tensor, added: Tensor, slope: Tensor, activated: Tensor, sums: Tensor
) -> None:
    """Gradients of `gelu`.

    Parameters
    ----------
    hidden, added
        As in `gelu`.
    slope
        S (rows, width): the gradient of what it returned; becomes that of `hidden`.
    activated
        S (rows, width), filled with what it returned.
    sums
        R (width,): the gradient of `added` is added.
    """
    call_kernel(
        "gelu_backward", [hidden, added], _size(hidden), [slope, activated, sums], like=hidden
    )


def add_residual(base: Tensor, branch: Tensor, added: Tensor, total: Tensor) -> None:
    """Fill `total` R (rows, width) with base + branch + added.

    Parameters
    ----------
    base
        R (rows, width).
    branch
        S (rows, width).
    added
        R (width,).
    """
    call_kernel("residual", [base, branch, added], _size(base), [total], like=branch)


def add_rows(x: Tensor, sums: Tensor) -> None:
    """Add the rows of `x` R (rows, width) to `sums` R (width,), in an order that the threads fix."""
    call_kernel("add_rows", [x], _size(x), [sums], like=x)
