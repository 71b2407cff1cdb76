"""The pairwise interaction bias of ParT (arXiv:2202.03772 section 3)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["PairBias", "pair_features"]

# Floors inside the logarithms: far below what a detector resolves, far above float32 noise.
_FLOOR_PT = 1e-3  # GeV
_FLOOR_DELTA = 1e-3
_FLOOR_KT = 1e-3  # GeV
_FLOOR_Z = 1e-4
_FLOOR_MASS2 = 1e-2  # GeV²

# Centre and spread of the four features for pairs of LHC analysis objects (GeV).
_CENTRE = (0.6, 4.0, -1.3, 9.0)
_SPREAD = (0.6, 1.0, 0.6, 1.8)


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """Compute the four interaction features of pairs of objects.

    With rapidity y, Δ = √((y_a − y_b)² + (φ_a − φ_b)²),

    ln Δ, ln k_T = ln(min(p_Ta, p_Tb) Δ), ln z = ln(min(p_Ta, p_Tb) / (p_Ta + p_Tb)),
    ln m² = ln((E_a + E_b)² − |p_a + p_b|²)      (arXiv:2202.03772 eq. (3)),

    with a floor inside each logarithm. Finite with finite gradients for any finite momenta, zero
    and equal ones included; symmetric; unchanged when φ of both turns by one angle.

    Parameters
    ----------
    first, second
        (pairs, 4): px, py, pz, E in GeV.

    Returns
    -------
    Tensor
        (pairs, 4).
    """
    px_a, py_a, pz_a, energy_a = first.unbind(-1)  # (pairs,)
    px_b, py_b, pz_b, energy_b = second.unbind(-1)

    def transverse(px: Tensor, py: Tensor, pz: Tensor, energy: Tensor) -> tuple[Tensor, ...]:
        pt2 = (px * px + py * py).clamp(min=_FLOOR_PT**2)
        p2 = pt2 + pz * pz
        mass2 = (energy * energy - p2).clamp(min=0.0)
        mt = (pt2 + mass2).sqrt()  # transverse mass: pz = mt sinh(y)
        return pt2.sqrt(), mass2, mt, torch.asinh(pz / mt)

    pt_a, mass2_a, mt_a, y_a = transverse(px_a, py_a, pz_a, energy_a)
    pt_b, mass2_b, mt_b, y_b = transverse(px_b, py_b, pz_b, energy_b)
    # The angle between the transverse momenta itself: no wrapping, and turning φ leaves it alone.
    cross, dot = px_a * py_b - py_a * px_b, px_a * px_b + py_a * py_b
    undefined = (cross == 0) & (dot == 0)  # a zero momentum: atan2(0, 0) has no gradient
    delta_phi = torch.atan2(cross, torch.where(undefined, torch.ones_like(dot), dot))
    delta_y = y_a - y_b
    delta = (delta_y**2 + delta_phi**2).clamp(min=_FLOOR_DELTA**2).sqrt()
    pt_min = torch.minimum(pt_a, pt_b)
    # m² = m_a² + m_b² + 2 (m_Ta m_Tb cosh Δy − p_Ta p_Tb cos Δφ), as a sum of positive terms:
    # the textbook difference of squares loses all digits for close or energetic objects.
    mt_product, pt_product = mt_a * mt_b, pt_a * pt_b
    mass2 = mass2_a + mass2_b + 2 * (mt_product - pt_product).clamp(min=0.0)
    mass2 = mass2 + 4 * mt_product * torch.sinh(delta_y / 2) ** 2
    mass2 = mass2 + 4 * pt_product * torch.sin(delta_phi / 2) ** 2
    features = [
        delta,
        (pt_min * delta).clamp(min=_FLOOR_KT),
        (pt_min / (pt_a + pt_b)).clamp(min=_FLOOR_Z),
        mass2.clamp(min=_FLOOR_MASS2),
    ]
    return torch.stack(features, -1).log()  # (pairs, 4)


class PairBias(nn.Module):
    """A small network that turns each pair's features into one attention bias per head.

    The bias is symmetric, and 0 for an object with itself. All attention blocks share it.

    Parameters
    ----------
    num_heads
        Attention heads.
    hidden
        Widths of the hidden layers.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, num_heads: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(_CENTRE))  # (4,)
        self.register_buffer("spread", torch.tensor(_SPREAD))  # (4,)
        widths = [4, *hidden]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_heads))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Bias (pairs, heads) of pairs of momenta (pairs, 4): px, py, pz, E in GeV."""
        features = pair_features(first, second)  # (pairs, 4)
        bias: Tensor = self.layers((features - self.centre) / self.spread)
        return bias
