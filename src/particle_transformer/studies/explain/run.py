"""Explain a run: what its networks look at, in numbers, written into the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer import __version__
from particle_transformer.artefact.run_folder import open_run
from particle_transformer.atomic import replacing, writing
from particle_transformer.inference.out_of_fold import score_run
from particle_transformer.studies.explain.attributions import completeness
from particle_transformer.studies.explain.gradients import MOST_STEPS, STEPS, TOLERANCE
from particle_transformer.studies.explain.inputs import inputs_of
from particle_transformer.studies.explain.of_folds import ask_networks
from particle_transformer.studies.explain.permutation import permutation_importances
from particle_transformer.studies.explain.sample import Sample
from particle_transformer.studies.explain.summary import summarised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["explain"]

EXPLANATION = "explain.json"


def explain(
    path: Path,
    *,
    events: int = 10_000,
    gradient_events: int = 2_000,
    repeats: int = 5,
    seed: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Say what the networks of a run look at; write ``evaluation/explain.json``.

    All of it is about simulated test events in the signal regions, each with the networks that
    never read its fold, and about the logit of its score.

    Parameters
    ----------
    path
        A run directory.
    events
        Events at most for permutation importance, drawn at random.
    gradient_events
        Events at most for integrated gradients, drawn in the same order.
    repeats
        Permutations of each part of the input.
    seed
        Of the drawn events, the permutations and the bootstrap.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    dict
        The content of ``explain.json``.

    Raises
    ------
    InputFileError
        If the run or its store is damaged or they do not belong together.
    SampleError
        If a class has no event in the signal regions.
    OutputError
        If the run cannot be written to.
    """
    run = open_run(path)
    scored = score_run(run, progress=progress)
    sample = Sample.draw(scored, events, gradient_events, seed)
    manifest = scored.store.manifest
    momenta = all(ragged.momenta is not None for ragged in scored.events.objects.values())
    inputs = inputs_of(
        manifest.objects, manifest.event, momenta=momenta and scored.analysis.model.pair_bias
    )
    of_folds = ask_networks(scored, sample, inputs, repeats, seed, progress)
    test = scored.test
    importances = permutation_importances(
        sample.logit[sample.permuted],
        of_folds.changed,
        test.weight[sample.permuted],
        test.is_signal[sample.permuted],
        replicas=scored.analysis.evaluation.bootstrap,
        seed=seed,
        progress=None if progress is None else lambda *steps: progress("bootstrap", *steps),
    )
    attributed = scored.events.take(sample.gradients)
    defect = np.abs(completeness(of_folds.attributions, attributed))
    result = {
        "analysis": scored.analysis.name,
        "signal_regions": list(scored.analysis.signal_regions),
        "folds": scored.analysis.training.folds,
        "networks_per_fold": scored.networks.per_fold,
        "version": __version__,
        "settings": {
            "repeats": repeats,
            "seed": seed,
            "bootstrap": scored.analysis.evaluation.bootstrap,
            "steps": STEPS,
            "most_steps": MOST_STEPS,
            "tolerance": TOLERANCE,
        },
        "events": {
            "test": len(sample.rows),
            "permuted": len(sample.permuted),
            "gradients": len(sample.gradients),
        },
        "auc": importances.auc.to_json(),
        "loss": importances.loss.to_json(),
        "permutation": [
            {"name": part.name, "kind": part.kind, "collection": part.collection}
            | {"feature": part.feature}
            | figures
            for part, figures in zip(inputs, importances.inputs, strict=True)
        ],
        "gradients": summarised(
            of_folds.attributions,
            attributed,
            test.weight[sample.gradients],
            test.is_signal[sample.gradients],
            manifest.objects,
            manifest.event,
        )
        | {"completeness": {"mean": float(defect.mean()), "largest": float(defect.max())}},
        "examples": [of_folds.examples[rule] for rule in sample.examples],
    }
    with writing(run.evaluation):
        run.evaluation.mkdir(exist_ok=True)
    with replacing(run.evaluation / EXPLANATION) as partial:
        partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return result
