"""What a network is trained for: its loss, and what is trained beside it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from particle_transformer.config.types import (
    Features,
    Real,
    Section,
    each_once,
    one_or_many,
    problem,
    shown,
)
from particle_transformer.errors import nearest

__all__ = ["DisCo", "DoubleDisCo", "Loss", "Regression"]

_LOSSES = ("cross_entropy", "focal")


def _known_loss(name: object) -> object:
    if name not in _LOSSES:
        hint = nearest(name, _LOSSES) if isinstance(name, str) else "known: " + ", ".join(_LOSSES)
        message = f"got {shown(name)}, expected the name of a loss; {hint}"
        raise problem(message)
    return name


Spectators = Annotated[
    Features, Field(min_length=1), AfterValidator(each_once), BeforeValidator(one_or_many)
]
"""Some of ``event.spectators``, as they are written there."""

Strength = Annotated[Real, Field(gt=0.0)]
"""The factor of a term beside the loss of the classification."""


class Loss(Section):
    """The loss of the classification; in the file also its name alone.

    Attributes
    ----------
    name
        ``focal`` is the cross-entropy with the factor (1 − p)^γ, where p is the probability of the
        event's own class (arXiv:1708.02002, eq. 4).
    gamma
        γ, of ``focal`` only, and 2 where it is absent.
    """

    name: Annotated[Literal["cross_entropy", "focal"], BeforeValidator(_known_loss)] = (
        "cross_entropy"
    )
    gamma: Annotated[Real, Field(ge=0.0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, data: object) -> object:
        if isinstance(data, Loss):
            return data
        plain = data if isinstance(data, dict) else {"name": _known_loss(data)}
        if plain.get("name") == "focal" and plain.get("gamma") is None:
            return {**plain, "gamma": 2.0}
        return plain

    @model_validator(mode="after")
    def _focal_has_gamma(self) -> Self:
        if self.gamma is not None and self.name != "focal":
            message = f"got {self.gamma:g}, but {self.name} has none; expected it with name: focal"
            raise problem(message, "gamma")
        return self


class DisCo(Section):
    """Decorrelation by the distance correlation with the score (arXiv:2001.05310).

    Attributes
    ----------
    against
        The spectators that the score is to be independent of.
    strength
        λ, the factor of the distance correlation beside the loss.
    classes
        Of which events: of the background only, or of all.
    """

    against: Spectators
    strength: Strength = 5.0
    classes: Literal["background", "all"] = "background"


class DoubleDisCo(Section):
    """Two scores that are independent of each other in the background (arXiv:2007.14400).

    Attributes
    ----------
    strength
        λ, the factor of the distance correlation of the two scores beside their losses.
    """

    strength: Strength = 10.0


class Regression(Section):
    """A second head that regresses quantities of the event.

    Attributes
    ----------
    targets
        The spectators that it regresses.
    strength
        The factor of its loss beside that of the classification.
    delta
        Where the Huber loss turns from quadratic to linear, in units of the scaled target.
    """

    targets: Spectators
    strength: Strength = 0.1
    delta: Annotated[Real, Field(gt=0.0)] = 1.0
