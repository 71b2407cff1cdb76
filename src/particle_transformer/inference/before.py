"""Another run on the same events, to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer import evaluation
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError
from particle_transformer.events.classes import DATA
from particle_transformer.inference.out_of_fold import score_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.evaluation import ScoredEvents

__all__ = ["RunScores", "figures_before", "score_before"]


@dataclass(frozen=True)
class RunScores:
    """A run with the scores of its events, to compare with another of the same events.

    Attributes
    ----------
    run
        What to call it.
    test, validation
        As in `particle_transformer.inference.out_of_fold.ScoredRun`.
    folds
        How many it has.
    signal_regions
        Names of its regions of role signal.
    """

    run: str
    test: ScoredEvents
    validation: ScoredEvents
    folds: int
    signal_regions: Sequence[str]


def score_before(
    before: RunFolder,
    run: RunFolder,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> RunScores:
    """Score the events of a run by the networks of another one that has the same.

    Their order, identities, processes, physics weights and which of them are in signal regions
    must be the same; features, spectators, networks and folds may differ.

    Parameters
    ----------
    before
        The run that scores.
    run
        The run that it is to be compared with.
    progress
        Called with (what is being done, steps done, steps in all).

    Raises
    ------
    InputFileError
        If the events are not the same, or as `score_run`.
    """
    difference = _difference(_columns(before), _columns(run))
    if difference:
        message = (
            f"{before.path}: has other events than {run.path} ({difference}); compare runs of the "
            "same input files, selections and weights"
        )
        raise InputFileError(message)
    named = None
    if progress is not None:
        named = lambda label, *steps: progress(f"{label} by {before.path}", *steps)
    scored = score_run(before, progress=named)
    return RunScores(
        str(before.path),
        scored.test,
        scored.validation,
        scored.analysis.training.folds,
        scored.analysis.signal_regions,
    )


def figures_before(
    before: RunScores,
    analysis: Analysis,
    spectators: Mapping[str, NDArray[np.floating[Any]]],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """What ``metrics.json`` of a run says of the run that it is compared with.

    Parameters
    ----------
    before
        The other run's scores.
    analysis
        That of the run itself: its working points hold for both.
    spectators
        By name: float (test events,).
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    dict
        ``run``, ``auc``, ``rejection`` and, where there are spectators, ``sculpting``.
    """
    regions: dict[str, Any] = {"folds": before.folds, "signal_regions": before.signal_regions}
    metrics = evaluation.evaluate(
        before.test,
        before.validation,
        **regions,
        working_points=analysis.evaluation.working_points,
        background_uncertainty=analysis.evaluation.background_uncertainty,
        bootstrap=analysis.evaluation.bootstrap,
        seed=analysis.training.seed,
        progress=None if progress is None else lambda *steps: progress("bootstrap", *steps),
    )
    found = {"run": before.run, **{name: metrics[name] for name in ("auc", "rejection")}}
    if spectators:
        found["sculpting"] = evaluation.sculpting(
            before.test, before.validation, spectators, **regions
        )
    return found


def _columns(run: RunFolder) -> dict[str, NDArray[Any]]:
    """What must be the same of the simulated events, by name, a row for each event."""
    analysis = load_analysis(run.analysis)
    store = Store(run.store())
    events = store.events()
    manifest = store.manifest
    simulated = np.array([name != DATA for name in manifest.classes])[events.process]
    regions = [events.regions[name] for name in analysis.signal_regions]
    return {
        "process": np.array(manifest.processes)[events.process[simulated]],
        "class": np.array(manifest.classes)[events.process[simulated]],
        "identity": events.identity[simulated],
        "physics weight": events.weight[simulated],
        "membership of signal regions": np.logical_or.reduce(regions)[simulated],
    }


def _difference(before: dict[str, NDArray[Any]], now: dict[str, NDArray[Any]]) -> str | None:
    there, here = len(before["process"]), len(now["process"])
    if there != here:
        return f"{there} simulated there, {here} here"
    for name, column in before.items():
        if column.shape != now[name].shape:
            return f"{name} of another width"
        same = (column == now[name]).reshape(there, -1).all(axis=1)
        if not same.all():
            return f"{name} differs in {there - int(same.sum())} of {there}"
    return None
