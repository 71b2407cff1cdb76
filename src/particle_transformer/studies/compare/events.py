"""The events that every method is trained, validated and tested with: the same for all."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import AnalysisFileError
from particle_transformer.events import fold_of, split_roles
from particle_transformer.events.classes import DATA
from particle_transformer.inference.out_of_fold import scored_events
from particle_transformer.training.roles import check_folds, fold_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest, Store
    from particle_transformer.evaluation import ScoredEvents
    from particle_transformer.events import Events
    from particle_transformer.training.sample import Sample

__all__ = ["ComparedEvents", "FoldEvents", "check_comparable", "with_quantities"]


@dataclass(frozen=True)
class FoldEvents:
    """The events of the classifiers of one fold, for every method and seed.

    Attributes
    ----------
    fold
        The fold that they must not read.
    training, validation
        Events with their training weights.
    validation_rows, test_rows
        int64 (selected,): rows of the validation and of the test events, rising.
    """

    fold: int
    training: Sample
    validation: Sample
    validation_rows: NDArray[np.int64]
    test_rows: NDArray[np.int64]

    def columns(self) -> Iterator[NDArray[Any]]:
        """What says which events, with which weights, a classifier is trained and validated on."""
        for sample in (self.training, self.validation):
            for events in sample.chunks():
                yield from (
                    events.identity,
                    events.process,
                    sample.weights(events.weight, events.process),
                )


@dataclass(frozen=True)
class ComparedEvents:
    """The simulated events of a store in regions of role signal.

    Attributes
    ----------
    analysis, manifest
        What they are.
    events
        In the order of the store.
    control
        Those in regions of role control and in none of role signal.
    folds
        By fold: who is trained, validated and tested with what.
    """

    analysis: Analysis
    manifest: Manifest
    events: Events
    control: Events
    folds: tuple[FoldEvents, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that classifiers are trained, validated and tested with, hexadecimal.

        Of the values and not of the store's provenance: files that were moved, or read by another
        version of this package, have the same digest if they say the same.
        """
        found = hashlib.sha256(json.dumps([self.manifest.classes]).encode())
        collections = self.events.objects.values()
        columns: list[NDArray[Any]] = [
            self.events.event,
            self.events.spectators,
            *(each.values for each in collections),
            *(each.offsets for each in collections),
            *(each.momenta for each in collections if each.momenta is not None),
        ]
        for column in itertools.chain(columns, *(fold.columns() for fold in self.folds)):
            found.update(f"{column.dtype.str}{column.shape}".encode())
            found.update(column.tobytes())
        return found.hexdigest()

    @staticmethod
    def of(analysis: Analysis, store: Store) -> ComparedEvents:
        """Choose the events.

        Raises
        ------
        SampleError
            If a fold lacks events of a class.
        """
        manifest = store.manifest
        every = store.events()
        simulated = np.array([name != DATA for name in manifest.classes])
        in_role = {
            role: np.logical_or.reduce(
                [np.zeros(len(every), dtype=bool)]
                + [
                    every.regions[name]
                    for name, own in analysis.regions.items()
                    if own.role == role
                ]
            )
            & simulated[every.process]
            for role in ("signal", "control")
        }
        events = every.take(np.flatnonzero(in_role["signal"]))
        control = every.take(np.flatnonzero(in_role["control"] & ~in_role["signal"]))
        check_folds(analysis, events, manifest.classes)
        number = analysis.training.folds
        folds = []
        for fold in range(number):
            training, validation, _ = fold_samples(analysis, events, manifest.classes, fold)
            _, validation_rows, test_rows = split_roles(events.identity, fold, number)
            folds.append(FoldEvents(fold, training, validation, validation_rows, test_rows))
        return ComparedEvents(analysis, manifest, events, control, tuple(folds))

    def columns(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two spectators, float64 (events,) each."""
        known = self.analysis.event.spectators
        first, second = (
            self.events.spectators[:, known.index(text)].astype(np.float64) for text in texts
        )
        return first, second

    def test(self, score: NDArray[np.float64]) -> ScoredEvents:
        """All events with scores float64 (events,), each by the classifier of its own fold."""
        fold = fold_of(self.events.identity, len(self.folds))
        return self._scored(self.events, score, fold)

    def with_control(self, test: ScoredEvents) -> ScoredEvents:
        """Test events, and behind them those of control regions, which no classifier has scored.

        Their score is 0: control regions are not binned.
        """
        fold = fold_of(self.control.identity, len(self.folds))
        control = self._scored(self.control, np.zeros(len(self.control)), fold)
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(test, name), getattr(control, name)])
            for name in ("score", "weight", "is_signal", "process", "fold")
        }
        columns["regions"] = {
            name: np.concatenate([flags, control.regions[name]])
            for name, flags in test.regions.items()
        }
        return dataclasses.replace(test, **columns)

    def validation(self, scores: list[NDArray[np.float64]]) -> ScoredEvents:
        """The validation events of each fold's classifier with its scores, fold after fold."""
        rows = [part.validation_rows for part in self.folds]
        fold = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        return self._scored(self.events.take(np.concatenate(rows)), np.concatenate(scores), fold)

    def _scored(
        self, events: Events, score: NDArray[np.float64], fold: NDArray[np.int64]
    ) -> ScoredEvents:
        return scored_events(self.manifest, events, np.arange(len(events)), score, fold)


def check_comparable(analysis: Analysis) -> None:
    """Refuse an analysis whose training is more than the classification of events.

    Raises
    ------
    AnalysisFileError
        The other methods have no such thing, so that the comparison would not be fair.
    """
    training = analysis.training
    for name in ("condition", "disco", "double_disco", "regression"):
        if getattr(training, name):
            message = (
                f"training.{name}: the methods that the network is compared with have nothing of "
                "the kind; compare an analysis file without it"
            )
            raise AnalysisFileError(message)


def with_quantities(analysis: Analysis) -> Analysis:
    """An analysis whose events have what ``compare`` asks for among their spectators."""
    event, wanted = analysis.event, analysis.compare
    every = dict.fromkeys((*event.spectators, *wanted.features, *wanted.binned))
    return analysis.model_copy(
        update={"event": event.model_copy(update={"spectators": tuple(every)})}
    )
