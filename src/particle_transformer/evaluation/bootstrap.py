"""Poisson bootstrap over events: statistical errors of figures of any form.

Each replica gives each event a multiplicity drawn from Poisson(1), the limit of resampling with
replacement for many events. It needs no event twice in memory, leaves the order of the scores
as it is (one sort serves all replicas), and is right for signed weights too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation.roc import roc_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from particle_transformer.evaluation.roc import RocCurve
    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["RocBand", "poisson_bootstrap", "roc_band"]


def poisson_bootstrap(
    statistics: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64] | float]],
    events: int,
    *,
    replicas: int = 200,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Values of statistics in Poisson-bootstrap replicas of a sample.

    Parameters
    ----------
    statistics
        Takes the multiplicities, float64 (events,), and returns named figures: a number or an
        array of always the same shape, NaN where undefined. A weighted sum is repeated with
        weights ``multiplicity * weight``, a sum of squared weights with
        ``multiplicity * weight**2``.
    events
        How many events there are.
    replicas
        How many replicas.
    seed
        Of the random numbers; the same seed gives the same replicas.
    progress
        Called after each replica with how many are done and how many there are.

    Returns
    -------
    dict
        By name: float64 (replicas, …); empty for no replicas.
    """
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {}
    for replica in range(replicas):
        multiplicity = generator.poisson(1.0, events).astype(np.float64)
        for name, value in statistics(multiplicity).items():
            drawn.setdefault(name, []).append(np.asarray(value, dtype=np.float64))
        if progress is not None:
            progress(replica + 1, replicas)
    return {name: np.stack(values) for name, values in drawn.items()}


@dataclass(frozen=True)
class RocBand:
    """A ROC curve on a grid of signal efficiencies, with its statistical band.

    Attributes
    ----------
    signal_efficiency
        float64 (points,): the grid.
    background_efficiency
        float64 (points,): of the tightest cut that reaches it.
    low, high
        float64 (points,): central 68.3 % of the bootstrap replicas; NaN where some replica is
        undefined, and without replicas.
    """

    signal_efficiency: NDArray[np.float64]
    background_efficiency: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def roc_band(
    events: ScoredEvents,
    signal_efficiency: NDArray[np.float64],
    *,
    replicas: int = 200,
    seed: int = 1,
) -> RocBand | None:
    """ROC curve of signal against all backgrounds with its bootstrap band.

    Parameters
    ----------
    events
        Test events.
    signal_efficiency
        float64 (points,): grid of signal efficiencies in [0, 1].
    replicas, seed
        Of the Poisson bootstrap.

    Returns
    -------
    RocBand or None
        None where the ROC curve is undefined.
    """
    # In order of the score, so that the stable sort inside each replica is a single merge run.
    ordered = events.select(np.argsort(events.score, kind="stable"))
    nominal = roc_curve(ordered.score, ordered.weight, ordered.is_signal)
    if nominal is None:
        return None
    undefined = np.full(signal_efficiency.shape, np.nan)

    def background(multiplicity: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        curve: RocCurve | None = roc_curve(
            ordered.score, multiplicity * ordered.weight, ordered.is_signal
        )
        return {"b": undefined if curve is None else curve.background_at(signal_efficiency)}

    drawn = poisson_bootstrap(background, len(ordered), replicas=replicas, seed=seed)
    low, high = undefined, undefined
    if replicas >= 2:
        low, high = np.quantile(drawn["b"], [0.158655, 0.841345], axis=0)
    return RocBand(signal_efficiency, nominal.background_at(signal_efficiency), low, high)
