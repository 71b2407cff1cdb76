"""What the fit says about its parameters: pulls, impacts on the signal strength, yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation.likelihood import FitResult
from particle_transformer.evaluation.template import Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from particle_transformer.evaluation.likelihood import Likelihood

__all__ = ["FittedYields", "Impact", "Pull", "before_fit", "fitted_yields", "impacts", "pulls"]


@dataclass(frozen=True)
class Pull:
    """One parameter after a fit.

    Attributes
    ----------
    name
        Of the parameter.
    value, error
        Fitted value θ̂ and its standard deviation.
    pull
        (θ̂ − θ₀)/σ₀ with the constraint θ₀ ± σ₀ before the fit; None for a free parameter.
    constraint
        error/σ₀: below 1 the data know the parameter better than its constraint; None likewise.
    """

    name: str
    value: float
    error: float
    pull: float | None
    constraint: float | None


def pulls(likelihood: Likelihood, fitted: FitResult) -> tuple[Pull, ...]:
    """Parameters after a fit, but the signal strength and constant ones.

    Parameters
    ----------
    likelihood
        Of the model.
    fitted
        Of a fit, such as the background-only one: ``likelihood.fit(data, {likelihood.strength:
        0.0})``. In that of the Asimov data every pull is 0 and the constraints are the news.
    """
    width = likelihood.constraint
    found = []
    for place in likelihood.varied:
        if place == likelihood.strength:
            continue
        value, error = float(fitted.parameters[place]), float(fitted.errors[place])
        pull, constraint = None, None
        if np.isfinite(width[place]):
            pull = (value - float(likelihood.initial[place])) / float(width[place])
            constraint = error / float(width[place])
        found.append(Pull(likelihood.names[place], value, error, pull, constraint))
    return tuple(found)


@dataclass(frozen=True)
class Impact:
    """How much one parameter moves the fitted signal strength.

    Attributes
    ----------
    name
        Of the parameter.
    up, down
        Shift of the fitted strength with the parameter at θ̂ + σ and θ̂ − σ (after the fit).
    """

    name: str
    up: float
    down: float

    @property
    def size(self) -> float:
        """The greater shift, absolute."""
        return max(abs(self.up), abs(self.down))


def impacts(
    likelihood: Likelihood,
    data: NDArray[np.float64] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Impact, ...]:
    """Impact of every parameter on the signal strength, the greatest first.

    The parameter is fixed one standard deviation (after the fit) above and below its fitted value,
    all others are fitted again, and the shift of the strength is the impact: the definition of
    the ATLAS and CMS rankings (such as ATLAS, Phys. Rev. D 97 (2018) 072016).

    Parameters
    ----------
    likelihood
        Of the model.
    data
        float64 (bins + auxiliary,); the background-only Asimov data by default.
    progress
        Called with (parameters done, parameters in all).

    Raises
    ------
    SampleError
        If a fit fails.
    """
    measured = likelihood.asimov(likelihood.initial) if data is None else data
    best = likelihood.fit(measured)
    nuisances = [place for place in likelihood.varied if place != likelihood.strength]
    found = []
    for done, place in enumerate(nuisances, start=1):
        centre, error = best.parameters[place], best.errors[place]
        # The linear estimate of where the others go is a start that is inside the model.
        slope = best.covariance[:, place] / max(error**2, np.finfo(float).tiny)
        shift = []
        for sign in (1.0, -1.0):
            value = float(
                np.clip(centre + sign * error, likelihood.low[place], likelihood.high[place])
            )
            start = best.parameters + slope * (value - centre)
            fitted = likelihood.fit(measured, {place: value}, start)
            strength = likelihood.strength
            shift.append(float(fitted.parameters[strength] - best.parameters[strength]))
        found.append(Impact(likelihood.names[place], shift[0], shift[1]))
        if progress is not None:
            progress(done, len(nuisances))
    return tuple(sorted(found, key=lambda impact: (-impact.size, impact.name)))


@dataclass(frozen=True)
class FittedYields:
    """Expected events of one region after a fit.

    Attributes
    ----------
    processes
        By process: float64 (bins,).
    total
        Of all processes; the squares are the variance from all parameters with their
        correlations, J C Jᵀ.
    """

    processes: dict[str, NDArray[np.float64]]
    total: Template


def before_fit(likelihood: Likelihood) -> FitResult:
    """What is known before any fit, in the form of one: nominal values and their constraints.

    The signal strength is 0. Free parameters, which nothing constrains, have no error here.

    Parameters
    ----------
    likelihood
        Of the model.
    """
    width = np.nan_to_num(likelihood.constraint)
    data = likelihood.asimov(likelihood.initial)
    nll = likelihood.nll(likelihood.initial, data)
    return FitResult(likelihood.initial.copy(), nll, np.diag(width**2))


def fitted_yields(likelihood: Likelihood, fitted: FitResult) -> dict[str, FittedYields]:
    """Yields after a fit by region.

    Parameters
    ----------
    likelihood
        Of the model.
    fitted
        Of a fit of it.
    """
    config = likelihood.model.config
    rates = likelihood.rates(fitted.parameters)
    jacobian = likelihood.jacobian(fitted.parameters)
    variance = np.einsum("bi,ij,bj->b", jacobian, fitted.covariance, jacobian)
    # (processes, bins of all regions)
    parts = likelihood.model.main_model.expected_data(fitted.parameters, return_by_sample=True)
    found = {}
    for region in config.channels:
        own = config.channel_slices[region]
        shares = {
            name: np.asarray(part, dtype=np.float64)
            for name, part in zip(config.samples, parts[:, own], strict=True)
        }
        found[str(region)] = FittedYields(
            shares, Template(rates[own], np.maximum(variance[own], 0))
        )
    return found
