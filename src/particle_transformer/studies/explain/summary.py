"""Attributions of many events, in a few figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import auc, effective_events
from particle_transformer.evaluation.figure import Figure
from particle_transformer.evaluation.roc import weight_defect
from particle_transformer.studies.explain.attributions import per_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.studies.explain.attributions import Attributions

__all__ = ["summarised", "weighted_mean"]

_POSITIONS = 8
"""Objects of a collection that have figures of their own."""


def weighted_mean(values: NDArray[np.float64], weight: NDArray[np.float64], name: str) -> Figure:
    """Mean with signed weights; its error is that of a ratio of sums, √(Σ w² (x − mean)²) / Σ w.

    Parameters
    ----------
    values, weight
        float64 (events,).
    name
        What to call the events.
    """
    effective = effective_events(weight)
    defect = weight_defect(weight, name)
    if defect:
        return Figure(None, effective_events=effective, reason=defect)
    total = weight.sum()
    mean = float(values @ weight / total)
    error = float(np.sqrt(np.sum(np.square(weight * (values - mean))))) / float(total)
    return Figure(mean, error, effective)


def summarised(
    attributions: Attributions,
    events: Events,
    weight: NDArray[np.float64],
    is_signal: NDArray[np.bool_],
    objects: Mapping[str, Sequence[str]],
    features: Sequence[str],
) -> dict[str, Any]:
    """What ``explain.json`` says of the attributions of many events.

    Parameters
    ----------
    attributions
        Of the events.
    events
        The events.
    weight, is_signal
        (events,): signed physics weight; whether it is signal.
    objects, features
        Feature expressions by collection, and those of the event.

    Returns
    -------
    dict
        ``features``: of each feature, summed over the objects of an event, the mean of its size
        (``size``: of signal and background, both with the same weight) and of itself in
        ``signal`` and ``background``. ``objects``: by collection and position in the event, the
        mean size of each feature's attribution. ``baseline``: what F(x′) says.
    """
    classes = {"signal": is_signal, "background": ~is_signal}

    def means(values: NDArray[np.float64]) -> dict[str, Any]:
        signed = {
            name: weighted_mean(values[chosen], weight[chosen], name)
            for name, chosen in classes.items()
        }
        return {name: figure.to_json() for name, figure in signed.items()}

    def size(values: NDArray[np.float64], own: NDArray[np.intp] | slice) -> dict[str, Any]:
        sizes = [
            weighted_mean(np.abs(values[chosen[own]]), weight[own][chosen[own]], name)
            for name, chosen in classes.items()
        ]
        return _half_sum(sizes).to_json()

    everything = slice(None)
    listed: list[dict[str, Any]] = []
    by_object: dict[str, list[dict[str, Any]]] = {}
    for name, texts in objects.items():
        offsets = events.objects[name].offsets
        values = attributions.objects[name]
        sums = per_event(values, offsets)
        for column, text in enumerate(texts):
            listed.append(
                {"name": f"{name}: {text}", "collection": name, "feature": text}
                | {"size": size(sums[:, column], everything)}
                | means(sums[:, column])
            )
        counts = np.diff(offsets)
        by_object[name] = []
        for position in range(min(_POSITIONS, int(counts.max(initial=0)))):
            own = np.flatnonzero(counts > position)
            rows = values[offsets[own] + position]
            by_object[name].append(
                {
                    "position": position + 1,
                    "events": len(own),
                    "features": {
                        text: size(rows[:, column], own) for column, text in enumerate(texts)
                    },
                }
            )
    for column, text in enumerate(features):
        values = attributions.event[:, column]
        listed.append(
            {"name": text, "collection": None, "feature": text}
            | {"size": size(values, everything)}
            | means(values)
        )
    return {
        "features": listed,
        "objects": by_object,
        "baseline": {
            **means(attributions.baseline),
            "auc": auc(attributions.baseline, weight, is_signal).to_json(),
        },
    }


def _half_sum(sizes: Sequence[Figure]) -> Figure:
    effective = min(figure.effective_events for figure in sizes)
    values = [figure.value for figure in sizes if figure.value is not None]
    if len(values) < len(sizes):
        reason = next(figure.reason for figure in sizes if figure.value is None)
        return Figure(None, effective_events=effective, reason=reason)
    errors = [figure.error or 0.0 for figure in sizes]
    return Figure(sum(values) / 2, float(np.hypot.reduce(errors)) / 2, effective)
