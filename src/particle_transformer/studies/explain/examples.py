"""Single events: which are shown, and what their network did with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from particle_transformer.studies.explain.plane import plane_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.studies.explain.attributions import Attributions

__all__ = ["RULES", "Attention", "attention_of", "choose_examples", "described"]

RULES = (
    "most signal-like signal",
    "most signal-like background",
    "median signal",
    "least signal-like signal",
)
"""Which events are shown."""

EVENT = "event features"
"""Name of the event features among what attends."""


def choose_examples(logit: NDArray[np.float64], is_signal: NDArray[np.bool_]) -> dict[str, int]:
    """Positions of the events of `RULES`; each event counts one, whatever its weight.

    Parameters
    ----------
    logit, is_signal
        (events,): of the score; of two events with the same, the first counts as less signal-like.

    Returns
    -------
    dict
        By rule; without the rules of a class that has no event.
    """
    order = np.argsort(logit, kind="stable")
    signal, background = order[is_signal[order]], order[~is_signal[order]]
    found = {}
    if len(signal):
        found[RULES[0]] = int(signal[-1])
    if len(background):
        found[RULES[1]] = int(background[-1])
    if len(signal):
        found[RULES[2]] = int(signal[(len(signal) - 1) // 2])
        found[RULES[3]] = int(signal[0])
    return found


@dataclass(frozen=True)
class Attention:
    """Attention weights of one event, the mean over blocks and heads.

    Attributes
    ----------
    labels
        What attends: ``"jets 1"``, …, and the event features last where they are a token.
    between
        float64 (labels, labels): from the first to the second; those from one sum to 1.
    class_token
        float64 (labels,): from the class token to each.
    itself
        From the class token to itself; all of it sums to 1.
    """

    labels: tuple[str, ...]
    between: NDArray[np.float64]
    class_token: NDArray[np.float64]
    itself: float


def attention_of(model: AnalysisObjectTransformer, event: Events) -> Attention:
    """Attention weights of one event, as its network sees it.

    Parameters
    ----------
    model
        The network.
    event
        One event.
    """
    objects = {name: torch.from_numpy(r.values)[None] for name, r in event.objects.items()}
    momenta = {
        name: torch.from_numpy(ragged.momenta)[None]
        for name, ragged in event.objects.items()
        if ragged.momenta is not None
    }
    maps = model.attention_maps(objects, torch.from_numpy(event.event), momenta=momenta or None)
    labels = [
        f"{name} {number}"
        for name, slots in maps.slots.items()
        for number in range(1, slots.stop - slots.start + 1)
    ]
    between = torch.stack(maps.objects).double().mean((0, 1, 2)).numpy()
    token = torch.stack(maps.class_token).double().mean((0, 1, 2)).numpy()
    if len(between) > len(labels):
        labels.append(EVENT)
    return Attention(tuple(labels), between, token[1:], float(token[0]))


def described(
    event: Events,
    attributions: Attributions,
    attention: Attention,
    objects: Mapping[str, Sequence[str]],
    features: Sequence[str],
) -> dict[str, Any]:
    """What ``explain.json`` says of the content of one event.

    Parameters
    ----------
    event
        One event.
    attributions, attention
        Of it.
    objects, features
        Feature expressions by collection, and those of the event.

    Returns
    -------
    dict
        ``objects`` (by collection, a mapping for each object), ``event``, ``directions``,
        ``phi_origin``, ``attention``, ``logit`` and ``baseline_logit``.
    """
    plane = plane_of(event, objects, features)
    given = iter(attention.class_token.tolist())
    listed: dict[str, list[dict[str, Any]]] = {}
    for name, texts in objects.items():
        ragged = event.objects[name]
        listed[name] = []
        for row in range(len(ragged.values)):
            place = plane.objects[name][row].tolist() if name in plane.objects else [None] * 3
            listed[name].append(
                dict(zip(("pt", "eta", "phi"), place, strict=True))
                | {
                    "features": _named(texts, ragged.values[row]),
                    "attributions": _named(texts, attributions.objects[name][row]),
                    "attention": next(given),
                }
            )
    return {
        "logit": float(attributions.logit[0]),
        "baseline_logit": float(attributions.baseline[0]),
        "objects": listed,
        "event": {
            "features": _named(features, event.event[0]),
            "attributions": _named(features, attributions.event[0]),
        },
        "phi_origin": plane.origin,
        "directions": [
            {"name": each.name, "phi": each.phi, "pt": each.pt} for each in plane.directions
        ],
        "attention": {
            "labels": list(attention.labels),
            "between": attention.between.tolist(),
            "class_token": {
                "itself": attention.itself,
                "event_features": next(given, None),
            },
        },
    }


def _named(texts: Sequence[str], values: NDArray[Any]) -> dict[str, float]:
    """Values (columns,) by expression; further columns, of parameters, are left out."""
    return dict(zip(texts, values[: len(texts)].tolist(), strict=True))
