"""Expected limits of every method, and of an analysis in bins of two quantities.

A method's limit is the mean over its seeds. The error of the test events comes from replicas of a
Poisson bootstrap at fixed bins, for which the whole model is built anew. Replica r has the scores
of seed r modulo the number of seeds, for all methods the same, so that what they have in common
cancels in ratios.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    BinnedEvents,
    Figure,
    Labelled,
    bin_events,
    effective_events,
    limit_of_binned,
    optimal_slices,
    region_bins,
)
from particle_transformer.events.folds import validation_scale
from particle_transformer.inference.statistics import binning_rule
from particle_transformer.studies.compare.figures import undefined, with_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation import FitChoices
    from particle_transformer.studies.compare.events import ComparedEvents
    from particle_transformer.studies.compare.figures import SeedScores

__all__ = ["Limits", "binned_limits", "limit_figure", "score_limits"]


@dataclass(frozen=True)
class Limits:
    """Limits of one method.

    Attributes
    ----------
    seeds
        float64 (seeds,): median expected limit with the scores of each; NaN where undefined.
    replicas
        float64 (replicas,): in each replica, over that of its seed.
    reason
        Why something is undefined.
    is_random
        Whether there are classifiers whose seeds could have been others.
    """

    seeds: NDArray[np.float64]
    replicas: NDArray[np.float64]
    reason: str
    is_random: bool = True

    @property
    def spread(self) -> float | None:
        """Error of the mean over the seeds, relative to it; None if unknown."""
        if not self.is_random:
            return 0.0
        if len(self.seeds) < 2:
            return None
        error = np.std(self.seeds, ddof=1) / np.sqrt(len(self.seeds))
        return float(error / np.mean(self.seeds))


@dataclass(frozen=True)
class _InBins:
    """Test events in bins that were chosen on validation events."""

    events: BinnedEvents
    bins: Mapping[str, int]

    def limit(self, choices: FitChoices, multiplicity: NDArray[np.int64] | None = None) -> float:
        events = self.events
        if multiplicity is not None:
            rows = np.repeat(np.arange(len(multiplicity)), multiplicity)
            events = BinnedEvents(
                events.events.select(rows),
                {region: index[rows] for region, index in events.index.items()},
            )
        return limit_of_binned(events, self.bins, choices=choices).limit.median


def score_limits(
    compared: ComparedEvents,
    seeds: Sequence[SeedScores],
    choices: FitChoices,
    *,
    replicas: int,
    progress: Callable[[int, int], None] | None = None,
) -> Limits:
    """Limits with the scores of each seed.

    Signal regions are binned in the score, control regions are of one bin.

    Parameters
    ----------
    compared
        The events.
    seeds
        Their scores.
    choices
        What is assumed about normalisations.
    replicas
        Of the bootstrap.
    progress
        Called after each fit of a replica with how many are done and how many there are.
    """

    def in_bins(scores: SeedScores) -> _InBins:
        bins = region_bins(
            scores.validation,
            compared.analysis.fit_regions_of("signal"),
            compared.analysis.fit_regions_of("control"),
            folds=len(compared.folds),
            rule=binning_rule(compared.analysis),
        )
        return _InBins(
            bin_events(compared.with_control(scores.test), bins),
            {region: binnings[0].bins for region, binnings in bins.items()},
        )

    return _limits([partial(in_bins, scores) for scores in seeds], choices, replicas, progress)


def binned_limits(
    compared: ComparedEvents,
    columns: tuple[NDArray[np.float64], NDArray[np.float64]],
    scores: SeedScores,
    choices: FitChoices,
    *,
    replicas: int,
) -> Limits:
    """Limit of an analysis in slices of one quantity and bins of another, such as HT and MET.

    Parameters
    ----------
    compared
        The events.
    columns
        Two of float64 (events,): the quantities.
    scores
        Of any method: it has the events.
    choices, replicas
        As for `score_limits`.
    """

    def in_bins() -> _InBins:
        folds = len(compared.folds)
        rule = dataclasses.replace(binning_rule(compared.analysis), scale=validation_scale(folds))
        test = compared.with_control(scores.test)
        index, bins = {}, {}
        for region in compared.analysis.fit_regions_of("signal"):
            rows = [
                part.validation_rows[compared.events.regions[region][part.validation_rows]]
                for part in compared.folds
            ]
            chosen = optimal_slices(
                [columns[0][own] for own in rows],
                [
                    Labelled(columns[1][own], scores.test.weight[own], scores.test.is_signal[own])
                    for own in rows
                ],
                rule,
            )
            placed = np.full(len(test), -1, dtype=np.int64)
            for fold, binning in enumerate(chosen):
                own = np.flatnonzero(scores.test.regions[region] & (scores.test.fold == fold))
                placed[own] = binning.index(columns[0][own], columns[1][own])
            index[region], bins[region] = placed, chosen[0].bins
        for region in compared.analysis.fit_regions_of("control"):
            index[region] = np.where(test.regions[region], 0, -1)
            bins[region] = 1
        return _InBins(BinnedEvents(test, index), bins)

    found = _limits([in_bins], choices, replicas, None)
    return dataclasses.replace(found, is_random=False)


def _limits(
    each: Sequence[Callable[[], _InBins]],
    choices: FitChoices,
    replicas: int,
    progress: Callable[[int, int], None] | None,
) -> Limits:
    values, binned, reason = np.full(len(each), np.nan), [], ""
    for seed, make in enumerate(each):
        try:
            binned.append(make())
            values[seed] = binned[-1].limit(choices)
        except SampleError as error:
            return Limits(np.full(len(each), np.nan), np.full(replicas, np.nan), str(error))
    random = np.random.default_rng(1)
    drawn = np.full(replicas, np.nan)
    for replica in range(replicas):
        seed = replica % len(each)
        multiplicity = random.poisson(1.0, len(binned[seed].events.events))
        try:
            drawn[replica] = binned[seed].limit(choices, multiplicity) / values[seed]
        except SampleError as error:
            reason = str(error)
        if progress is not None:
            progress(replica + 1, replicas)
    return Limits(values, drawn, reason)


def limit_figure(
    limits: Limits, over: Limits | None, background: NDArray[np.float64]
) -> dict[str, Any]:
    """A limit with its errors, or its ratio to another.

    Parameters
    ----------
    limits
        The limits.
    over
        What they are divided by; None for the limit itself.
    background
        float64 (events,): weights of the background in signal regions.
    """
    effective = effective_events(background)
    parts = [limits] if over is None else [limits, over]
    if not all(np.isfinite(part.seeds).all() for part in parts):
        reason = next(part.reason for part in parts if part.reason)
        return undefined(effective, reason)
    value, replicas = float(np.mean(limits.seeds)), limits.replicas
    if over is not None:
        value, replicas = value / float(np.mean(over.seeds)), replicas / over.replicas
    spreads = [part.spread for part in parts]
    known = [spread for spread in spreads if spread is not None]
    return with_errors(
        Figure(value, effective_events=effective),
        value * float(np.hypot.reduce(known)) if len(known) == len(spreads) else None,
        value * replicas,
    )
