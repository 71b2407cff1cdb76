"""Scores of a run's events under the declared variations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation import VariedEvents
from particle_transformer.events import fold_of
from particle_transformer.events.classes import DATA
from particle_transformer.inference.out_of_fold import scored_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.inference.out_of_fold import ScoredRun

__all__ = ["same_inputs", "score_variations"]


def score_variations(
    scored: ScoredRun, *, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, dict[str, VariedEvents]]:
    """Score the varied events of a run's store, each by the networks of its own fold.

    An event for which the variation changes nothing that the networks see (a weight alone, or
    other processes) keeps its nominal score.

    Parameters
    ----------
    scored
        The run with its nominal scores.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    dict
        By variation and side (``"up"``, ``"down"``), in the order of the analysis file.
    """
    nominal = _places(scored, None)[scored.index]
    found: dict[str, dict[str, VariedEvents]] = {}
    for varied in scored.analysis.varied:
        name, _, side = varied.name.rpartition(".")
        found.setdefault(name, {})[side] = _score(scored, varied.name, nominal, progress)
    return found


def _score(
    scored: ScoredRun,
    variation: str,
    nominal: NDArray[np.int64],
    progress: Callable[[str, int, int], None] | None,
) -> VariedEvents:
    store, networks = scored.store, scored.networks
    every = store.events(variation)
    simulated = np.array([name != DATA for name in store.manifest.classes])
    index = np.flatnonzero(simulated[every.process])
    events = every.take(index)
    row = _positions(nominal, _places(scored, variation)[index])
    known = np.flatnonzero(row >= 0)
    changed = np.ones(len(events), dtype=np.bool_)
    changed[known] = ~same_inputs(scored.events.take(row[known]), events.take(known))
    score = np.zeros(len(events))
    kept = np.flatnonzero(~changed)
    score[kept] = scored.test.score[row[kept]]
    folds = scored.analysis.training.folds
    fold = fold_of(events.identity, folds)
    total, done = networks.per_fold * int(changed.sum()), 0

    def report(events_done: int) -> None:
        nonlocal done
        done += events_done
        if progress is not None:
            progress(f"scoring variations ({variation})", done, total)

    for number in range(folds):
        chosen = np.flatnonzero(changed & (fold == number))
        predicted = networks.of_fold(number).predict(events.take(chosen), None, report)
        score[chosen] = networks.score(predicted.logits)
    return VariedEvents(
        scored_events(store.manifest, events, np.arange(len(events)), score, fold), row
    )


def _places(scored: ScoredRun, variation: str | None) -> NDArray[np.int64]:
    """A number for the input file and entry of each event of the store, int64 (events,)."""
    files, entries = scored.store.origin(variation)
    return (files.astype(np.int64) << 40) + entries  # no file has 2⁴⁰ entries


def _positions(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of the wanted numbers is among the known ones, −1 where it is not."""
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, wanted, sorter=order)
    found = np.append(order, -1)[place]
    return np.where((found >= 0) & (known[found] == wanted), found, -1)


def same_inputs(first: Events, second: Events) -> NDArray[np.bool_]:
    """Whether the networks see the same of two tables of as many events; bool (events,)."""
    same: NDArray[np.bool_] = (first.event == second.event).all(axis=1)
    for name, collection in first.objects.items():
        other = second.objects[name]
        same &= collection.counts == other.counts
        rows = np.flatnonzero(same)
        one, two = collection.take(rows), other.take(rows)
        different = (one.values != two.values).any(axis=1)
        if one.momenta is not None and two.momenta is not None:
            different |= (one.momenta != two.momenta).any(axis=1)
        owner = np.repeat(np.arange(len(rows)), one.counts)
        same[rows] = np.bincount(owner[different], minlength=len(rows)) == 0
    return same
