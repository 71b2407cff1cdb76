"""Steps towards the maximum of a likelihood whose curvature is known in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["newton_step", "secant_update"]


def newton_step(
    hessian: NDArray[np.float64],
    inverse: NDArray[np.float64],
    gradient: NDArray[np.float64],
    free: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Newton's step, or that of the information alone where the Hessian is not positive.

    Parameters
    ----------
    hessian
        float64 (parameters, parameters): estimate of the second derivatives.
    inverse
        float64 (free, free): inverse of the information, positive.
    gradient
        float64 (parameters,).
    free
        int (free,): positions of the parameters that may move.

    Returns
    -------
    float64 (parameters,)
        0 for those that may not.
    """
    step = np.zeros_like(gradient)
    try:
        root = np.linalg.cholesky(hessian[np.ix_(free, free)])
    except np.linalg.LinAlgError:
        step[free] = -inverse @ gradient[free]
    else:
        step[free] = -np.linalg.solve(root.T, np.linalg.solve(root, gradient[free]))
    return step


def secant_update(
    rest: NDArray[np.float64],
    step: NDArray[np.float64],
    change: NDArray[np.float64],
    bent: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Update the estimate of what the observed information lacks of the Hessian.

    That is Σ_bins (1 − n/ν) ∂²ν. Along the last step it is `bent`; the symmetric update of least
    change that reproduces it is that of J. Dennis, D. Gay, R. Welsch, ACM Trans. Math. Softw. 7
    (1981) 348 (NL2SOL), with their sizing.

    Parameters
    ----------
    rest
        float64 (parameters, parameters): the estimate so far.
    step, change, bent
        float64 (parameters,): last step, change of the gradient, and of Jᵀ at the new residuals.
    """
    along = float(change @ step)
    if along <= 0:
        return np.zeros_like(rest)
    size = abs(float(step @ rest @ step))
    if size > 0:
        rest = rest * min(1.0, abs(float(step @ bent)) / size)
    lack = bent - rest @ step
    outer = np.outer(lack, change)
    update: NDArray[np.float64] = rest + (outer + outer.T) / along
    update -= float(lack @ step) / along**2 * np.outer(change, change)
    return update
