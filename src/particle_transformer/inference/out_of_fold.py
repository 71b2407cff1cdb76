"""Scores of a run's own events: test events by the network of their fold, and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.artefact import load_artefact
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError
from particle_transformer.evaluation import ScoredEvents
from particle_transformer.events import fold_of, split_roles
from particle_transformer.events.classes import DATA, SIGNAL
from particle_transformer.inference.score import mean_logits, score_events, signal_probability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.events import Events
    from particle_transformer.model import AnalysisObjectTransformer

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
        float64 (events, outputs): by the networks of each event's own fold.
    ensemble
        float64 (events,): score by the networks of all folds; NaN for events that some of them
        were trained with.
    test
        The same events with scores, for evaluation.
    validation
        Validation events of each network, scored by it.
    """

    analysis: Analysis
    store: Store
    events: Events
    index: NDArray[np.int64]
    logits: NDArray[np.float64]
    ensemble: NDArray[np.float64]
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
    networks = _Networks(run, record)
    used = np.logical_or.reduce([events.regions[name] for name in analysis.signal_regions])
    unused = np.flatnonzero(~used)
    roles = [split_roles(events.identity, number, folds) for number in range(folds)]
    total = sum(len(validation) + len(test) + len(unused) for _, validation, test in roles)
    done = 0

    def report(events_done: int) -> None:
        nonlocal done
        done += events_done
        if progress is not None:
            progress("scoring", done, total * networks.per_fold)

    logits = np.empty((len(events), networks.outputs))
    every_fold = []
    validation_scores = []
    for number, (_, validation, test) in enumerate(roles):
        models = networks.of_fold(number)
        logits[test] = networks.logits(models, events.take(test), report)
        validation_scores.append(
            networks.score(networks.logits(models, events.take(validation), report))
        )
        every_fold.append(networks.logits(models, events.take(unused), report))
    rows = np.concatenate([validation for _, validation, _ in roles])
    validated = np.repeat(np.arange(folds), [len(validation) for _, validation, _ in roles])
    ensemble = np.full(len(events), np.nan)
    ensemble[unused] = networks.score(networks.mean(every_fold))
    return ScoredRun(
        analysis,
        store,
        events,
        index,
        logits,
        ensemble,
        _scored(store, events, np.arange(len(events)), networks.score(logits), fold),
        _scored(store, events, rows, np.concatenate(validation_scores), validated),
    )


class _Networks:
    """The networks of a run, and how their outputs are averaged."""

    def __init__(self, run: RunFolder, record: dict[str, Any]) -> None:
        self._run = run
        self.per_fold = int(record["ensemble"])
        model, metadata = load_artefact(run.network(0))
        self.outputs = int(model.arguments["num_outputs"])
        self._two_scores = bool(metadata["two_scores"])

    def of_fold(self, fold: int) -> list[AnalysisObjectTransformer]:
        return [load_artefact(self._run.network(fold, n))[0] for n in range(self.per_fold)]

    def logits(
        self,
        models: list[AnalysisObjectTransformer],
        events: Events,
        report: Callable[[int], None],
    ) -> NDArray[np.float64]:
        return self.mean([score_events(model, events, progress=report) for model in models])

    def mean(self, logits: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
        return mean_logits(logits, two_scores=self._two_scores)

    def score(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return signal_probability(logits, two_scores=self._two_scores)


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
