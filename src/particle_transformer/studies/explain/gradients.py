"""Integrated gradients (M. Sundararajan, A. Taly, Q. Yan, arXiv:1703.01365) of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from particle_transformer.events.packed import PackedBatch
from particle_transformer.studies.explain.attributions import Attributions, completeness
from particle_transformer.studies.explain.signal_logit import signal_logit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from particle_transformer.events import Events
    from particle_transformer.model import EventNetwork

__all__ = ["MOST_STEPS", "STEPS", "TOLERANCE", "integrated_gradients"]

STEPS = 32
"""Points of the quadrature at first."""
MOST_STEPS = 2048
"""Points above which no event gets more."""
TOLERANCE = 0.01
"""Error of the sum of an event's attributions, in its logit, that asks for more points."""

_EVENTS = 512  # at once


def integrated_gradients(
    models: Sequence[EventNetwork],
    events: Events,
    *,
    two_scores: bool = False,
    fixed: int = 0,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
    progress: Callable[[int], None] | None = None,
) -> Attributions:
    """Attribute the logit F of the score to the features (arXiv:1703.01365 eq. 1).

    The baseline x′ of an event x is the event with the same objects, each of their features and
    each event feature at its mean over the training events, that is 0 behind the standardisation.
    Feature i gets

        (x_i − x′_i) ∫₀¹ ∂F/∂x_i (x′ + α (x − x′)) dα,

    by Gauss-Legendre quadrature; the sum over all features of the event and its objects is
    F(x) − F(x′) (completeness, proposition 1), but for the error of the quadrature. Events where
    that is too large get four times the points, and so on: where an embedding passes through zero,
    its normalisation turns it at once, and F has a step. The number of
    objects and the four-momenta that the pairwise bias reads are the same all along the path: what
    they say is in F(x′).

    Parameters
    ----------
    models
        Of one fold; F is that of the mean of their probabilities. They have one standardisation,
        as they have the same training events. Their parameters are frozen.
    events
        As the networks see them.
    two_scores
        Whether two outputs are two scores of signal, not those of two classes.
    fixed
        The last so many event features stay as they are: parameters of a hypothesis.
    steps
        Points of the quadrature at first.
    tolerance
        Error of the sum, in the logit, above which an event gets more, up to `MOST_STEPS`.
    progress
        Called with the number of events done since the last call.
    """
    for model in models:
        model.eval()
        model.requires_grad_(False)
    parts = []
    for start in range(0, max(1, len(events)), _EVENTS):
        piece = events.slice(start, min(start + _EVENTS, len(events)))
        found = _of_events(models, piece, two_scores, fixed, steps)
        points = steps
        while points < MOST_STEPS:
            unfinished = np.abs(completeness(found, piece)) > tolerance  # (events,)
            if not unfinished.any():
                break
            points *= 4
            again = piece.take(np.flatnonzero(unfinished))
            found = found.replaced(
                piece, unfinished, _of_events(models, again, two_scores, fixed, points)
            )
        parts.append(found)
        if progress is not None:
            progress(len(piece))
    return Attributions.concatenate(parts)


def _of_events(
    models: Sequence[EventNetwork], events: Events, two_scores: bool, fixed: int, steps: int
) -> Attributions:
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    path = [((1 + node) / 2, share / 2) for node, share in zip(nodes, shares, strict=True)]
    batch = PackedBatch.from_events(events)
    names = models[0].collections
    ends = [*(batch.objects[name] for name in names), batch.event]
    starts = _baseline(models[0], ends, fixed)

    def logit(tensors: Sequence[Tensor]) -> Tensor:
        *objects, event = tensors
        seen = PackedBatch(
            dict(zip(names, objects, strict=True)), batch.offsets, event, batch.momenta
        )
        return signal_logit(
            [model.forward_packed(seen) for model in models], two_scores=two_scores
        )  # (events,)

    totals = [np.zeros(end.shape) for end in ends]
    for place, share in path:
        between = [
            torch.lerp(start, end, place).requires_grad_()
            for start, end in zip(starts, ends, strict=True)
        ]
        # The other events of a batch change nothing: one gradient of the sum is that of each.
        slopes = torch.autograd.grad(logit(between).sum(), between, allow_unused=True)
        for total, slope in zip(totals, slopes, strict=True):
            if slope is not None:  # None: the collection has no object in the batch
                np.add(total, share * slope.double().numpy(), out=total)
    *objects, event = (
        total * (end - start).double().numpy()
        for total, start, end in zip(totals, starts, ends, strict=True)
    )
    with torch.no_grad():
        values = [logit(tensors).double().numpy() for tensors in (ends, starts)]
    return Attributions(dict(zip(names, objects, strict=True)), event, *values)


def _baseline(model: EventNetwork, ends: Sequence[Tensor], fixed: int) -> list[Tensor]:
    """Means of the training events in the place of the features, in float32."""
    scalings = [*model.object_scaling, model.event_scaling]
    found = []
    for scaling, end in zip(scalings, ends, strict=True):
        mean = scaling.mean
        assert isinstance(mean, torch.Tensor)
        found.append(mean.to(end.dtype).expand_as(end).clone())  # (rows, features)
    if fixed:
        found[-1][:, -fixed:] = ends[-1][:, -fixed:]
    return found
