"""Expected limits and significance of a HistFactory model, by asymptotic formulae.

All of G. Cowan, K. Cranmer, E. Gross, O. Vitells, "Asymptotic formulae for likelihood-based tests
of new physics", Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727; CLs is that of A. Read,
J. Phys. G 28 (2002) 2693.

In the Asimov data set of the background-only model the strength is fitted to 0 and every other
parameter to its own value; q_A(μ) = −2 ln[L(μ, θ̂(μ)) / L(0, θ)] there is the test statistic q̃_μ
(their eq. 16), and √q_A = μ/σ (eq. 30). Under the background-only hypothesis √q̃_μ is Gaussian
around √q_A with unit width, so that the data that lie N standard deviations up give

    CLs(μ) = [1 − Φ(√q_A(μ) − N)] / Φ(N),

and the limit at CLs = α solves √q_A(μ) = N + Φ⁻¹(1 − α Φ(N)): their eq. 89 with
α Φ(N) for α.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.evaluation.likelihood import Likelihood

__all__ = ["ExpectedLimit", "expected_limit", "expected_significance"]

QUANTILES = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class ExpectedLimit:
    """Expected upper limit on the signal strength.

    Attributes
    ----------
    median
        The limit that half of the background-only experiments would set below.
    band
        Limits at −2, −1, 0, +1 and +2 standard deviations; the third is `median`.
    level
        Confidence level, 0.95.
    """

    median: float
    band: tuple[float, float, float, float, float]
    level: float


def expected_limit(
    likelihood: Likelihood,
    *,
    level: float = 0.95,
    background: NDArray[np.float64] | None = None,
) -> ExpectedLimit:
    """Median expected upper limit on the signal strength with its bands (CLs).

    Parameters
    ----------
    likelihood
        Of the model.
    level
        Confidence level.
    background
        float64 (parameters,): parameters of the background-only Asimov data, strength 0. The
        nominal ones by default; those of a fit to data for the post-fit expectation.

    Raises
    ------
    SampleError
        If `level` is not between 0 and 1, the data do not limit the strength, or a fit fails.
    """
    if not 0 < level < 1:
        message = f"confidence level {level:g}, expected between 0 and 1"
        raise SampleError(message)
    optimize = require("scipy.optimize", "report")
    parameters = likelihood.initial if background is None else background
    data = likelihood.asimov(parameters)
    best = likelihood.fit(data, start=parameters)
    error = float(best.errors[likelihood.strength])
    lowest = likelihood.nll(parameters, data)
    start = parameters

    known = {0.0: 0.0}

    def distance(strength: float, target: float) -> float:
        nonlocal start
        if strength not in known:
            # Large variations can give −ln L two minima: one lies near the nominal values, another
            # may come along with the strength.
            fits = [
                likelihood.fit(data, {likelihood.strength: strength}, place)
                for place in (start, parameters)
            ]
            fitted = min(fits, key=lambda fit: fit.nll)
            start = fitted.parameters
            known[strength] = float(np.sqrt(max(2 * (fitted.nll - lowest), 0.0)))
        return known[strength] - target

    normal = NormalDist()
    found: list[float] = []
    for quantile in QUANTILES:
        target = quantile + normal.inv_cdf(1 - (1 - level) * normal.cdf(quantile))
        low, high = (found[-1] if found else 0.0), target * error
        for _ in range(40):
            if high > low and distance(high, target) > 0:
                break
            high = max(1.3 * high, low)
        else:
            message = f"the data do not limit the signal strength (tried up to {high:.3g})"
            raise SampleError(message + "; simulate more signal or add control regions")
        found.append(
            float(optimize.brentq(distance, low, high, args=(target,), rtol=1e-6, xtol=1e-7 * high))
        )
    low2, low1, median, high1, high2 = found
    return ExpectedLimit(median, (low2, low1, median, high1, high2), level)


def expected_significance(likelihood: Likelihood, strength: float = 1.0) -> float:
    """Median expected discovery significance √q₀ for a signal of given strength.

    From the Asimov data set of signal plus background (arXiv:1007.1727, eqs. 12 and 53).

    Parameters
    ----------
    likelihood
        Of the model.
    strength
        More than 0.

    Raises
    ------
    SampleError
        If `strength` is not positive, or a fit fails.
    """
    if not strength > 0:
        message = f"signal strength {strength:g}, expected more than 0"
        raise SampleError(message)
    parameters = likelihood.initial.copy()
    parameters[likelihood.strength] = strength
    data = likelihood.asimov(parameters)
    without = likelihood.fit(data, {likelihood.strength: 0.0})
    return float(np.sqrt(max(2 * (without.nll - likelihood.nll(parameters, data)), 0.0)))
