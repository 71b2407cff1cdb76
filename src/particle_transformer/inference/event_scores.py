"""Scores of events in memory: by the networks of their own fold, and by all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.events import fold_of
from particle_transformer.events.conditioning import check_parameters
from particle_transformer.inference.columns import hypothesis_suffix, plain, regression_columns
from particle_transformer.inference.score import Predictions, signal_probability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.events import Events
    from particle_transformer.inference.networks import RunNetworks

__all__ = ["EventScorer"]


class EventScorer:
    """What the networks of a run say of events.

    Parameters
    ----------
    networks
        The networks of the run; all are loaded.
    analysis
        Names the classes.
    folds
        How many there are.
    at
        Hypotheses to score under; none: those that the networks were trained with.
    ensemble
        Whether there are columns of the ensemble mean.

    Raises
    ------
    InputFileError
        If an artefact is damaged.
    SampleError
        If a hypothesis is given that the networks do not know.
    """

    def __init__(
        self,
        networks: RunNetworks,
        analysis: Analysis,
        *,
        folds: int,
        at: Sequence[Mapping[str, float]],
        ensemble: bool,
    ) -> None:
        self.folds = folds
        self._networks = networks
        self._ensemble = ensemble
        self._classes = analysis.classes if networks.outputs > 2 else ()
        for fold in range(folds):  # a damaged one is told before anything is read
            networks.of_fold(fold)
        for parameters in at:
            check_parameters(parameters, networks.parameters)
        ordered = [{name: point[name] for name in networks.parameters} for point in at]
        self._points: list[dict[str, float] | None] = [*(ordered or networks.hypotheses)] or [None]
        self.columns = tuple(name for point in self._points for name in self._names(point))

    def _names(self, parameters: Mapping[str, float] | None) -> list[tuple[str, str]]:
        """Columns under one hypothesis, and what each of them holds."""
        suffix = "" if parameters is None else hypothesis_suffix(parameters)
        kinds = ["score"]
        kinds += ["score_ensemble"] if self._ensemble else []
        kinds += ["score_1", "score_2"] if self._networks.two_scores else []
        kinds += [f"probability_{name}" for name in self._classes]
        kinds += regression_columns(self._networks.targets)
        return [(plain(kind + suffix), kind) for kind in kinds]

    def empty(self, events: int) -> dict[str, NDArray[np.float64]]:
        """Columns of events without a score: NaN, float64 (events,) by name."""
        return {name: np.full(events, np.nan) for name, _ in self.columns}

    def score(
        self,
        events: Events,
        rows: NDArray[np.int64],
        used: NDArray[np.bool_],
        columns: dict[str, NDArray[np.float64]],
    ) -> None:
        """Score some of the events.

        Parameters
        ----------
        events
            The events.
        rows
            int64 (selected,): those that are scored.
        used
            bool (events,): those that networks were trained with: they have no ensemble mean.
        columns
            float64 (events,) by name: get the scores in `rows`; NaN where there is none.
        """
        chosen = events.take(rows)
        fold = fold_of(chosen.identity, self.folds)
        wanted = ~used[rows] if self._ensemble else np.zeros(len(rows), dtype=np.bool_)
        for parameters in self._points:
            found = self._under(chosen, fold, wanted, parameters)
            for name, kind in self._names(parameters):
                columns[name][rows] = found[kind]

    def _under(
        self,
        events: Events,
        fold: NDArray[np.int64],
        wanted: NDArray[np.bool_],
        parameters: Mapping[str, float] | None,
    ) -> dict[str, NDArray[np.float64]]:
        """All kinds of columns under one hypothesis."""
        networks = self._networks
        logits = np.empty((len(events), networks.outputs))
        regression = np.empty((len(events), len(networks.targets)))
        members = []
        for number in range(self.folds):
            rows = np.flatnonzero((fold == number) | wanted)
            predicted = networks.of_fold(number).predict(events.take(rows), parameters, _ignore)
            own, meant = fold[rows] == number, wanted[rows]
            logits[rows[own]] = predicted.logits[own]
            regression[rows[own]] = predicted.regression[own]
            members.append(Predictions(predicted.logits[meant], predicted.regression[meant]))
        ensemble = np.full(len(events), np.nan)
        ensemble[wanted] = networks.score(networks.mean(members).logits)
        found = {"score": networks.score(logits), "score_ensemble": ensemble}
        if networks.two_scores:
            for number, column in enumerate(logits.T, 1):
                found[f"score_{number}"] = signal_probability(column[:, None])
        if self._classes:
            log_probability = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            for name, column in zip(self._classes, log_probability.T, strict=True):
                found[f"probability_{name}"] = np.exp(column)
        names = regression_columns(networks.targets)
        return found | dict(zip(names, regression.T, strict=True))


def _ignore(events: int) -> None:
    """Progress is that of chunks."""
