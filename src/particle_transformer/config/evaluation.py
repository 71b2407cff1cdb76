"""What `aot evaluate` reports: one section of the analysis file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from particle_transformer.config.types import (
    Label,
    PlainName,
    Real,
    Section,
    Whole,
    each_once,
    problem,
)
from particle_transformer.errors import nearest
from particle_transformer.events.classes import SIGNAL

if TYPE_CHECKING:
    from particle_transformer.config.analysis import Analysis

__all__ = ["FIT_ROLES", "Evaluation", "Limit", "check_evaluation"]

FIT_ROLES = ("signal", "control")
"""Roles of regions that can take part in the fit: binned in the score, and of one bin."""


class Limit(Section):
    """The fit behind the expected limit.

    Attributes
    ----------
    regions
        The regions that are fitted together, of role signal or control; they must not share
        events. Empty: all of these roles.
    free
        Backgrounds whose normalisation the fit determines.
    normalisation
        Relative uncertainty of the normalisation by process, 0 for none. A background that is
        neither here nor in `free` has `Evaluation.background_uncertainty`.
    minimum_background, minimum_effective_events, maximum_bins
        What the bins of the score have to fulfil; see
        `particle_transformer.evaluation.BinningRule`.
    level
        Confidence level of the limit.
    """

    regions: Annotated[tuple[PlainName, ...], AfterValidator(each_once)] = ()
    free: Annotated[tuple[Label, ...], AfterValidator(each_once)] = ()
    normalisation: dict[Label, Annotated[Real, Field(ge=0.0)]] = Field(default_factory=dict)
    minimum_background: Annotated[Real, Field(gt=0.0)] = 3.0
    minimum_effective_events: Annotated[Real, Field(gt=0.0)] = 10.0
    maximum_bins: Annotated[Whole, Field(ge=1)] = 10
    level: Annotated[Real, Field(gt=0.0, lt=1.0)] = 0.95

    @model_validator(mode="after")
    def _free_or_uncertain(self) -> Self:
        for name in self.free:
            if name in self.normalisation:
                message = (
                    f"{name} is in free, too, where the fit determines its normalisation; "
                    "expected one of the two"
                )
                raise problem(message, f"normalisation.{name}")
        return self


class Evaluation(Section):
    """What the evaluation reports.

    Attributes
    ----------
    working_points
        Signal efficiencies at which the background rejection is given.
    background_uncertainty
        Relative systematic uncertainty of the background yield in the significance; in the fit,
        of the normalisation of each background for which `limit` says nothing else.
    bootstrap
        Resamplings for the errors.
    limit
        The fit behind the expected limit.
    """

    working_points: Annotated[
        tuple[Annotated[Real, Field(gt=0.0, lt=1.0)], ...], Field(min_length=1)
    ] = (0.3, 0.5, 0.7)
    background_uncertainty: Annotated[Real, Field(ge=0.0)] = 0.1
    bootstrap: Annotated[Whole, Field(ge=2)] = 200
    limit: Limit = Limit()


def check_evaluation(analysis: Analysis) -> None:
    """Check that the fit has regions and processes of the analysis.

    Raises
    ------
    PydanticCustomError
        See `problem`.
    """
    limit, key = analysis.evaluation.limit, "evaluation.limit"
    fitted = [name for name, region in analysis.regions.items() if region.role in FIT_ROLES]
    for name in limit.regions:
        if name not in fitted:
            message = f"got {name!r}, expected a region of role signal or control; "
            raise problem(message + nearest(name, fitted), f"{key}.regions")
    if limit.regions and not set(limit.regions) & set(analysis.signal_regions):
        message = (
            f"got {', '.join(limit.regions)}, of which none has role: signal; expected at least "
            f"one of {', '.join(analysis.signal_regions)}"
        )
        raise problem(message, f"{key}.regions")
    simulated = analysis.training_processes
    backgrounds = [name for name in simulated if analysis.class_of(name) != SIGNAL]
    for name in limit.free:
        if name not in backgrounds:
            message = f"got {name!r}, expected a background process; {nearest(name, backgrounds)}"
            raise problem(message, f"{key}.free")
    for name in limit.normalisation:
        if name not in simulated:
            message = f"unknown process; expected a simulated one; {nearest(name, simulated)}"
            raise problem(message, f"{key}.normalisation.{name}")
