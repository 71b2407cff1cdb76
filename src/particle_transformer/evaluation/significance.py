"""Expected discovery significance of a counting experiment.

For n ~ Poisson(s + b) with a background b known with the uncertainty σ (from an auxiliary
measurement m ~ Poisson(τ b), τ = b/σ²), the median significance of a discovery is, with the
Asimov data set of arXiv:1007.1727 (its eq. 97 is the case σ = 0),

    Z² = 2 { (s+b) ln[(s+b)(b+σ²) / (b² + (s+b)σ²)] − (b²/σ²) ln[1 + σ² s / (b (b+σ²))] }

(G. Cowan, "Discovery sensitivity for a counting experiment with background uncertainty", 2012,
eq. 20).

The likelihood of independent bins is the product of theirs, so that the q₀ of the Asimov data set
add up where no uncertainty is common to the bins: Z² = Σ Z_i².
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["asimov_significance", "combined_significance", "optimal_threshold"]

MINIMUM_EFFECTIVE_EVENTS = 10.0
"""Background that a cut must leave in the validation events to be considered."""


def _log_remainder(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x − ln(1+x)) / x², which is ½ at 0; x >= 0."""
    small = x < 0.01
    safe = np.where(small, 1.0, x)
    exact = (safe - np.log1p(safe)) / safe**2
    # Σ (−x)^k / (k+2): the first neglected term is below 1e-17 for x < 0.01.
    tiny = np.where(small, x, 0.0)
    series = np.zeros_like(x)
    for power in range(8, -1, -1):
        series = series * tiny + (-1) ** power / (power + 2)
    return np.where(small, series, exact)


def asimov_significance(
    signal: ArrayLike, background: ArrayLike, background_error: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Median expected discovery significance, in standard deviations (formula: see module).

    Parameters
    ----------
    signal, background
        Expected yields s and b; any shapes that broadcast.
    background_error
        Absolute uncertainty σ of b.

    Returns
    -------
    float64, broadcast shape
        NaN where undefined: b <= 0, s < 0 or σ < 0. For σ → 0 it goes over into
        √(2((s+b) ln(1+s/b) − s)), for small s into s/√(b+σ²); both without loss of digits.

    Examples
    --------
    >>> from particle_transformer.evaluation import asimov_significance
    >>> asimov_significance(10, 10, [0, 3]).round(2).tolist()
    [2.78, 1.9]
    """
    s, b, sigma = np.broadcast_arrays(
        np.asarray(signal, dtype=np.float64),
        np.asarray(background, dtype=np.float64),
        np.asarray(background_error, dtype=np.float64),
    )
    defined = (b > 0) & (s >= 0) & (sigma >= 0)
    s, b, sigma = (np.where(defined, part, 1.0) for part in (s, b, sigma))
    variance = sigma**2
    n = s + b
    # The two logarithms are ln(1+x) and ln(1+y); their linear terms cancel almost wholly when
    # s is small, so that they are taken out by hand, and nothing is divided by σ².
    x = s * b / (b**2 + n * variance)
    y = s * variance / (b * (b + variance))
    linear = s**2 * b**2 / ((b**2 + n * variance) * (b + variance))
    curvature = s**2 * variance / (b + variance) ** 2 * _log_remainder(y)
    small = linear - n * x**2 * _log_remainder(x) + curvature
    # For large s the linear terms are what cancels: the formula as it stands is the better one.
    large = n * np.log1p(x) - s * b / (b + variance) + curvature
    half_square = np.where(x < 1, small, large)
    return np.where(defined, np.sqrt(2 * np.maximum(half_square, 0.0)), np.nan)


def combined_significance(
    signal: ArrayLike, background: ArrayLike, background_error: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Asimov significance of independent bins together, Z = √(Σ Z_i²).

    Parameters
    ----------
    signal, background, background_error
        As for `asimov_significance`, with the bins as the last axis; the errors are taken as
        uncorrelated between bins.

    Returns
    -------
    float64, the broadcast shape without its last axis
        NaN where a bin is undefined.
    """
    each = asimov_significance(signal, background, background_error)
    return np.asarray(np.sqrt(np.sum(each**2, axis=-1)))


def optimal_threshold(
    validation: ScoredEvents,
    *,
    scale: float,
    background_uncertainty: float,
    minimum_effective_events: float = MINIMUM_EFFECTIVE_EVENTS,
) -> tuple[float | None, str | None]:
    """Cut on the score that maximises the expected significance on validation events.

    Parameters
    ----------
    validation
        Validation events of one network.
    scale
        Factor that brings their yields to those of all events (the full luminosity).
    background_uncertainty
        Relative systematic uncertainty of the background. The statistical error that the whole
        simulation would have behind the same cut is added in quadrature.
    minimum_effective_events
        Cuts that leave fewer effective background events are not considered: there the estimate
        of the background, and with it the optimum, is noise.

    Returns
    -------
    threshold : float or None
        The cut is ``score >= threshold``.
    reason : str or None
        Why there is none.
    """
    for chosen, name in ((validation.is_signal, "signal"), (~validation.is_signal, "background")):
        defect = weight_defect(validation.weight[chosen], name)
        if defect:
            return None, f"validation events: {defect}"
    order = np.argsort(validation.score, kind="stable")[::-1]
    falling = validation.score[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    weight = validation.weight[order]
    background_weight = np.where(validation.is_signal[order], 0.0, weight)
    background = np.cumsum(background_weight)[last]
    squares = np.cumsum(background_weight**2)[last]
    signal = np.cumsum(weight - background_weight)[last]
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(squares > 0, background**2 / squares, 0.0)
    allowed = (background > 0) & (signal > 0) & (effective >= minimum_effective_events)
    if not allowed.any():
        reason = (
            "validation events: no cut leaves signal and "
            f"{minimum_effective_events:g} effective background events"
        )
        return None, reason
    # Σw² of all events behind the cut is scale·Σw² of the validation events, not scale²·Σw².
    error = np.sqrt((background_uncertainty * scale * background) ** 2 + scale * squares)
    expected = asimov_significance(scale * signal, scale * background, error)
    best = int(np.argmax(np.where(allowed, expected, -np.inf)))
    return float(falling[last[best]]), None
