"""Figures of merit of each hypothesis of the signal, for a classifier that is told which it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError, nearest
from particle_transformer.evaluation.metrics import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["Hypothesis", "evaluate_hypotheses"]

FIGURES = ("auc", "auc_unweighted", "rejection", "significance")


@dataclass(frozen=True)
class Hypothesis:
    """All events, scored by networks that were told one hypothesis.

    Attributes
    ----------
    parameters
        Value of each parameter, by name.
    signals
        Names of the signal processes that have them.
    test, validation
        float64 (test events,) and (validation events,): the scores.
    """

    parameters: Mapping[str, float]
    signals: tuple[str, ...]
    test: NDArray[np.float64]
    validation: NDArray[np.float64]


def evaluate_hypotheses(
    test: ScoredEvents,
    validation: ScoredEvents,
    hypotheses: Sequence[Hypothesis],
    *,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Figures of the signal of each hypothesis against all backgrounds.

    Signal processes of other hypotheses are left out; all scores, those of the validation events
    that the thresholds come from too, are those under the hypothesis.

    Parameters
    ----------
    test, validation
        As in `evaluate`; their scores are not read.
    hypotheses
        The hypotheses.
    progress
        Called with how many bootstrap replicas are done and how many there are, of all hypotheses.
    **settings
        Those of `evaluate`.

    Returns
    -------
    list of dict
        Of each hypothesis ``parameters``, ``processes`` (those of its signal), ``auc``,
        ``auc_unweighted``, ``rejection`` and ``significance``, as in `evaluate`.

    Raises
    ------
    SampleError
        As `evaluate`, and if a signal process is unknown.
    """
    found = []
    for number, hypothesis in enumerate(hypotheses):

        def report(done: int, replicas: int, before: int = number) -> None:
            if progress is not None:
                progress(before * replicas + done, len(hypotheses) * replicas)

        metrics = evaluate(
            _under(test, hypothesis.test, hypothesis),
            _under(validation, hypothesis.validation, hypothesis),
            progress=report,
            **settings,
        )
        found.append(
            {
                "parameters": dict(hypothesis.parameters),
                "processes": list(hypothesis.signals),
                **{name: metrics[name] for name in FIGURES},
            }
        )
    return found


def _under(
    events: ScoredEvents, score: NDArray[np.float64], hypothesis: Hypothesis
) -> ScoredEvents:
    """Background and the hypothesis's signal, with the scores under it."""
    for name in hypothesis.signals:
        if name not in events.processes:
            message = f"hypothesis: unknown process {name!r} ({nearest(name, events.processes)})"
            raise SampleError(message)
    own = [events.processes.index(name) for name in hypothesis.signals]
    chosen = ~events.is_signal | np.isin(events.process, own)
    return dataclasses.replace(events, score=score).select(chosen)
