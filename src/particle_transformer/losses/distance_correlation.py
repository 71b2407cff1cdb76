"""Weighted distance correlation of two columns of a batch, differentiable in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from particle_transformer.errors import ModelInputError, SampleError
from particle_transformer.losses.checks import check_column
from particle_transformer.losses.signed_sums import signed_sums, signed_sums_of_two

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["distance_correlation_squared"]

ROUNDING = 1e-13
"""A distance variance this small, in units of its terms, is the rounding of a constant's, 0."""


def distance_correlation_squared(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Squared distance correlation of two quantities, zero if and only if they are independent.

    dCorr²(X, Y) = dCov²(X, Y) / √(dCov²(X, X) dCov²(Y, Y)),
    dCov²(X, Y) = E|X − X′||Y − Y′| + E|X − X′| E|Y − Y′| − 2 E|X − X′||Y − Y″|

    (G. Székely, M. Rizzo, N. Bakirov, Ann. Stat. 35 (2007) 2769; G. Kasieczka, D. Shih,
    arXiv:2001.05310, section 2). The expectations are over the probability measure wᵢ / Σw on
    the events; with signed weights, over the same estimate of it. dCov² is a squared norm even
    then (of φ_XY − φ_X φ_Y, with φ the characteristic functions), and dCorr² never negative; but
    it may exceed 1 where most of the weights cancel. Computed in float64, in O(n log n) time and
    O(n) memory; the gradient, by hand, is

    ∂dCov²/∂xₖ = 2 pₖ Σⱼ pⱼ sgn(xₖ − xⱼ) Bₖⱼ, B: doubly centred |yₖ − yⱼ|.

    *Bias of small batches.* Each event is a pair with itself; for independent quantities the mean
    is therefore not zero but falls with the effective number of events n = (Σw)²/Σw² as

    E[dCorr²] ≈ E|X − X′| E|Y − Y′| / √(dCov²(X, X) dCov²(Y, Y)) / n,

    2.5 / n for two uniform distributions, 3.2 / n for two normal ones. Values of batches of
    different sizes do not compare; `evaluation.distance_correlation_squared` has no such bias.

    Parameters
    ----------
    x, y
        (events,): any units, dCorr does not see scale and shift.
    weight
        (events,): signed weights in any units. No gradient flows to them.

    Returns
    -------
    Tensor
        Scalar in the dtype of `x`. 0 with gradient 0 where `x` or `y` is constant (0/0). NaN where
        a value is NaN.

    Raises
    ------
    ModelInputError
        If a shape is another one.
    SampleError
        If there are fewer than 2 events, or the sum of weights is not positive: the batch is too
        small for its weights.
    """
    if x.ndim != 1:
        message = f"x: got shape {tuple(x.shape)}, expected (events,)"
        raise ModelInputError(message)
    check_column("y", y, len(x))
    check_column("weight", weight, len(x))
    if len(x) < 2:
        message = (
            f"distance correlation: the number of events in the batch is {len(x)}, expected 2 or "
            "more; use a larger batch_size"
        )
        raise SampleError(message)
    total = weight.detach().double().sum()
    if not total > 0:
        message = (
            f"distance correlation: the weights of the batch's {len(x)} events sum to "
            f"{total.item():.4g}, expected a positive sum; use a larger batch_size or "
            "negative_weights: abs"
        )
        raise SampleError(message)
    result: Tensor = _DistanceCorrelation.apply(x, y, weight.detach().double() / total)  # type: ignore[no-untyped-call]
    return result


class _DistanceCorrelation(torch.autograd.Function):
    """dCorr² with both gradients, which come out of the same sums as the value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, p: Tensor) -> Tensor:
        u, x_range = _standard(x, p)
        v, y_range = _standard(y, p)
        u_variance, u_slope = _variance(u, p)
        v_variance, v_slope = _variance(v, p)
        scale = (u_variance * v_variance).sqrt()
        if u_variance == 0 or v_variance == 0:
            value = torch.zeros_like(scale)
            x_slope, y_slope = torch.zeros_like(u), torch.zeros_like(v)  # (events,) each
        else:
            covariance, x_slope = _covariance(u, v, p)
            value = covariance / scale
            x_slope = (x_slope / scale - value / 2 * u_slope / u_variance) / x_range  # (events,)
            y_slope = torch.empty_like(v)
            if ctx.needs_input_grad[1]:
                _, y_slope = _covariance(v, u, p)
                y_slope = (
                    y_slope / scale - value / 2 * v_slope / v_variance
                ) / y_range  # (events,)
        ctx.save_for_backward(x_slope.to(x.dtype), y_slope.to(y.dtype))
        return value.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x_slope, y_slope = ctx.saved_tensors
        return gradient * x_slope, gradient * y_slope if ctx.needs_input_grad[1] else None, None


def _standard(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Column in units of its range, with mean 0: then nothing overflows, and nothing cancels."""
    # The smallest value is taken off first: a difference of near numbers has no rounding.
    shifted = x.double() - x.min().double()  # (events,)
    width = shifted.max()
    width = torch.where(width > 0, width, 1.0)
    scaled = shifted / width  # (events,)
    return scaled - (p * scaled).sum(), width


def _variance(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """dCov²(x, x) and its gradient (events,) for x with mean 0; exactly 0 for a constant x."""
    sign, distance, mean = _distances(x, p)
    square = (p * x.square()).sum()
    value = 2 * square + mean.square() - 2 * (p * distance.square()).sum()
    terms = p.abs().sum().square() * (p.abs() * x.square()).sum()  # not less than any sum above
    if value <= ROUNDING * terms:
        return torch.zeros_like(value), torch.zeros_like(x)
    others = signed_sums(x, (p * distance)[None])[0]  # (events,)
    return value, 4 * p * (x - distance * sign - others + mean * sign)


def _covariance(x: Tensor, y: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """dCov²(x, y) and its gradient (events,) in x."""
    _, distance, mean = _distances(y, p)
    sign, others = signed_sums(x, torch.stack([p, p * distance]))  # (events,) each
    ones, values = signed_sums_of_two(x, y, torch.stack([p, p * y]))  # (events,) each
    product = y * ones - values  # Σⱼ pⱼ sgn(xᵢ − xⱼ) |yᵢ − yⱼ|, (events,)
    slope = 2 * p * (product - distance * sign - others + mean * sign)  # (events,)
    # dCov² is homogeneous of degree 1 in x: Euler's theorem gives the value from the gradient.
    return (x * slope).sum(), slope


def _distances(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σⱼ pⱼ sgn(xᵢ − xⱼ) (events,), mean distance of each event (events,), and the mean of that."""
    sign, values = signed_sums(x, torch.stack([p, p * x]))  # (events,) each
    distance = x * sign - values  # (events,)
    return sign, distance, (p * distance).sum()
