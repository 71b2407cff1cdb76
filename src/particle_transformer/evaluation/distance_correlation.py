"""Bias-corrected squared distance correlation of large weighted samples.

dCov²(X, Y) = E[a₁₂ (b₁₂ + b₃₄ − 2 b₁₃)] with the distances a of X and b of Y in four independent
events 1 … 4 (G. Székely, M. Rizzo, N. Bakirov, Ann. Stat. 35 (2007) 2769). Here the mean is over
all quadruples of distinct events, each with the product of its four weights:

    Ω(x, y) = Σ′ w_i w_j w_q w_r a_ij (b_ij + b_qr − 2 b_iq) / Σ′ w_i w_j w_q w_r,
    dCorr² = Ω(x, y) / √(Ω(x, x) Ω(y, y)).

For equal weights these are the U-centred distance covariance and correlation (G. Székely,
M. Rizzo, J. Multivar. Anal. 117 (2013) 193 and Ann. Stat. 42 (2014) 2382). No event is compared
with itself: the numerator's mean is that of the weighted distributions, zero if they are
independent, for any number of events and with weights of either sign.

The sums over distinct events are products of sums over single events and pairs; the latter take
O(n log n).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.pair_sums import distance_products, distance_sums
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["distance_correlation_squared"]

ROUNDING = 1e-11
"""A sum this small in units of its terms is their rounding."""


def distance_correlation_squared(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
    name: str = "background",
) -> Figure:
    """Bias-corrected dCorr² of two quantities; zero mean if they are independent.

    Around zero, where the quantities are independent, it scatters to both sides: by √2 / n with
    n = (Σw)²/Σw², if the weights do not depend on them. It is 1 for a linear relation.

    It comes without error. Where there is dependence, `poisson_bootstrap` gives one, at the price
    of this function for each replica (seconds for 200 000 events). Close to zero the √2 / n is the
    scale to compare with: there the statistic is degenerate, and a bootstrap is not valid
    (M. Arcones, E. Giné, Ann. Stat. 20 (1992) 655).

    Parameters
    ----------
    x, y
        float64 (events,): such as the score and an event quantity, in any units.
    weight
        float64 (events,): signed weights, in any units.
    name
        What to call the events in a reason.

    Returns
    -------
    Figure
        Without error; `effective_events` is that of all events. Undefined if the total weight is
        not positive, there are fewer than four events with a weight, fewer than four carry it all,
        or a quantity is constant.

    Raises
    ------
    SampleError
        If the columns have different shapes, or a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_transformer.evaluation import distance_correlation_squared
    >>> met = np.array([120.0, 250.0, 180.0, 300.0, 210.0])
    >>> round(distance_correlation_squared(1 - met / 500, met, np.ones(5)).value, 6)
    1.0
    """
    _check(x, y, weight)
    effective = effective_events(weight)
    present = weight != 0
    x, y, weight = x[present], y[present], weight[present]
    defect = weight_defect(weight, name) or _constant(x, y, name)
    if len(weight) < 4:
        defect = defect or f"{len(weight)} {name} events with a weight, not 4 or more"
    if defect:
        return Figure(None, effective_events=effective, reason=defect)
    p = weight / weight.sum()
    if _quadruples(p) <= ROUNDING:  # the factor itself, that of all of Ω, cancels in the ratio
        reason = f"fewer than 4 {name} events carry the whole weight"
        return Figure(None, effective_events=effective, reason=reason)
    powers = np.stack([p, p**2, p**3])  # (3, events)
    u, v = _standard(x, p), _standard(y, p)
    u_sums, v_sums = distance_sums(u, powers[:2]), distance_sums(v, powers[:2])
    scale = 1.0
    for which, column, sums in (("first", u, u_sums), ("second", v, v_sums)):
        variance = _quadruple_sum(p, sums, sums, _squares(column, powers))
        if variance <= ROUNDING * float(np.abs(p) @ column**2):
            reason = f"the distance variance of the {which} quantity in the {name} events is not positive"
            return Figure(None, effective_events=effective, reason=reason)
        scale *= variance
    covariance = _quadruple_sum(p, u_sums, v_sums, distance_products(u, v, powers))
    return Figure(covariance / math.sqrt(scale), effective_events=effective)


def _check(x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
    for name, column in (("x", x), ("y", y), ("weight", weight)):
        if column.shape != (len(x),):
            message = f"{name}: got shape {column.shape}, expected ({len(x)},)"
            raise SampleError(message)
        bad = int(np.sum(~np.isfinite(column)))
        if bad:
            message = f"{name}: {bad} of {len(x)} values are NaN or infinite, expected finite ones"
            raise SampleError(message)


def _constant(x: NDArray[np.float64], y: NDArray[np.float64], name: str) -> str | None:
    for which, column in (("first", x), ("second", y)):
        if column.size and column.min() == column.max():
            return f"the {which} quantity is {column[0]:.4g} in all {name} events"
    return None


def _standard(x: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column in units of its range, with mean 0: nothing overflows, little cancels."""
    shifted = x - x.min()
    scaled = shifted / shifted.max()
    centred: NDArray[np.float64] = scaled - p @ scaled
    return centred


def _quadruples(p: NDArray[np.float64]) -> float:
    """Σ′ p_i p_j p_q p_r over distinct events."""
    sums = np.cumsum(p)  # over events up to each, then ordered pairs, triples, quadruples
    for _ in range(3):
        sums = np.cumsum(p[1:] * sums[:-1])
        p = p[1:]
    return 24 * float(sums[-1])


def _squares(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σⱼ mⱼ (xᵢ − xⱼ)² of each event, float64 (columns, events)."""
    zero, one, two = (weights @ x**power for power in range(3))
    squares: NDArray[np.float64] = zero[:, None] * x**2 - 2 * one[:, None] * x + two[:, None]
    return squares


def _quadruple_sum(
    p: NDArray[np.float64],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    ab: NDArray[np.float64],
) -> float:
    """Σ′ p_i p_j p_q p_r a_ij (b_ij + b_qr − 2 b_iq) over distinct events.

    Each of the three sums is that over all indices without those where some coincide.

    Parameters
    ----------
    p
        float64 (events,): weights whose sum is 1.
    a, b
        float64 (2, events): Σⱼ pⱼ a_ij and Σⱼ pⱼ² a_ij, and so for b.
    ab
        float64 (3, events): Σⱼ pⱼ a_ij b_ij, and with pⱼ² and pⱼ³.
    """
    squares = float(p @ p)
    crossed = float(p**2 @ ab[1])  # Σ p_i² p_j² a_ij b_ij
    # Weight of the pairs (q, r) without i and j: 1 − Σp² − 2 (p_i + p_j) + 2 (p_i² + p_i p_j + p_j²).
    same = (1 - squares) * (p @ ab[0]) - 4 * (p**2 @ ab[0]) + 4 * (p**3 @ ab[0]) + 2 * crossed
    apart = (p @ a[0]) * (p @ b[0]) - 4 * (p**2 @ (a[0] * b[0])) + 2 * crossed
    shared = p @ ((1 - p) * (a[0] * b[0] - ab[1]) - (a[1] * b[0] - ab[2]) - (a[0] * b[1] - ab[2]))
    return float(same + apart - 2 * shared)
