"""Kinematics of the collider frame: pure functions of numpy arrays, elementwise.

Momenta, masses and energies are in GeV, azimuthal angles in radians, c = 1. Arguments broadcast
against each other; floating inputs keep their dtype (float32 in, float32 out), and plain Python
numbers never promote it. NaN and infinity go through silently: whoever owns the events counts
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "delta_phi",
    "delta_r",
    "energy",
    "eta",
    "mass",
    "pair_mass",
    "phi",
    "pt",
    "px",
    "py",
    "pz",
    "transverse_mass",
]

Floats: TypeAlias = "NDArray[Any] | float"
Array: TypeAlias = "NDArray[Any]"

_PI = float(np.pi)


def _typed(*values: Floats) -> tuple[Any, ...]:
    """Give Python numbers the dtype of the arrays beside them.

    numpy does so for operators, but sin(0.5) is a float64 that would promote what it meets.
    """
    dtype = np.result_type(*values)
    return tuple(dtype.type(value) if isinstance(value, int | float) else value for value in values)


def delta_phi(phi1: Floats, phi2: Floats) -> Array:
    """Azimuthal difference φ1 − φ2, wrapped into (−π, π]; radians.

    The bounds hold in the dtype of the result: no rounding puts it beyond float32(π).

    Examples
    --------
    >>> from particle_transformer.kinematics import delta_phi
    >>> round(float(delta_phi(3.0, -3.0)), 4)  # 6 − 2π
    -0.2832
    """
    difference = np.subtract(phi1, phi2)
    turned = difference - 2 * _PI * np.rint(difference / (2 * _PI))
    # Rounding leaves values a last digit beyond ±π, and −π itself: one exact turn mends both.
    turned = np.where(turned > _PI, turned - 2 * _PI, turned)
    wrapped: Array = np.where(turned <= -_PI, turned + 2 * _PI, turned)
    return wrapped


def delta_r(eta1: Floats, phi1: Floats, eta2: Floats, phi2: Floats) -> Array:
    """Angular distance √(Δη² + Δφ²), with Δφ wrapped."""
    eta1, phi1, eta2, phi2 = _typed(eta1, phi1, eta2, phi2)
    return np.asarray(np.hypot(np.subtract(eta1, eta2), delta_phi(phi1, phi2)))


def px(pt: Floats, phi: Floats) -> Array:
    """First transverse component of the momentum, pt·cos φ; GeV."""
    pt, phi = _typed(pt, phi)
    return np.asarray(pt * np.cos(phi))


def py(pt: Floats, phi: Floats) -> Array:
    """Second transverse component of the momentum, pt·sin φ; GeV."""
    pt, phi = _typed(pt, phi)
    return np.asarray(pt * np.sin(phi))


def pz(pt: Floats, eta: Floats) -> Array:
    """Component of the momentum along the beam, pt·sinh η; GeV."""
    pt, eta = _typed(pt, eta)
    return np.asarray(pt * np.sinh(eta))


def energy(pt: Floats, eta: Floats, mass: Floats) -> Array:
    """Energy √((pt·cosh η)² + m²); GeV."""
    pt, eta, mass = _typed(pt, eta, mass)
    return np.asarray(np.hypot(pt * np.cosh(eta), mass))


def pt(px: Floats, py: Floats) -> Array:
    """Transverse momentum √(px² + py²); GeV."""
    return np.asarray(np.hypot(px, py))


def eta(px: Floats, py: Floats, pz: Floats) -> Array:
    """Pseudorapidity asinh(pz / pt).

    0 for the zero vector, ±inf for a momentum exactly along the beam.
    """
    px, py, pz = _typed(px, py, pz)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = np.arcsinh(np.divide(pz, np.hypot(px, py)))
    zero = np.equal(px, 0) & np.equal(py, 0) & np.equal(pz, 0)
    return np.asarray(np.where(zero, np.zeros_like(value), value))


def phi(px: Floats, py: Floats) -> Array:
    """Azimuth atan2(py, px) in [−π, π]; radians. 0 for the zero vector."""
    # Adding 0 makes −0 (the negative of an empty sum) 0, whose azimuth is 0 and not −π.
    return np.asarray(np.arctan2(py + 0.0, px + 0.0))


def mass(px: Floats, py: Floats, pz: Floats, energy: Floats) -> Array:
    """Invariant mass √(E² − p²); GeV.

    Computed in float64 and returned in the dtype of the inputs, because E² and p² nearly cancel.
    A negative square, which rounding leaves for light particles, gives 0.
    """
    dtype = np.result_type(px, py, pz, energy)
    wide = [np.asarray(part, dtype=np.float64) for part in (px, py, pz, energy)]
    with np.errstate(invalid="ignore", over="ignore"):
        momentum = np.sqrt(wide[0] ** 2 + wide[1] ** 2 + wide[2] ** 2)
        square = (wide[3] - momentum) * (wide[3] + momentum)
        root = np.sqrt(np.maximum(square, 0.0))
    return root.astype(dtype if dtype.kind == "f" else np.float64)


def transverse_mass(pt1: Floats, phi1: Floats, pt2: Floats, phi2: Floats) -> Array:
    """Transverse mass of two massless particles, √(2 pt1 pt2 (1 − cos Δφ)); GeV.

    Written as 2 √(pt1 pt2) |sin(Δφ/2)|, which keeps its precision at small angles.

    Examples
    --------
    >>> import math
    >>> from particle_transformer.kinematics import transverse_mass
    >>> round(float(transverse_mass(50.0, 0.0, 50.0, math.pi)), 6)
    100.0
    """
    pt1, phi1, pt2, phi2 = _typed(pt1, phi1, pt2, phi2)
    half = np.sin(delta_phi(phi1, phi2) / 2)
    return np.asarray(2 * np.sqrt(np.multiply(pt1, pt2)) * np.abs(half))


def pair_mass(
    pt1: Floats,
    eta1: Floats,
    phi1: Floats,
    mass1: Floats,
    pt2: Floats,
    eta2: Floats,
    phi2: Floats,
    mass2: Floats,
) -> Array:
    """Invariant mass of the sum of two four-momenta; GeV.

    Computed in float64 and returned in the dtype of the inputs, like `mass`.
    """
    dtype = np.result_type(pt1, eta1, phi1, mass1, pt2, eta2, phi2, mass2)
    first, second = (
        [np.asarray(part, dtype=np.float64) for part in parts]
        for parts in ((pt1, eta1, phi1, mass1), (pt2, eta2, phi2, mass2))
    )
    parts = [
        (px(pt, phi), py(pt, phi), pz(pt, eta), energy(pt, eta, m))
        for pt, eta, phi, m in (first, second)
    ]
    total = [one + other for one, other in zip(*parts, strict=True)]
    return mass(*total).astype(dtype if dtype.kind == "f" else np.float64)
