"""What features add to the logits of events, and how well that adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events

__all__ = ["Attributions", "completeness", "per_event"]


@dataclass(frozen=True)
class Attributions:
    """What each feature adds to the logit of its event's score.

    Attributes
    ----------
    objects
        float64 (objects, features) by collection.
    event
        float64 (events, event features).
    logit, baseline
        float64 (events,): of the events, and of their baselines.
    """

    objects: Mapping[str, NDArray[np.float64]]
    event: NDArray[np.float64]
    logit: NDArray[np.float64]
    baseline: NDArray[np.float64]

    @staticmethod
    def concatenate(parts: Sequence[Attributions]) -> Attributions:
        """Those of the events of all `parts` (at least one), in order."""
        return Attributions(
            {name: np.concatenate([part.objects[name] for part in parts])
             for name in parts[0].objects},
            *(
                np.concatenate([getattr(part, column) for part in parts])
                for column in ("event", "logit", "baseline")
            ),
        )  # fmt: skip

    def replaced(
        self, events: Events, chosen: NDArray[np.bool_], others: Attributions
    ) -> Attributions:
        """These with those of some events replaced.

        Parameters
        ----------
        events
            Whose attributions these are.
        chosen
            bool (events,): which.
        others
            Of the chosen events, in order.
        """
        objects = {name: values.copy() for name, values in self.objects.items()}
        for name, values in objects.items():
            values[np.repeat(chosen, events.objects[name].counts)] = others.objects[name]
        event = self.event.copy()
        event[chosen] = others.event
        return Attributions(objects, event, self.logit, self.baseline)


def completeness(attributions: Attributions, events: Events) -> NDArray[np.float64]:
    """Σ attributions − [F(x) − F(x′)] of each event: float64 (events,)."""
    total = attributions.event.sum(axis=1)
    for name, values in attributions.objects.items():
        total += per_event(values, events.objects[name].offsets).sum(axis=1)
    return np.asarray(total - (attributions.logit - attributions.baseline))


def per_event(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums (events, features) over the objects (objects, features) of each event."""
    cumulative = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray(cumulative[offsets[1:]] - cumulative[offsets[:-1]])
