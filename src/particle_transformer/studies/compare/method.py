"""What a method is, and what is kept of a classifier."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from particle_transformer.inference.score import signal_probability

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.events import Events
    from particle_transformer.studies.compare.events import ComparedEvents, FoldEvents

__all__ = ["Method", "Trained", "outputs_of", "scored"]


@dataclass(frozen=True)
class Trained:
    """What is kept of a classifier: what it says of events, and what it costs.

    Attributes
    ----------
    test, validation
        float64 (events,): probability of signal of the fold's test and validation events.
    seconds
        Of the training, validation included.
    parameters
        Trained numbers of a network; splits and leaves of trees.
    rate
        Test events scored per second, by as many threads as in the training.
    best
        The epoch, or number of trees, of the lowest validation loss, from 0.
    """

    test: NDArray[np.float64]
    validation: NDArray[np.float64]
    seconds: float
    parameters: int
    rate: float
    best: int


class Method(Protocol):
    """One method."""

    @property
    def label(self) -> str:
        """What tables call it."""

    @property
    def sections(self) -> tuple[str, ...]:
        """Dotted keys of the analysis that decide what comes out, beside ``training``."""

    def train(
        self,
        compared: ComparedEvents,
        fold: FoldEvents,
        seed: int,
        scratch: Path,
        report: Callable[[str], None],
    ) -> Trained:
        """Train one classifier, and score its fold's test and validation events.

        Parameters
        ----------
        compared, fold
            The events; none of `fold.test_rows` is read for the training.
        seed
            Which of the classifiers of a fold, from 0.
        scratch
            A folder of this classifier's own, from which an interrupted training goes on.
        report
            Called with the state of the training.
        """


def scored(
    logits: Callable[[Events], NDArray[np.floating]], compared: ComparedEvents, fold: FoldEvents
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Scores of the test and of the validation events, and test events per second.

    Parameters
    ----------
    logits
        Of events, (events, outputs).
    compared, fold
        The events.
    """
    found, rate = [], 0.0
    for rows in (fold.validation_rows, fold.test_rows):
        events = compared.events.take(rows)
        started = time.perf_counter()
        found.append(signal_probability(logits(events)))
        rate = len(rows) / (time.perf_counter() - started)
    return found[1], found[0], rate


def outputs_of(analysis: Analysis) -> int:
    """Logits of a classifier of the analysis's classes."""
    classes = len(analysis.classes)
    return 1 if classes == 2 else classes
