"""Scores of every entry of a file, in the file's order; no input or output of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.config import load_analysis
from particle_transformer.data.chunk import ChunkReader
from particle_transformer.data.unweighted import without_weights
from particle_transformer.errors import AnalysisFileError, InputFileError
from particle_transformer.events import fold_of
from particle_transformer.events.classes import DATA
from particle_transformer.inference.entry_scores import EntryScores, column_name
from particle_transformer.inference.event_scores import EventScorer
from particle_transformer.inference.networks import RunNetworks
from particle_transformer.inference.varied import same_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.data.chunk import Chunk, VariedColumns
    from particle_transformer.data.files import InputFile
    from particle_transformer.data.readers import Reader
    from particle_transformer.events import Events

__all__ = ["EntryScorer", "RunScorer"]

FILL = -1.0
"""What stands in the place of a score that there is not: no probability."""

EVENT_NUMBERS = ("run", "luminosityBlock", "event")
"""What CMS's files call the numbers of an event; ROOT finds friends by them."""


class RunScorer:
    """Scores entries of files by the networks of a run.

    Parameters
    ----------
    run
        A trained run.
    at
        Hypotheses to score under; none: all that the networks were trained with, if any.
    ensemble
        Whether the ensemble mean is computed, too: it takes as many networks as there are folds.
    fill
        The value of scores that there are not.
    unblind
        Whether recorded data in blind regions is scored; else it is in no region.
    unseen
        Whether the files are declared to hold no event that the networks were trained with. Else
        the ensemble mean is refused for all simulated events in a signal region: that a file is
        another one does not say that its events are.

    Attributes
    ----------
    analysis
        The analysis of the run, as scoring needs it: without weights and spectators.
    event_scorer
        Scores events, whichever file they are from.
    fill, unblind, unseen
        As given.

    Raises
    ------
    InputFileError
        If the run, or the artefact of one of its networks, is missing, damaged or altered.
    SampleError
        If a hypothesis is not one of the networks'.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        at: Sequence[Mapping[str, float]] = (),
        ensemble: bool = True,
        fill: float = FILL,
        unblind: bool = False,
        unseen: bool = False,
    ) -> None:
        record = run.read_record()
        whole = load_analysis(run.analysis)
        self.analysis: Analysis = without_weights(whole)
        self.fill = fill
        self.unblind = unblind
        self.unseen = unseen
        networks = RunNetworks(run, record)
        _check_features(run, self.analysis, networks)
        self.event_scorer = EventScorer(
            networks, self.analysis, folds=int(record["folds"]), at=at, ensemble=ensemble
        )

    def columns(self, file: InputFile) -> list[str]:
        """Names of all columns of a file's scores, in order.

        Raises
        ------
        AnalysisFileError
            If two of them would have the same name.
        """
        scores = [name for name, _ in self.event_scorer.columns]
        regions = [f"region_{name}" for name in self.analysis.regions]
        found = [*scores, "fold", *regions]
        for varied in self.analysis.varied if self._is_varied(file) else ():
            found += [column_name(name, varied.name) for name in (*scores, *regions)]
        for name, count in Counter(found).items():
            if count > 1:
                message = (
                    f"two columns of scores would be called {name}; rename the class, region or "
                    "variation of that name in the analysis file"
                )
                raise AnalysisFileError(message)
        return found

    def open(self, reader: Reader, file: InputFile) -> EntryScorer:
        """Score an open file.

        Parameters
        ----------
        reader
            The open file.
        file
            Its path for messages, its process and its era.

        Raises
        ------
        InputFileError
            If the file lacks a branch that the analysis needs; the nearest names are given.
        """
        return EntryScorer(self, reader, file)

    def blinded(self, file: InputFile) -> list[str]:
        """The regions in which no event of a file is scored, because it is recorded data."""
        if self.unblind or self.analysis.class_of(file.process) != DATA:
            return []
        return [name for name, region in self.analysis.regions.items() if region.blind]

    def _is_varied(self, file: InputFile) -> bool:
        return not file.variation and self.analysis.class_of(file.process) != DATA


class EntryScorer:
    """Scores entries of one open file; made by `RunScorer.open`."""

    def __init__(self, scorer: RunScorer, reader: Reader, file: InputFile) -> None:
        self._scorer = scorer
        analysis = scorer.analysis
        also = [name for name in EVENT_NUMBERS if name in reader.names]
        self._chunks = ChunkReader(reader, analysis, file, unblind=scorer.unblind, also=also)
        simulated = analysis.class_of(file.process) != DATA
        self._may_be_seen = simulated and not scorer.unseen
        self._signal_regions = analysis.signal_regions

    def read(self, start: int, stop: int) -> EntryScores:
        """Read and score the entries start <= i < stop.

        Raises
        ------
        InputFileError
            If they cannot be read.
        """
        return self._scored(self._chunks.read(start, stop), start, stop - start)

    def _scored(self, chunk: Chunk, start: int, size: int) -> EntryScores:
        scorer, events, rows = self._scorer.event_scorer, chunk.events, chunk.entry - start
        used = np.zeros(len(events), dtype=np.bool_)
        if self._may_be_seen:
            # The nominal event is what networks were trained with, also where it is varied.
            used = np.logical_or.reduce([events.regions[name] for name in self._signal_regions])
        inside = _inside(events)
        scores = scorer.empty(len(events))
        scorer.score(events, np.flatnonzero(inside), used, scores)
        fold = np.full(size, -1, dtype=np.int16)
        fold[rows[inside]] = fold_of(events.identity[inside], scorer.folds)
        nominal = {
            **self._score_columns(scores, inside, rows, size),
            "fold": fold,
            **_region_columns(events, rows, size),
        }
        varied = {}
        for name, changed in chunk.varied.items():
            moved = _varied(events, changed)
            inside_then = _inside(moved)
            same = inside & inside_then & same_inputs(events, moved)
            scores_then = {column: values.copy() for column, values in scores.items()}
            scorer.score(moved, np.flatnonzero(inside_then & ~same), used, scores_then)
            varied[name] = {
                **self._score_columns(scores_then, inside_then, rows, size),
                **_region_columns(moved, rows, size),
            }
        return EntryScores(
            nominal,
            varied,
            int(inside.sum()),
            int((inside & used).sum()),
            chunk.truncated,
            chunk.non_finite,
            {
                name: column.values
                for name, column in chunk.also.items()
                if column.offsets is None and column.values.dtype.kind in "iu"
            },
        )

    def _score_columns(
        self,
        scores: Mapping[str, NDArray[np.float64]],
        inside: NDArray[np.bool_],
        rows: NDArray[np.int64],
        size: int,
    ) -> dict[str, NDArray[Any]]:
        """Columns of all entries from those of the events `rows`."""
        found: dict[str, NDArray[Any]] = {}
        for name, values in scores.items():
            found[name] = column = np.full(size, self._scorer.fill)
            known = inside & ~np.isnan(values)
            column[rows[known]] = values[known]
        return found


def _region_columns(events: Events, rows: NDArray[np.int64], size: int) -> dict[str, NDArray[Any]]:
    """Whether each entry is in each region; `rows` are those of the events."""
    found: dict[str, NDArray[Any]] = {}
    for name, flags in events.regions.items():
        found[f"region_{name}"] = column = np.zeros(size, dtype=np.bool_)
        column[rows] = flags
    return found


def _inside(events: Events) -> NDArray[np.bool_]:
    """Which events are in a region: bool (events,)."""
    inside: NDArray[np.bool_] = np.logical_or.reduce(list(events.regions.values()))
    return inside


def _varied(events: Events, changed: VariedColumns) -> Events:
    """The events with what a side of a variation changes."""
    objects = {
        name: replace(ragged, momenta=events.objects[name].momenta)
        if ragged.momenta is None
        else ragged
        for name, ragged in changed.objects.items()
    }
    event = events.event
    if columns := changed.tables.get("event"):
        event = event.copy()
        for column, values in columns.items():
            event[:, column] = values
    return replace(
        events,
        objects={**events.objects, **objects},
        event=event,
        regions={**events.regions, **changed.regions},
    )


def _check_features(run: RunFolder, analysis: Analysis, networks: RunNetworks) -> None:
    """Refuse an analysis file that has been changed since the training."""
    objects, event = networks.features
    stated = {name: list(settings.features) for name, settings in analysis.objects.items()}
    if (stated, list(analysis.event.features)) != (dict(objects), list(event)):
        message = (
            f"{run.analysis}: its features are not those that the networks were trained with; "
            "restore the file, or train again"
        )
        raise InputFileError(message)
