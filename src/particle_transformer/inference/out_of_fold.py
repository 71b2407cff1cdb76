"""Scores of a run's own events: test events by the network of their fold, and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.artefact import load_artefact
from particle_transformer.config import DATA, SIGNAL, load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError
from particle_transformer.evaluation import ScoredEvents
from particle_transformer.events import fold_of, split_roles
from particle_transformer.inference.score import score_events, signal_probability

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.events import Events

__all__ = ["ScoredRun", "score_run"]


@dataclass(frozen=True)
class ScoredRun:
    """A run with the scores of its store's events.

    Attributes
    ----------
    analysis, store
        What was trained on what.
    events
        The simulated events of the store (no data), in its order.
    index
        int64 (events,): their rows in the store.
    logits
        float32 (events, outputs): by the network of each event's own fold.
    test
        The same events with scores, for evaluation.
    validation
        Validation events of each network, scored by it.
    """

    analysis: Analysis
    store: Store
    events: Events
    index: NDArray[np.int64]
    logits: NDArray[np.float32]
    test: ScoredEvents
    validation: ScoredEvents


def score_run(
    run: RunFolder, *, progress: Callable[[str, int, int], None] | None = None
) -> ScoredRun:
    """Score the events of a run's store: every event by the network that never read its fold.

    Raises
    ------
    InputFileError
        If the store is gone, altered, or not the one the networks were trained on.
    """
    record = run.read_record()
    analysis = load_analysis(run.analysis)
    store = Store(run.store())
    if store.manifest.fingerprint != record["store_fingerprint"]:
        message = (
            f"{store.path}: the store has changed since {run.path} was trained on it; train again"
        )
        raise InputFileError(message)
    store.verify()
    folds = int(record["folds"])
    every = store.events()
    simulated = np.array([name != DATA for name in store.manifest.classes])
    index = np.flatnonzero(simulated[every.process])
    events = every.take(index)
    fold = fold_of(events.identity, folds)
    logits: NDArray[np.float32] | None = None
    validation_rows = []
    validation_scores = []
    roles = [split_roles(events.identity, number, folds) for number in range(folds)]
    total = sum(len(validation) + len(test) for _, validation, test in roles)
    done = 0

    def report(events_done: int) -> None:
        nonlocal done
        done += events_done
        if progress is not None:
            progress("scoring", done, total)

    for number, (_, validation, test) in enumerate(roles):
        model, _ = load_artefact(run.network(number))
        scored = score_events(model, events.take(test), progress=report)
        if logits is None:
            logits = np.empty((len(events), scored.shape[1]), dtype=np.float32)
        logits[test] = scored
        validation_rows.append(validation)
        validation_scores.append(
            signal_probability(score_events(model, events.take(validation), progress=report))
        )
    assert logits is not None, "there are at least two folds"
    rows = np.concatenate(validation_rows)
    networks = np.repeat(np.arange(folds), [len(part) for part in validation_rows])
    return ScoredRun(
        analysis,
        store,
        events,
        index,
        logits,
        _scored(store, events, np.arange(len(events)), signal_probability(logits), fold),
        _scored(store, events, rows, np.concatenate(validation_scores), networks),
    )


def _scored(
    store: Store,
    events: Events,
    rows: NDArray[np.int64],
    score: NDArray[np.float64],
    fold: NDArray[np.int64],
) -> ScoredEvents:
    classes = np.array(store.manifest.classes)
    simulated = np.flatnonzero(classes != DATA)
    # Evaluation knows simulation alone: its processes are numbered without data.
    number = np.full(len(classes), -1, dtype=np.int16)
    number[simulated] = np.arange(len(simulated))
    process = events.process[rows]
    return ScoredEvents(
        score=score,
        weight=events.weight[rows],
        is_signal=(classes == SIGNAL)[process],
        process=number[process],
        fold=fold.astype(np.int16),
        regions={name: flags[rows] for name, flags in events.regions.items()},
        processes=tuple(store.manifest.processes[index] for index in simulated),
        process_class=tuple(store.manifest.classes[index] for index in simulated),
    )
