"""Evaluate a run: out-of-fold scores and figures of merit, written into the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from particle_transformer import evaluation
from particle_transformer.atomic import replacing
from particle_transformer.errors import OutputError
from particle_transformer.inference.before import RunScores, figures_before
from particle_transformer.inference.columns import hypothesis_column, regression_columns
from particle_transformer.inference.out_of_fold import ScoredRun, score_run
from particle_transformer.inference.score import signal_probability
from particle_transformer.inference.statistics import statistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder

__all__ = ["evaluate_run"]

METRICS = "metrics.json"
SCORES = "scores.parquet"
WORKSPACE = "workspace.json"


def evaluate_run(
    run: RunFolder,
    *,
    before: RunScores | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, Any], ScoredRun]:
    """Score a run's events and compute its figures of merit.

    Writes ``evaluation/metrics.json`` (`particle_transformer.evaluation.evaluate`; where there are
    spectators also `particle_transformer.evaluation.sculpting` as ``sculpting``; of a run to
    compare with its ``run``, ``auc``, ``rejection`` and ``sculpting`` as ``before``) and
    ``evaluation/scores.parquet``: one row per simulated event of the store, with its file, entry,
    identity, process, fold, physics weight, logits, score by the networks of its fold, and the
    ensemble's score, which is null for events that some network of the ensemble was trained with.

    What the training asks for comes besides: columns of the score under each hypothesis
    (``score_mass_1000``) and the block ``hypotheses`` with the figures of each; columns of
    regressed quantities (``regression_…``) and the block ``regression``; columns of two scores
    (``score_1``, ``score_2``) and the block ``abcd``.

    The statistics (docs/statistics.md) are the blocks ``limit``, ``calibration``, ``overtraining``
    and ``stability``, and the HistFactory model ``evaluation/workspace.json``; where the limit is
    undefined, the block says why, and there is no such file.

    Parameters
    ----------
    run
        A trained run.
    before
        Another one on the same events, to compare with.
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
    metrics = _metrics(scored, progress)
    blocks, workspace = statistics(scored, progress=progress)
    metrics |= blocks
    spectators = dict(
        zip(scored.analysis.event.spectators, scored.events.spectators.T, strict=True)
    )
    if spectators:
        metrics["sculpting"] = evaluation.sculpting(
            scored.test,
            scored.validation,
            spectators,
            folds=scored.analysis.training.folds,
            signal_regions=scored.analysis.signal_regions,
        )
    if before is not None:
        metrics["before"] = figures_before(before, scored.analysis, spectators, progress=progress)
    try:
        run.evaluation.mkdir(exist_ok=True)
        _write_scores(run.evaluation / SCORES, scored)
        if workspace is None:
            (run.evaluation / WORKSPACE).unlink(missing_ok=True)  # that of an earlier evaluation
        else:
            _write_json(run.evaluation / WORKSPACE, workspace.spec)
        _write_json(run.evaluation / METRICS, metrics)
    except OSError as error:
        message = f"{run.evaluation}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
    return metrics, scored


def _metrics(scored: ScoredRun, progress: Callable[[str, int, int], None] | None) -> dict[str, Any]:
    """The content of ``metrics.json``."""
    analysis = scored.analysis
    settings: dict[str, Any] = {
        "working_points": analysis.evaluation.working_points,
        "background_uncertainty": analysis.evaluation.background_uncertainty,
        "folds": analysis.training.folds,
        "signal_regions": analysis.signal_regions,
        "bootstrap": analysis.evaluation.bootstrap,
        "seed": analysis.training.seed,
    }

    def reporting(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda *steps: progress(what, *steps)

    test, validation = scored.test, scored.validation
    metrics = evaluation.evaluate(test, validation, **settings, progress=reporting("bootstrap"))
    if scored.hypotheses:
        metrics["hypotheses"] = evaluation.evaluate_hypotheses(
            test, validation, scored.hypotheses, **settings, progress=reporting("hypotheses")
        )
    tested, validated = (
        np.flatnonzero(events.in_any(analysis.signal_regions)) for events in (test, validation)
    )
    regression = analysis.training.regression
    if regression is not None:
        spectators = [analysis.event.spectators.index(target) for target in regression.targets]
        metrics["regression"] = evaluation.evaluate_regression(
            test.select(tested),
            regression.targets,
            scored.regression[tested],
            scored.events.spectators[tested][:, spectators],
        )
    if scored.two_scores:
        metrics["abcd"] = evaluation.evaluate_abcd(
            test.select(tested),
            validation.select(validated),
            _each_score(scored.logits[tested]),
            _each_score(scored.validation_logits[validated]),
            folds=analysis.training.folds,
        )
    return metrics


def _each_score(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of signal by each of several scores: float64 (events, outputs), as the logits."""
    return np.stack([signal_probability(column[:, None]) for column in logits.T], axis=1)


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
        **(
            {f"score_{n}": column for n, column in enumerate(_each_score(scored.logits).T, 1)}
            if scored.two_scores
            else {}
        ),
        "score": scored.test.score,
        "score_ensemble": pa.array(scored.ensemble, from_pandas=True),  # NaN is null
        **{hypothesis_column(point.parameters): point.test for point in scored.hypotheses},
    }
    regression = scored.analysis.training.regression
    if regression is not None:
        names = regression_columns(regression.targets)
        columns |= dict(zip(names, scored.regression.T, strict=True))
    with replacing(path) as partial:
        pq.write_table(pa.table(columns), partial)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
