"""The figures of `metrics.evaluate` in one bootstrap replica, from a ranking done once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.evaluation.roc import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["Replicated"]


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ratio where both are positive, else NaN: the figure is undefined there."""
    good = (numerator > 0) & (denominator > 0)
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=good)
    return ratio


class Replicated:
    """Figures as a function of the multiplicities of the test events.

    Parameters
    ----------
    test
        All test events.
    primary
        bool (events,): those that the figures, but not the regions, are about.
    masks
        By name: bool (primary events,), the events behind a cut. The mask ``"best"`` is the
        counting experiment's; the others are working points.
    folds
        Number of folds.
    """

    def __init__(
        self,
        test: ScoredEvents,
        primary: NDArray[np.bool_],
        masks: Mapping[str, NDArray[np.bool_]],
        *,
        folds: int,
    ) -> None:
        events = test.select(primary)
        self._primary = np.flatnonzero(primary)
        self._weight = events.weight
        self._process = events.process
        self._is_signal = events.is_signal
        self._signals = np.array(events.signals, dtype=np.intp)
        self._backgrounds = np.array(events.backgrounds, dtype=np.intp)
        self._count = len(events.processes)
        self._points = {name: np.flatnonzero(m) for name, m in masks.items() if name != "best"}
        self._best = np.flatnonzero(masks["best"])
        self._ranking = Ranking(events.score, events.is_signal)
        self._background_process = events.process[self._ranking.background]
        self._folds = [
            self._subset(events, np.flatnonzero(events.fold == fold)) for fold in range(folds)
        ]
        self._all_weight = test.weight
        self._regions = [
            self._subset(test, np.flatnonzero(inside)) for inside in test.regions.values()
        ]

    @staticmethod
    def _subset(
        events: ScoredEvents, members: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], Ranking]:
        return members, Ranking(events.score[members], events.is_signal[members])

    def __call__(self, multiplicity: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Figures by name for multiplicities float64 (events,); NaN where undefined."""
        mine = multiplicity[self._primary]
        weight = mine * self._weight
        found: dict[str, NDArray[np.float64]] = {}

        above, signal = self._ranking.signal_above(weight)
        background_weight = weight[self._ranking.background]
        pairs = self._by_process(self._background_process, background_weight * above)
        sums = self._by_process(self._process, weight)
        background = np.asarray(np.sum(sums[self._backgrounds]))
        # The AUC itself may be negative with signed weights, hence no test of the numerator.
        defined = (sums > 0) & (signal > 0)
        found["auc by process"] = np.divide(
            pairs, signal * sums, out=np.full(self._count, np.nan), where=defined
        )
        positive = signal > 0 and background > 0
        found["auc"] = np.asarray(np.sum(pairs) / (signal * background) if positive else np.nan)
        found["auc_unweighted"] = np.asarray(self._ranking.auc(mine))
        found["auc by fold"] = np.array([r.auc(weight[members]) for members, r in self._folds])
        if self._regions:
            every = multiplicity * self._all_weight
            found["auc by region"] = np.array([r.auc(every[m]) for m, r in self._regions])

        for name, members in self._points.items():
            passed = self._by_process(self._process[members], weight[members])
            found[f"rejection {name} by process"] = _ratio(sums, passed)
            passed_background = np.asarray(np.sum(passed[self._backgrounds]))
            found[f"rejection {name}"] = _ratio(background, passed_background)
            passed_signal = np.asarray(np.sum(passed[self._signals]))
            found[f"efficiency {name}"] = np.asarray(
                passed_signal / signal if signal > 0 else np.nan
            )

        passed = self._by_process(self._process[self._best], weight[self._best])
        squares = self._by_process(
            self._process[self._best], weight[self._best] * self._weight[self._best]
        )
        found["signal yield"] = np.asarray(np.sum(passed[self._signals]))
        found["background yield"] = np.asarray(np.sum(passed[self._backgrounds]))
        found["background squares"] = np.asarray(np.sum(squares[self._backgrounds]))
        return found

    def _by_process(
        self, process: NDArray[np.int16], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        sums = np.bincount(process, weight, minlength=self._count)
        return np.asarray(sums, dtype=np.float64)
