"""What the networks of a run say of their own test events, and of those with changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.studies.explain.attributions import Attributions
from particle_transformer.studies.explain.examples import attention_of, described
from particle_transformer.studies.explain.gradients import integrated_gradients
from particle_transformer.studies.explain.permutation import permuted_logits
from particle_transformer.studies.explain.signal_logit import signal_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.inference.networks import FoldNetworks
    from particle_transformer.inference.out_of_fold import ScoredRun
    from particle_transformer.studies.explain.inputs import Input
    from particle_transformer.studies.explain.sample import Sample

__all__ = ["OfFolds", "ask_networks"]


@dataclass(frozen=True)
class OfFolds:
    """What the networks of all folds say: see `permuted_logits`, `Attributions`, `described`."""

    changed: NDArray[np.float64]
    attributions: Attributions
    examples: Mapping[str, dict[str, Any]]


def ask_networks(
    scored: ScoredRun,
    sample: Sample,
    inputs: Sequence[Input],
    repeats: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> OfFolds:
    """Ask the networks of a run, fold by fold, about their own test events.

    Parameters
    ----------
    scored
        The run.
    sample
        Which of its events.
    inputs
        What is permuted.
    repeats, seed
        Permutations of each input, and the seed of their random numbers.
    progress
        Called with (what is being done, steps done, steps in all).
    """
    fold, networks = scored.test.fold, scored.networks
    permuting = _Counter(
        "permuting", len(sample.permuted) * len(inputs) * repeats * networks.per_fold, progress
    )
    differentiating = _Counter("gradients", len(sample.gradients), progress)
    generator = np.random.default_rng(seed)
    changed, attributions = [], []
    examples: dict[str, dict[str, Any]] = {}
    for number in range(scored.analysis.training.folds):
        of_fold = networks.of_fold(number)

        def logit(events: Events, of_fold: FoldNetworks = of_fold) -> NDArray[np.float64]:
            predictions = of_fold.predict(events, None, permuting)
            return signal_logits(predictions.logits, two_scores=of_fold.two_scores)

        mine = sample.permuted[fold[sample.permuted] == number]
        changed.append(
            permuted_logits(
                scored.events.take(mine), inputs, logit, repeats=repeats, generator=generator
            )
        )
        mine = sample.gradients[fold[sample.gradients] == number]
        attributions.append(_attributions(scored, of_fold, mine, differentiating))
        for rule, row in sample.examples.items():
            if fold[row] == number:
                examples[rule] = {"rule": rule} | _example(scored, of_fold, row)
    return OfFolds(
        np.concatenate(changed, axis=2),
        Attributions.concatenate(attributions),
        examples,
    )


def _attributions(
    scored: ScoredRun,
    of_fold: FoldNetworks,
    rows: NDArray[np.int64],
    progress: Callable[[int], None] | None = None,
) -> Attributions:
    return integrated_gradients(
        of_fold.models,
        of_fold.as_seen(scored.events.take(rows)),
        two_scores=of_fold.two_scores,
        fixed=len(scored.analysis.training.condition),
        progress=progress,
    )


def _example(scored: ScoredRun, of_fold: FoldNetworks, row: int) -> dict[str, Any]:
    """One event: what it is, where it comes from, and what its network did with it."""
    rows = np.array([row])
    event = of_fold.as_seen(scored.events.take(rows))
    manifest, test = scored.store.manifest, scored.test
    files, entries = scored.store.origin()
    place = scored.index[row]
    process = int(test.process[row])
    return {
        "file": manifest.inputs[files[place]].path,
        "entry": int(entries[place]),
        "identity": event.identity[0].tolist(),
        "process": test.processes[process],
        "class": test.process_class[process],
        "weight": float(test.weight[row]),
        "fold": int(test.fold[row]),
        "score": float(test.score[row]),
    } | described(
        event,
        _attributions(scored, of_fold, rows),
        attention_of(of_fold.models[0], event),
        manifest.objects,
        manifest.event,
    )


class _Counter:
    """Adds up steps, and reports them."""

    def __init__(
        self, label: str, total: int, progress: Callable[[str, int, int], None] | None
    ) -> None:
        self._label = label
        self._total = total
        self._progress = progress
        self._done = 0

    def __call__(self, steps: int) -> None:
        self._done += steps
        if self._progress is not None:
            self._progress(self._label, self._done, self._total)
