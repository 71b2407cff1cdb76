"""Which test events of a run are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.studies.explain.examples import choose_examples
from particle_transformer.studies.explain.signal_logit import signal_logits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from particle_transformer.inference.out_of_fold import ScoredRun

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """Which events are looked at: rows of the scored events, by fold and rising in a fold.

    Attributes
    ----------
    rows
        int64 (test events,): all of them in the signal regions, rising.
    permuted, gradients
        int64 (drawn,).
    examples
        By rule.
    logit
        float64 (all events,): of the score.
    """

    rows: NDArray[np.int64]
    permuted: NDArray[np.int64]
    gradients: NDArray[np.int64]
    examples: Mapping[str, int]
    logit: NDArray[np.float64]

    @staticmethod
    def draw(scored: ScoredRun, events: int, gradient_events: int, seed: int) -> Sample:
        """Draw events from a scored run.

        Parameters
        ----------
        scored
            The run.
        events, gradient_events
            How many are drawn at most, in the same random order.
        seed
            Of the random numbers.

        Raises
        ------
        SampleError
            If a class has no event in the signal regions.
        """
        test = scored.test
        rows = np.flatnonzero(test.in_any(scored.analysis.signal_regions))
        for kind in (True, False):
            if not (test.is_signal[rows] == kind).any():
                name = "signal" if kind else "background"
                message = (
                    f"{scored.store.path}: no {name} event in "
                    f"{', '.join(scored.analysis.signal_regions)}; simulate more, or loosen the "
                    "selection"
                )
                raise SampleError(message)
        logit = signal_logits(scored.logits, two_scores=scored.two_scores)
        drawn = np.random.default_rng(seed).permutation(rows)
        chosen = choose_examples(logit[rows], test.is_signal[rows])
        permuted, gradients = (
            part[np.lexsort((part, test.fold[part]))]
            for part in (drawn[:events], drawn[:gradient_events])
        )
        examples = {rule: int(rows[position]) for rule, position in chosen.items()}
        return Sample(rows, permuted, gradients, examples, logit)
