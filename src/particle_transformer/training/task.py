"""Which network of an analysis is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NetworkTask"]


@dataclass(frozen=True)
class NetworkTask:
    """Which network of an analysis.

    Attributes
    ----------
    fold
        The fold whose events it never reads.
    number
        Which of the fold's networks, that differ by their seed.
    """

    fold: int
    number: int = 0

    def seed(self, seed: int) -> int:
        """Seed of the network's initial weights, order of events and dropout."""
        return int(np.random.SeedSequence([seed, self.fold, self.number]).generate_state(1)[0])
