"""XGBoost on tables made of the events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.studies.compare.method import Trained, outputs_of, scored
from particle_transformer.studies.compare.tables import engineered, raw, slots_of
from particle_transformer.studies.compare.trees import Table, fit_trees, nodes_of, predict_trees
from particle_transformer.training.from_analysis import offsets_of
from particle_transformer.training.task import NetworkTask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.config import Trees
    from particle_transformer.events import Events
    from particle_transformer.studies.compare.events import ComparedEvents, FoldEvents
    from particle_transformer.training.sample import Sample

__all__ = ["BOOSTED", "TreesMethod"]


class TreesMethod:
    """XGBoost on a table made of the events."""

    def __init__(self, label: str, section: str) -> None:
        self.label = label
        self.sections = (f"compare.{section}", "compare.features", "event.spectators")
        self._section = section

    def train(
        self,
        compared: ComparedEvents,
        fold: FoldEvents,
        seed: int,
        scratch: Path,
        report: Callable[[str], None],
    ) -> Trained:
        """See `Method.train`."""
        del scratch
        analysis = compared.analysis
        settings: Trees = getattr(analysis.compare, self._section)
        outputs = outputs_of(analysis)
        slots = slots_of(analysis, fold.training)
        known = list(analysis.event.spectators)
        chosen = [known.index(text) for text in analysis.compare.features]

        offsets = offsets_of(analysis, fold.training)

        def columns(events: Events) -> NDArray[np.float32]:
            return (
                raw(events, slots) if self._section == "trees_raw" else engineered(events, chosen)
            )

        def table(sample: Sample) -> Table:
            parts = list(sample.chunks())
            return Table(
                np.concatenate([columns(events) for events in parts]),
                np.concatenate([sample.target[events.process] for events in parts]),
                np.concatenate([sample.weights(e.weight, e.process) for e in parts]),
                offsets,
            )

        started = time.perf_counter()
        task = NetworkTask(fold.fold, seed)
        booster = fit_trees(
            table(fold.training),
            table(fold.validation),
            settings,
            outputs=outputs,
            seed=task.seed(analysis.training.seed) % 2**31,
        )
        seconds = time.perf_counter() - started
        best = int(booster.best_iteration)
        report(f"{best + 1} trees")
        test, validation, rate = scored(
            lambda events: predict_trees(
                booster, columns(events), outputs=outputs, offsets=offsets
            ),
            compared,
            fold,
        )
        return Trained(test, validation, seconds, nodes_of(booster), rate, best)


BOOSTED: dict[str, TreesMethod] = {
    "trees": TreesMethod("XGBoost, engineered features", "trees"),
    "trees_raw": TreesMethod("XGBoost, padded inputs", "trees_raw"),
}
"""By name."""
