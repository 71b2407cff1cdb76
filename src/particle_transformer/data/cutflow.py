"""Cutflows: how many events, and what yield, each cut leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LUMI_MASK", "TRIGGER", "Cutflow", "Row"]

LUMI_MASK, TRIGGER = "luminosity mask", "trigger"
"""The rows of the cuts that come before the regions'."""


@dataclass
class Row:
    """Sums over the events that pass: raw number, Σw and Σw²."""

    events: int = 0
    sum_of_weights: float = 0.0
    sum_of_squares: float = 0.0


@dataclass
class Cutflow:
    """Rows by label, in the order in which the cuts were applied.

    The weights are not normalised; multiply Σw by the normalisation of the process and era, and
    Σw² by its square.
    """

    rows: dict[str, Row] = field(default_factory=dict)

    def add(self, label: str, passing: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        """Count the events with `passing` set, with their weights, in row `label`."""
        chosen = weight[passing]
        row = self.rows.setdefault(label, Row())
        row.events += int(np.count_nonzero(passing))
        row.sum_of_weights += float(chosen.sum())
        row.sum_of_squares += float(np.square(chosen).sum())

    def merge(self, other: Cutflow) -> None:
        """Add another chunk's sums."""
        for label, found in other.rows.items():
            row = self.rows.setdefault(label, Row())
            row.events += found.events
            row.sum_of_weights += found.sum_of_weights
            row.sum_of_squares += found.sum_of_squares
