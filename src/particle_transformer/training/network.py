"""Train one network of an analysis, and save it."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer.artefact import save_artefact
from particle_transformer.model import AnalysisObjectTransformer
from particle_transformer.training.diagnosis import Names
from particle_transformer.training.fit import fit_network
from particle_transformer.training.from_analysis import fit_settings, objective_of
from particle_transformer.training.initial import initial_of, known_files, with_initial
from particle_transformer.training.reuse import Inputs
from particle_transformer.training.roles import fold_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Callback

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.events import EventSource
    from particle_transformer.training.progress import NetworkProgress
    from particle_transformer.training.ranks import Ranks
    from particle_transformer.training.task import NetworkTask

__all__ = ["inputs_of", "names_of", "new_network", "reuse_of", "train_network"]


def new_network(
    analysis: Analysis, manifest: Manifest, task: NetworkTask
) -> AnalysisObjectTransformer:
    """A network of an analysis before its training.

    Its weights are those of its seed, and what it takes over where ``training.init`` says so.

    Raises
    ------
    AnalysisFileError
        If the network that it begins from has other widths, or may have read events of its fold.
    InputFileError
        If that network cannot be read.
    """
    with torch.random.fork_rng():
        torch.manual_seed(task.seed(analysis.training.seed))
        model = AnalysisObjectTransformer(**_arguments(analysis, manifest))
    initial = initial_of(analysis)
    if initial is not None:
        initial.check(analysis, manifest)
        initial.give(model, inputs_of(analysis, manifest), task.fold, task.number)
    return model


def _arguments(analysis: Analysis, manifest: Manifest) -> dict[str, Any]:
    """What the networks of an analysis are built with."""
    objective = objective_of(analysis)
    classes = len(analysis.classes)
    regression = objective.regression
    return {
        "input_dim_obj": {name: len(features) for name, features in manifest.objects.items()},
        "input_dim_event": len(manifest.event) + len(analysis.training.condition),
        **with_initial(analysis).model.model_dump(),
        "num_outputs": 2 if objective.two_scores else 1 if classes == 2 else classes,
        "regression_targets": 0 if regression is None else len(regression.spectators),
    }


def reuse_of(analysis: Analysis, manifest: Manifest) -> dict[str, Any] | None:
    """What the networks of an analysis take over where ``training.init`` says so; None: nothing.

    Returns
    -------
    dict
        As ``run.json`` has it: ``network`` (as the analysis file names it), ``digest``, and what
        `Reuse.to_json` gives.
    """
    initial = initial_of(analysis)
    if initial is None:
        return None
    plan = initial.plan(_arguments(analysis, manifest), inputs_of(analysis, manifest))
    return {"network": initial.name, "digest": initial.digest(), **plan.to_json()}


def inputs_of(analysis: Analysis, manifest: Manifest) -> Inputs:
    """What the columns and the outputs of the networks of an analysis are."""
    names = names_of(analysis, manifest)
    return Inputs(names.objects, names.event, analysis.classes)


def names_of(analysis: Analysis, manifest: Manifest) -> Names:
    """What the columns that the networks of an analysis see are called in messages."""
    return Names(
        manifest.objects,
        [*manifest.event, *analysis.training.condition],
        manifest.spectators,
        list(analysis.processes),
    )


def train_network(
    analysis: Analysis,
    source: EventSource,
    manifest: Manifest,
    task: NetworkTask,
    run: RunFolder,
    ranks: Ranks,
    progress: NetworkProgress,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """Train a network, or go on with its training, and save it in the run.

    Returns
    -------
    dict
        What ``run.json`` says of it.

    Raises
    ------
    AOTError
        As `fit_network` and `save_artefact`.
    """
    started = time.perf_counter()
    training, validation, test = fold_samples(analysis, source, manifest.classes, task.fold)
    settings = fit_settings(analysis, task, training)
    model = new_network(analysis, manifest, task)
    place = task.fold, task.number
    fit = fit_network(
        model,
        training,
        validation,
        settings,
        checkpoint_dir=run.checkpoints(*place),
        log_dir=run.logs(*place),
        resume=True,
        names=names_of(analysis, manifest),
        loggers=[logger.model_dump() for logger in analysis.training.loggers],
        callbacks=callbacks,
        progress=progress if ranks.rank == 0 else None,
        ranks=ranks,
    )
    if ranks.rank == 0:
        regression = analysis.training.regression
        metadata = {
            "analysis": analysis.name,
            "fold": task.fold,
            "folds": analysis.training.folds,
            "network": task.number,
            "classes": list(analysis.classes),
            "offsets": list(settings.objective.offsets),
            "two_scores": settings.objective.two_scores,
            "objects": manifest.objects,
            "event": names_of(analysis, manifest).event,
            "conditioning": settings.conditioning and settings.conditioning.to_json(),
            "regression": list(regression.targets) if regression is not None else [],
            "store_fingerprint": manifest.fingerprint,
            **known_files(analysis, manifest),
        }
        path = run.network(*place)
        for left in path.parent.glob(f".{path.name}.*"):  # of one killed while it was written
            shutil.rmtree(left)
        if not path.exists():  # killed between this and the note of the result
            save_artefact(path, model, metadata)
        progress.finish(fit.best_epoch)
    return {
        "fold": task.fold,
        "network": task.number,
        "seed": settings.seed,
        "best_epoch": fit.best_epoch,
        "learning_rate": fit.learning_rate,
        "history": fit.history,
        "events": {"training": len(training), "validation": len(validation), "test": test},
        "training_events": {
            process: {"events": int(events), "effective": round(float(effective), 1)}
            for process, events, effective in zip(
                analysis.processes,
                training.weights.events,
                training.weights.effective_events,
                strict=True,
            )
            if events
        },
        "seconds": round(time.perf_counter() - started, 2),
    }
