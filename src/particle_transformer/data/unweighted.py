"""An analysis as scoring needs it: what shapes events, and nothing that weighs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from particle_transformer.config import Analysis, Variation

__all__ = ["without_weights"]


def without_weights(analysis: Analysis) -> Analysis:
    """The analysis without weights and spectators, and with kinematic variations only.

    Objects, features, selections and identities are the same, so that events are selected, and
    belong to folds, as in the training; a file need not have the branches of what is left out.
    """
    variations = {
        name: kinematic
        for name, variation in analysis.variations.items()
        if (kinematic := _kinematic(variation)).sides
    }
    event = analysis.event.model_copy(update={"weight": None, "spectators": ()})
    return analysis.model_copy(update={"weights": {}, "event": event, "variations": variations})


def _kinematic(variation: Variation) -> Variation:
    """The variation without its weights and alternative files."""
    sides = {
        name: {
            key: value
            for key, value in side.items()
            if key.partition(".")[0] not in ("weights", "processes")
        }
        for name, side in variation.sides.items()
    }
    return variation.model_copy(update={name: side or None for name, side in sides.items()})
