"""Evaluate a run: out-of-fold scores and figures of merit, written into the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from particle_transformer import evaluation
from particle_transformer.atomic import replacing
from particle_transformer.errors import OutputError
from particle_transformer.inference.out_of_fold import ScoredRun, score_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.artefact.run_folder import RunFolder

__all__ = ["evaluate_run"]

METRICS = "metrics.json"
SCORES = "scores.parquet"


def evaluate_run(
    run: RunFolder, *, progress: Callable[[str, int, int], None] | None = None
) -> tuple[dict[str, Any], ScoredRun]:
    """Score a run's events and compute its figures of merit.

    Writes ``evaluation/metrics.json`` (`particle_transformer.evaluation.evaluate`) and
    ``evaluation/scores.parquet``: one row per simulated event of the store, with its file, entry,
    identity, process, fold, physics weight, logits, score by the networks of its fold, and the
    ensemble's score, which is null for events that some network of the ensemble was trained with.

    Parameters
    ----------
    run
        A trained run.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    metrics, scored
        The content of ``metrics.json``, and the scored events.

    Raises
    ------
    InputFileError
        If the run or its store is damaged or they do not belong together.
    OutputError
        If the run cannot be written to.
    """
    scored = score_run(run, progress=progress)
    settings = scored.analysis.evaluation
    metrics = evaluation.evaluate(
        scored.test,
        scored.validation,
        working_points=settings.working_points,
        background_uncertainty=settings.background_uncertainty,
        folds=scored.analysis.training.folds,
        signal_regions=scored.analysis.signal_regions,
        bootstrap=settings.bootstrap,
        seed=scored.analysis.training.seed,
        progress=None if progress is None else lambda *steps: progress("bootstrap", *steps),
    )
    try:
        run.evaluation.mkdir(exist_ok=True)
        _write_scores(run.evaluation / SCORES, scored)
        _write_text(run.evaluation / METRICS, json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        message = f"{run.evaluation}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
    return metrics, scored


def _write_scores(path: Path, scored: ScoredRun) -> None:
    files, entries = scored.store.origin()
    manifest = scored.store.manifest
    columns: dict[str, Any] = {
        "file": pa.DictionaryArray.from_arrays(
            pa.array(files[scored.index]), pa.array([record.path for record in manifest.inputs])
        ),
        "entry": entries[scored.index],
        **{f"identity_{part}": column for part, column in enumerate(scored.events.identity.T)},
        "process": pa.DictionaryArray.from_arrays(
            pa.array(scored.events.process), pa.array(manifest.processes)
        ),
        "fold": scored.test.fold,
        "weight": scored.events.weight,
        **{f"logit_{output}": column for output, column in enumerate(scored.logits.T)},
        "score": scored.test.score,
        "score_ensemble": pa.array(scored.ensemble, from_pandas=True),  # NaN is null
    }
    with replacing(path) as partial:
        pq.write_table(pa.table(columns), partial)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text)
