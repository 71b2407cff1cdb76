"""Missing transverse momentum after a change of the objects it was computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer import kinematics

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["recoiled"]


def recoiled(
    met_pt: NDArray[Any],
    met_phi: NDArray[Any],
    shift_x: NDArray[np.float64],
    shift_y: NDArray[np.float64],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The missing transverse momentum when the visible one is shifted.

    p_T^miss is minus the sum of all visible transverse momenta, so it moves by minus their shift.

    Parameters
    ----------
    met_pt, met_phi
        (events,): nominal, in GeV and radians.
    shift_x, shift_y
        float64 (events,): sum of the objects' transverse momenta, varied minus nominal, in GeV.

    Returns
    -------
    pt, phi : (events,)
        In the nominal dtypes; an event without a shift keeps its values bit for bit.
    """
    wide_pt, wide_phi = met_pt.astype(np.float64), met_phi.astype(np.float64)
    x = kinematics.px(wide_pt, wide_phi) - shift_x
    y = kinematics.py(wide_pt, wide_phi) - shift_y
    still = (shift_x == 0) & (shift_y == 0)
    return (
        np.where(still, met_pt, kinematics.pt(x, y).astype(met_pt.dtype)),
        np.where(still, met_phi, kinematics.phi(x, y).astype(met_phi.dtype)),
    )
