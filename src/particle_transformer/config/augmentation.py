"""Which augmentations the features of an analysis allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.config.symmetries import Behaviours, Place
from particle_transformer.config.types import problem
from particle_transformer.expressions.quantities import UNKNOWN

if TYPE_CHECKING:
    from particle_transformer.config.analysis import Analysis
    from particle_transformer.expressions.symmetry import Symmetry, Transformation

__all__ = ["check_augmentation"]

_BECOMES: dict[Transformation, str] = {
    "flip_eta": "neither even nor odd under eta -> -eta",
    "flip_phi": "neither even nor odd under phi -> -phi",
    "rotate_phi": "neither an invariant of a rotation phi -> phi + alpha nor an angle in [-pi, pi]",
}

_CHANGES: dict[Transformation, str] = {
    "flip_eta": "not even under eta -> -eta",
    "flip_phi": "not even under phi -> -phi",
    "rotate_phi": "no invariant of a rotation phi -> phi + alpha",
}

_MEND: dict[Transformation, str] = {
    "flip_eta": "abs(eta)",
    "flip_phi": "abs(delta_phi(...))",
    "rotate_phi": "delta_phi(...)",
}


def check_augmentation(analysis: Analysis) -> None:
    """Refuse an augmentation under which the behaviour of a feature is not known.

    Spectators are not transformed, so they must be invariant.

    Raises
    ------
    PydanticCustomError
        See `problem`.
    """
    behaviours = Behaviours(analysis)
    features = [
        (f"objects.{name}.features.{number}", text, Place(name))
        for name, collection in analysis.objects.items()
        for number, text in enumerate(collection.features)
    ]
    features += [
        (f"event.features.{number}", text, Place(None))
        for number, text in enumerate(analysis.event.features)
    ]
    for transformation in analysis.training.augmentation:
        refused = [
            (key, text, place, _BECOMES[transformation])
            for key, text, place in features
            if not behaviours.of_text(text, place).knows(transformation)
        ]
        changes = f"{_CHANGES[transformation]}, and spectators are not transformed"
        refused += [
            (f"event.spectators.{number}", text, Place(None), changes)
            for number, text in enumerate(analysis.event.spectators)
            if not _is_invariant(behaviours.of_text(text, Place(None)), transformation)
        ]
        for key, text, place, what in refused:
            reason = _reason(behaviours, text, place, transformation, what)
            message = f"got {transformation}, but {key}, {text!r}, {reason}"
            raise problem(message, "training.augmentation")


def _is_invariant(found: Symmetry, transformation: Transformation) -> bool:
    if transformation == "rotate_phi":
        return found.turns == 0
    return found.sign(transformation) == 1


def _reason(
    behaviours: Behaviours, text: str, place: Place, transformation: Transformation, what: str
) -> str:
    for branch, owner in behaviours.branches(text, place):
        if behaviours.branch(branch, owner) == UNKNOWN:
            return (
                f"reads {branch!r}, whose behaviour is not known; if it has no direction give it "
                f"another name under fields or event.define, else drop {transformation}"
            )
    mend = _MEND[transformation]
    return f"is as far as is known {what}; write it with {mend}, or drop {transformation}"
