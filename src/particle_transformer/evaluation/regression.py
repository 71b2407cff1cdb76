"""Bias and resolution of regressed quantities, with signed weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["bias_and_resolution", "evaluate_regression"]


def bias_and_resolution(
    residual: NDArray[np.float64], weight: NDArray[np.float64], name: str = "events"
) -> tuple[Figure, Figure]:
    """Weighted mean and standard deviation of residuals r = predicted − true.

    b = Σ w r / Σ w and σ² = Σ w (r − b)² / Σ w. Their errors are statistical, to first order in
    1/n and whatever the distribution of r: var b = Σ w² (r − b)² / (Σ w)² and
    var σ² = Σ w² ((r − b)² − σ²)² / (Σ w)², with which the error of σ is that of σ² over 2σ.

    Parameters
    ----------
    residual
        float64 (events,).
    weight
        float64 (events,): signed.
    name
        What to call the events in a reason.

    Returns
    -------
    bias, resolution : Figure
        In the quantity's units. Undefined if the total weight is not positive, the resolution also
        where negative weights make σ² negative.

    Raises
    ------
    SampleError
        If the columns have different shapes, or a value is NaN or infinite.
    """
    for what, column in (("residual", residual), ("weight", weight)):
        if column.shape != (len(residual),):
            message = f"{what}: got shape {column.shape}, expected ({len(residual)},)"
            raise SampleError(message)
        if bad := int(np.sum(~np.isfinite(column))):
            message = (
                f"{what}: {bad} of {len(column)} values are NaN or infinite, expected finite ones"
            )
            raise SampleError(message)
    effective = effective_events(weight)
    defect = weight_defect(weight, name)
    if defect:
        undefined = Figure(None, effective_events=effective, reason=defect)
        return undefined, undefined
    p = weight / weight.sum()
    bias = float(p @ residual)
    square = (residual - bias) ** 2  # (events,)
    error = float(np.sqrt(p**2 @ square))
    figure = Figure(bias, error, effective)
    variance = float(p @ square)
    if variance < 0:
        reason = f"the variance of the residuals of the {name} events is {variance:.4g}, negative"
        return figure, Figure(None, effective_events=effective, reason=reason)
    resolution = math.sqrt(variance)
    spread = float(np.sqrt(p**2 @ (square - variance) ** 2))
    return figure, Figure(resolution, spread / (2 * resolution) if variance else 0.0, effective)


def evaluate_regression(
    events: ScoredEvents,
    targets: Sequence[str],
    predicted: NDArray[np.floating],
    true: NDArray[np.floating],
) -> dict[str, Any]:
    """Bias and resolution of each regressed quantity in each class, ready for JSON.

    Parameters
    ----------
    events
        The events, for their weights and classes.
    targets
        Names of the quantities.
    predicted, true
        Floating (events, targets), in the quantities' own units.

    Returns
    -------
    dict
        By target, then by class: ``events``, ``bias`` and ``resolution``.

    Raises
    ------
    SampleError
        As `bias_and_resolution`.
    """
    classes = np.array(events.process_class)
    found: dict[str, Any] = {}
    for column, target in enumerate(targets):
        residual = predicted[:, column].astype(np.float64) - true[:, column]
        found[target] = {}
        for name in dict.fromkeys(events.process_class):
            own = np.flatnonzero((classes == name)[events.process])
            bias, resolution = bias_and_resolution(residual[own], events.weight[own], name)
            found[target][name] = {
                "events": len(own),
                "bias": bias.to_json(),
                "resolution": resolution.to_json(),
            }
    return found
