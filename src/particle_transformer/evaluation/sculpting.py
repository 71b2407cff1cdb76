"""How much the score says of event quantities in the background: what a cut on it would sculpt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.distance_correlation import distance_correlation_squared
from particle_transformer.evaluation.rejection import efficiency, fold_thresholds, passing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["BACKGROUND_EFFICIENCIES", "sculpting"]

BACKGROUND_EFFICIENCIES = (0.5, 0.1, 0.01)
"""Cuts on the score behind which the background is compared with all of it."""


def sculpting(
    test: ScoredEvents,
    validation: ScoredEvents,
    spectators: Mapping[str, NDArray[np.floating[Any]]],
    *,
    folds: int,
    signal_regions: Sequence[str] | None = None,
    correlated_events: int = 200_000,
) -> dict[str, Any]:
    """Dependence of the score on spectators in the background of the signal regions.

    Parameters
    ----------
    test, validation, folds, signal_regions
        As in `particle_transformer.evaluation.evaluate`. Only thresholds are taken from validation.
    spectators
        By name: float (test events,), what the network does not see.
    correlated_events
        Events that a distance correlation is computed of at most, evenly spaced; more of them take
        minutes and add no digit that counts.

    Returns
    -------
    dict
        For JSON. ``spectators``: by name the bias-corrected squared distance correlation
        (`distance_correlation_squared`) of score and spectator, a figure without error, with
        ``events``, how many simulated events it is computed of. ``cuts``: by background efficiency
        (`BACKGROUND_EFFICIENCIES`) the ``thresholds`` of the folds and the efficiency that is
        measured in the test events, a figure.

    Raises
    ------
    SampleError
        If a spectator is not aligned with the events, or NaN or infinite in the background.
    """
    for name, column in spectators.items():
        if column.shape != (len(test),):
            message = f"spectator {name!r} has shape {column.shape}, expected ({len(test)},)"
            raise SampleError(message)
    inside = np.ones(len(test), dtype=bool)
    if signal_regions is not None:
        inside = test.in_any(signal_regions)
        validation = validation.select(validation.in_any(signal_regions))
    index = np.flatnonzero(inside & ~test.is_signal)
    background = test.select(index)
    cuts: dict[str, Any] = {}
    for wanted in BACKGROUND_EFFICIENCIES:
        thresholds, defect = fold_thresholds(validation, wanted, folds, of="background")
        kept = efficiency(background.weight, passing(background, thresholds), "background")
        cuts[f"{wanted:g}"] = {
            **kept.to_json(),
            **({} if defect is None else {"value": None, "reason": defect}),
            "thresholds": {str(fold): thresholds.get(fold) for fold in range(folds)},
        }
    chosen = np.arange(len(index))
    if len(index) > correlated_events:
        chosen = np.arange(correlated_events) * len(index) // correlated_events
    found: dict[str, Any] = {}
    for name, column in spectators.items():
        figure = distance_correlation_squared(
            background.score[chosen],
            column[index[chosen]].astype(np.float64),
            background.weight[chosen],
        )
        found[name] = {**figure.to_json(), "events": len(chosen)}
    return {"spectators": found, "cuts": cuts}
