"""Scores of a run's own events: test events by the network of their fold, and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError
from particle_transformer.evaluation import Hypothesis, ScoredEvents
from particle_transformer.events import fold_of, split_roles
from particle_transformer.events.classes import DATA, SIGNAL
from particle_transformer.inference.networks import RunNetworks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.events import Events
    from particle_transformer.inference.score import Predictions

__all__ = ["ScoredRun", "score_run", "scored_events"]


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
    regression
        float64 (events, targets): by the networks of each event's own fold, in the targets' units.
    test
        The same events with scores, for evaluation.
    validation
        Validation events of each network, scored by it.
    training
        Training events of each network, scored by it, to look for overtraining: of the network of
        fold f those in the next fold, so that every event is here once at most.
    validation_logits
        float64 (validation events, outputs).
    hypotheses
        Of networks that are conditioned on parameters: the scores under each hypothesis.
    two_scores
        Whether the two logits are two scores of signal, not those of two classes.
    networks
        What scored them.
    """

    analysis: Analysis
    store: Store
    events: Events
    index: NDArray[np.int64]
    logits: NDArray[np.float64]
    ensemble: NDArray[np.float64]
    regression: NDArray[np.float64]
    test: ScoredEvents
    validation: ScoredEvents
    training: ScoredEvents
    validation_logits: NDArray[np.float64]
    hypotheses: tuple[Hypothesis, ...]
    two_scores: bool
    networks: RunNetworks


def score_run(
    run: RunFolder, *, progress: Callable[[str, int, int], None] | None = None
) -> ScoredRun:
    """Score the events of a run's store: every event by the network that never read its fold.

    Networks that are conditioned on parameters score signal with its own, background with the
    parameters it always draws; and once more every event under each hypothesis.

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
            f"{store.path}: the store has changed since {run.path} was trained on it, by other input files or another "
            f"analysis; train again, and give analyses with other events or spectators another --store"
        )
        raise InputFileError(message)
    store.verify()
    folds = int(record["folds"])
    every = store.events()
    simulated = np.array([name != DATA for name in store.manifest.classes])
    index = np.flatnonzero(simulated[every.process])
    events = every.take(index)
    fold = fold_of(events.identity, folds)
    networks = RunNetworks(run, record)
    used = np.logical_or.reduce([events.regions[name] for name in analysis.signal_regions])
    unused = np.flatnonzero(~used)
    roles = [split_roles(events.identity, number, folds) for number in range(folds)]
    seen = [
        training[used[training] & (fold[training] == (number + 1) % folds)]
        for number, (training, _, _) in enumerate(roles)
    ]
    points = networks.hypotheses
    total = networks.per_fold * sum(
        (1 + len(points)) * (len(validation) + len(test)) + len(unused) + len(trained)
        for (_, validation, test), trained in zip(roles, seen, strict=True)
    )
    done = 0

    def report(events_done: int) -> None:
        nonlocal done
        done += events_done
        if progress is not None:
            progress("scoring", done, total)

    rows = np.concatenate([validation for _, validation, _ in roles])
    validated = np.repeat(np.arange(folds), [len(validation) for _, validation, _ in roles])
    tested_columns, validated_columns = (
        _Columns.empty(number, networks) for number in (len(events), len(rows))
    )
    every_fold, trained_logits = [], []
    for number, (_, validation, test) in enumerate(roles):
        of_fold = networks.of_fold(number)
        for chosen, place, columns in (
            (test, test, tested_columns),
            (validation, np.flatnonzero(validated == number), validated_columns),
        ):
            part = events.take(chosen)
            columns.put(place, of_fold.predict(part, None, report))
            for point, parameters in enumerate(points):
                under = of_fold.predict(part, parameters, report)
                columns.hypotheses[point, place] = networks.score(under.logits)
        every_fold.append(of_fold.predict(events.take(unused), None, report))
        trained_logits.append(of_fold.predict(events.take(seen[number]), None, report).logits)
    ensemble = np.full(len(events), np.nan)
    ensemble[unused] = networks.score(networks.mean(every_fold).logits)
    names = np.array(store.manifest.processes)
    return ScoredRun(
        analysis,
        store,
        events,
        index,
        tested_columns.logits,
        ensemble,
        tested_columns.regression,
        scored_events(
            store.manifest,
            events,
            np.arange(len(events)),
            networks.score(tested_columns.logits),
            fold,
        ),
        scored_events(
            store.manifest, events, rows, networks.score(validated_columns.logits), validated
        ),
        scored_events(
            store.manifest,
            events,
            np.concatenate(seen),
            networks.score(np.concatenate(trained_logits)),
            np.repeat(np.arange(folds), [len(trained) for trained in seen]),
        ),
        validated_columns.logits,
        tuple(
            Hypothesis(parameters, tuple(names[networks.signals(point)].tolist()), *scores)
            for point, (parameters, *scores) in enumerate(
                zip(points, tested_columns.hypotheses, validated_columns.hypotheses, strict=True)
            )
        ),
        networks.two_scores,
        networks,
    )


@dataclass(frozen=True)
class _Columns:
    """What is predicted of events: float64 (events, outputs), (events, targets), (points, events)."""

    logits: NDArray[np.float64]
    regression: NDArray[np.float64]
    hypotheses: NDArray[np.float64]

    @staticmethod
    def empty(events: int, networks: RunNetworks) -> _Columns:
        return _Columns(
            np.empty((events, networks.outputs)),
            np.empty((events, len(networks.targets))),
            np.empty((len(networks.hypotheses), events)),
        )

    def put(self, rows: NDArray[np.int64], predictions: Predictions) -> None:
        self.logits[rows] = predictions.logits
        self.regression[rows] = predictions.regression


def scored_events(
    manifest: Manifest,
    events: Events,
    rows: NDArray[np.int64],
    score: NDArray[np.float64],
    fold: NDArray[np.int64],
) -> ScoredEvents:
    """Simulated events with scores, for evaluation.

    Parameters
    ----------
    manifest
        Of the store; names the processes.
    events
        Of the store, without data.
    rows
        int64 (selected,): the events that have scores; one may occur more than once.
    score
        float64 (selected,).
    fold
        int64 (selected,): the fold of the network that gave the score.
    """
    classes = np.array(manifest.classes)
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
        processes=tuple(manifest.processes[index] for index in simulated),
        process_class=tuple(manifest.classes[index] for index in simulated),
    )
