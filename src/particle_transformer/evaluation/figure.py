"""A figure of merit with its error, or the reason why the events do not define it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Figure", "effective_events"]


def effective_events(weight: NDArray[np.float64]) -> float:
    """Effective number of events (Σw)²/Σw²: unweighted events with the same relative error.

    Parameters
    ----------
    weight
        float64 (events,): signed weights.

    Returns
    -------
    float
        0 for no event, and for events whose weights are all zero.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_transformer.evaluation import effective_events
    >>> effective_events(np.array([1.0, 1.0, 1.0, -1.0]))
    1.0
    """
    squares = float(np.sum(np.square(weight)))
    return float(np.sum(weight)) ** 2 / squares if squares > 0 else 0.0


@dataclass(frozen=True)
class Figure:
    """One figure of merit.

    Attributes
    ----------
    value
        The figure, or None where the events do not define it.
    error
        Its standard deviation over the bootstrap replicas, or None without a bootstrap, or where
        some replica does not define the figure.
    effective_events
        (Σw)²/Σw² of the events that limit its precision.
    reason
        Why `value` (or else `error`) is None although it was asked for.
    interval
        The central 68.3 % of the bootstrap replicas, where asked for.
    """

    value: float | None
    error: float | None = None
    effective_events: float = 0.0
    reason: str | None = None
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        numbers = [self.value, self.error, self.effective_events, *(self.interval or ())]
        if not all(number is None or math.isfinite(number) for number in numbers):
            message = f"a figure holds finite numbers or None, got {numbers}"
            raise ValueError(message)
        if self.value is None and not self.reason:
            message = "an undefined figure must say the reason"
            raise ValueError(message)

    def with_replicas(self, replicas: NDArray[np.float64], *, interval: bool = False) -> Figure:
        """Add the error that bootstrap replicas of this figure show.

        Parameters
        ----------
        replicas
            float64 (replicas,): the figure in each replica, NaN or ±inf where undefined.
        interval
            Also give the central 68.3 % interval of the replicas.

        Returns
        -------
        Figure
            With `error` (and `interval`), or with the reason why there is none: dropping the
            replicas that do not define the figure would make the error too small.
        """
        if self.value is None or replicas.size < 2:
            return self
        undefined = int(np.sum(~np.isfinite(replicas)))
        if undefined:
            reason = f"no error: undefined in {undefined} of {replicas.size} bootstrap replicas"
            return dataclasses.replace(self, reason=reason)
        bounds: tuple[float, float] | None = None
        if interval:
            low, high = np.quantile(replicas, [0.158655, 0.841345])
            bounds = (float(low), float(high))
        return dataclasses.replace(self, error=float(np.std(replicas, ddof=1)), interval=bounds)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for JSON; `interval` only where there is one."""
        content: dict[str, Any] = {
            "value": self.value,
            "error": self.error,
            "effective_events": self.effective_events,
            "reason": self.reason,
        }
        if self.interval is not None:
            content["interval"] = list(self.interval)
        return content
