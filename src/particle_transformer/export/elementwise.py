"""The functions of expressions that work value by value, on torch tensors.

The same formulas as `particle_transformer.kinematics` has, of operations that ONNX Runtime has in
float32 and float64 alike: its inverse tangent, hyperbolic sine and the like are float32 alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = [
    "ELEMENTWISE",
    "cartesian",
    "is_finite",
    "mass",
    "maximum",
    "minimum",
    "remainder",
    "sign",
]

_PI = math.pi


def is_finite(x: Tensor) -> Tensor:
    """Neither NaN nor infinite: there x − x is not 0."""
    return (x - x) == 0


def sign(x: Tensor) -> Tensor:
    """−1, 0 or 1; NaN of NaN."""
    ones = (x > 0).to(x.dtype) - (x < 0).to(x.dtype)
    return torch.where(torch.isnan(x), x, ones) if x.is_floating_point() else ones


def minimum(a: Tensor, b: Tensor) -> Tensor:
    """The smaller one, NaN if one is."""
    return torch.where(a <= b, a, torch.where(b < a, b, a + b))


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger one, NaN if one is."""
    return torch.where(a >= b, a, torch.where(b > a, b, a + b))


def remainder(a: Tensor, b: Tensor) -> Tensor:
    """Remainder of a by b with the sign of b, as numpy's; of integers by 0 it means nothing."""
    if not a.is_floating_point():
        # In a padded slot b may be 0, which stops the program that divides by it.
        return torch.remainder(a, torch.where(b == 0, torch.ones_like(b), b))
    rest = torch.fmod(a, b)
    return torch.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """√(x² + y²), whose squares neither overflow nor vanish in float64."""
    a, b = x.to(torch.float64), y.to(torch.float64)
    return torch.sqrt(a * a + b * b).to(x.dtype)


def sinh(x: Tensor) -> Tensor:
    """Hyperbolic sine."""
    if x.dtype == torch.float32:
        return torch.sinh(x)
    square = x * x
    series = torch.ones_like(x)
    for term in (110.0, 72.0, 42.0, 20.0, 6.0):  # Taylor: the difference loses digits near 0
        series = 1 + series * square / term
    return torch.where(torch.abs(x) < 0.3, x * series, (torch.exp(x) - torch.exp(-x)) / 2)


def cosh(x: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(x) if x.dtype == torch.float32 else (torch.exp(x) + torch.exp(-x)) / 2


def arcsinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine: in float64 by one step of Newton from that of float32."""
    single = torch.asinh(x.to(torch.float32))
    if x.dtype == torch.float32:
        return single
    first = single.to(x.dtype)
    return torch.where(is_finite(x), first + (x - sinh(first)) / cosh(first), x)


def arctan2(y: Tensor, x: Tensor) -> Tensor:
    """Angle of (x, y) in (−π, π]; 0 for (0, 0)."""
    single = y.to(torch.float32), x.to(torch.float32)
    turn = torch.where(y < 0, torch.full_like(single[0], -_PI), torch.full_like(single[0], _PI))
    angle = torch.atan(single[0] / single[1])
    angle = torch.where(x < 0, angle + turn, angle)
    if y.dtype == torch.float64:
        first = angle.to(y.dtype)
        sine, cosine = torch.sin(first), torch.cos(first)
        # The rest is the angle between (x, y) and the direction found so far.
        angle = first + (y * cosine - x * sine) / (x * cosine + y * sine)
    return torch.where((x == 0) & (y == 0), torch.zeros_like(angle), angle)


def delta_phi(phi1: Tensor, phi2: Tensor) -> Tensor:
    """See `kinematics.delta_phi`, whose steps these are."""
    difference = phi1 - phi2
    turned = difference - 2 * _PI * torch.round(difference / (2 * _PI))
    turned = torch.where(turned > _PI, turned - 2 * _PI, turned)
    return torch.where(turned <= -_PI, turned + 2 * _PI, turned)


def delta_r(eta1: Tensor, phi1: Tensor, eta2: Tensor, phi2: Tensor) -> Tensor:
    """√(Δη² + Δφ²)."""
    return hypot(eta1 - eta2, delta_phi(phi1, phi2))


def energy(pt: Tensor, eta: Tensor, mass: Tensor) -> Tensor:
    """√((pt cosh η)² + m²)."""
    return hypot(pt * cosh(eta), mass)


def eta(px: Tensor, py: Tensor, pz: Tensor) -> Tensor:
    """asinh(pz / pt), 0 for the zero vector."""
    value = arcsinh(pz / hypot(px, py))
    return torch.where((px == 0) & (py == 0) & (pz == 0), torch.zeros_like(value), value)


def mass(px: Tensor, py: Tensor, pz: Tensor, energy: Tensor) -> Tensor:
    """√(E² − p²), computed in float64; 0 where the square is negative."""
    x, y, z, t = (part.to(torch.float64) for part in (px, py, pz, energy))
    momentum = torch.sqrt(x * x + y * y + z * z)
    square = (t - momentum) * (t + momentum)
    return torch.sqrt(maximum(square, torch.zeros_like(square))).to(px.dtype)


def cartesian(pt: Tensor, eta: Tensor, phi: Tensor, mass: Tensor) -> tuple[Tensor, ...]:
    """(px, py, pz, E) in float64."""
    pt, eta, phi, mass = (part.to(torch.float64) for part in (pt, eta, phi, mass))
    return pt * torch.cos(phi), pt * torch.sin(phi), pt * sinh(eta), energy(pt, eta, mass)


def pair_mass(*polar: Tensor) -> Tensor:
    """Mass of the sum of two momenta (pt, η, φ, m), computed in float64."""
    one, other = cartesian(*polar[:4]), cartesian(*polar[4:])
    return mass(*(a + b for a, b in zip(one, other, strict=True))).to(polar[0].dtype)


def transverse_mass(pt1: Tensor, phi1: Tensor, pt2: Tensor, phi2: Tensor) -> Tensor:
    """2 √(pt1 pt2) |sin(Δφ/2)|."""
    return 2 * torch.sqrt(pt1 * pt2) * torch.abs(torch.sin(delta_phi(phi1, phi2) / 2))


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "sqrt": torch.sqrt,
    "log": torch.log,
    "log10": lambda x: torch.log(x) / math.log(10),
    "exp": torch.exp,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda x: torch.sin(x) / torch.cos(x),
    "arctan2": arctan2,
    "sinh": sinh,
    "cosh": cosh,
    "tanh": torch.tanh,
    "delta_phi": delta_phi,
    "delta_r": delta_r,
    "px": lambda pt, phi: pt * torch.cos(phi),
    "py": lambda pt, phi: pt * torch.sin(phi),
    "pz": lambda pt, eta: pt * sinh(eta),
    "energy": energy,
    "pt": hypot,
    "eta": eta,
    "phi": lambda px, py: arctan2(py, px),
    "mass": mass,
    "pair_mass": pair_mass,
    "transverse_mass": transverse_mass,
}
"""Those of `particle_transformer.expressions.elementwise.ELEMENTWISE`."""
