"""Overlap removal: objects that another collection has reconstructed already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.kinematics import delta_r

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["overlapping"]


def overlapping(
    eta: NDArray[Any],
    phi: NDArray[Any],
    owner: NDArray[np.int64],
    other_eta: NDArray[Any],
    other_phi: NDArray[Any],
    other_offsets: NDArray[np.int64],
    dr: float,
) -> NDArray[np.bool_]:
    """Whether each object has an object of the other collection nearer than `dr` in its event.

    Parameters
    ----------
    eta, phi
        (objects,): pseudorapidity, and azimuth in radians.
    owner
        int64 (objects,): the event of each object.
    other_eta, other_phi, other_offsets
        The other collection: (others,) twice, and int64 (events + 1,).
    dr
        ΔR = √(Δη² + Δφ²) below which objects overlap; an exact `dr` does not.

    Returns
    -------
    bool (objects,)
    """
    partners = np.diff(other_offsets)[owner]
    first = np.cumsum(partners) - partners  # of each object's pairs
    one = np.repeat(np.arange(len(owner)), partners)
    other = np.arange(len(one)) + np.repeat(other_offsets[owner] - first, partners)
    near = delta_r(eta[one], phi[one], other_eta[other], other_phi[other]) < dr
    found = np.zeros(len(owner), dtype=np.bool_)
    found[one[near]] = True
    return found
