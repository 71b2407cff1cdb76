"""Scores of events while the network is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Scores"]


class Scores(NamedTuple):
    """Scores by the network as it is, with what evaluation needs to know of the events.

    Attributes
    ----------
    score
        float64 (events,): higher is more like signal, in [0, 1].
    weight
        float64 (events,): signed physics weight.
    is_signal
        bool (events,).
    """

    score: NDArray[np.float64]
    weight: NDArray[np.float64]
    is_signal: NDArray[np.bool_]

    @staticmethod
    def concatenate(parts: Sequence[Scores]) -> Scores:
        """Join `parts`, at least one, in order."""
        return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))
