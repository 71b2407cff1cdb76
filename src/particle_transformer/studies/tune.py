"""Tune an analysis: search for the settings with the lowest validation loss."""

from __future__ import annotations

import math
import shutil
import time
from typing import TYPE_CHECKING

from particle_transformer.config import with_space
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.data.tasks import in_order
from particle_transformer.errors import InputFileError, SampleError, require
from particle_transformer.studies.results import (
    chosen_values,
    write_best,
    write_trials,
)
from particle_transformer.studies.study_folder import alone_in
from particle_transformer.training.initial import with_initial
from particle_transformer.training.roles import check_folds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.data import Runner
    from particle_transformer.studies.results import StudyResult, TrialRecord

__all__ = ["tune"]


def tune(
    analysis: Analysis,
    out: Path,
    *,
    store: Path | None = None,
    unblind: bool = False,
    runner: Runner = in_order,
    progress: Callable[[str, int, int], None] | None = None,
) -> StudyResult:
    """Search for the settings of an analysis with the lowest validation loss.

    Called again, here or on other machines that see the folder, also at the same time, it goes on
    with the same study, until ``tuning.trials`` trials have come to an end in all. Only training
    and validation events of the folds in use are read for it, never a test event. With one
    program on a CPU the same seed, events and number of threads give the same study.

    Parameters
    ----------
    analysis
        The analysis file; its section ``tuning`` says what is varied.
    out
        The study's folder: absent, empty, or with a study of the same analysis. In the end it has
        ``best.yaml`` (the analysis file with the best values) and ``trials.csv``.
    store
        A prepared store to use; it is brought up to date first. None prepares ``out/store``.
    unblind
        Read data in blind regions, too.
    runner
        Runs the trials: `in_order` in this process, or a cluster, whose workers must see `out`
        and the store under the same paths.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    StudyResult
        All trials so far, of all programs.

    Raises
    ------
    MissingExtraError
        Without the extra ``tune``.
    SampleError
        If no trial has come to its last epoch.
    AOTError
        For every mistake in the input; if there are no trials yet, nothing is left then.
    """
    require("optuna", "tune")
    from particle_transformer.studies.places import finished  # noqa: PLC0415
    from particle_transformer.studies.storage import open_study, quiet  # noqa: PLC0415
    from particle_transformer.studies.summary import best_of, summary  # noqa: PLC0415
    from particle_transformer.studies.trial import TrialRunner  # noqa: PLC0415

    minutes = analysis.tuning.timeout_minutes
    deadline = math.inf if minutes is None else time.time() + 60 * minutes
    analysis = with_initial(analysis)
    spelt_out = with_space(analysis)
    events = _begin(spelt_out, out, store, unblind, runner, progress)
    wanted = analysis.tuning.trials
    with quiet():
        study = open_study(out, analysis)
        run_trial = TrialRunner(
            spelt_out,
            out.resolve(),
            events.resolve(),
            deadline,
            # What a trial on a cluster does is not seen here.
            progress if runner is in_order else None,
        )
        done = finished(study)
        _tell(progress, best_of(study), done, wanted)
        tasks = [f"{out}: trial {number}" for number in range(done, wanted)]
        for _, outcome in runner(run_trial, tasks):
            if isinstance(outcome, InputFileError):
                raise outcome
            _tell(progress, best_of(study), finished(study), wanted)
        result = summary(study, spelt_out, out)
    if not result.ranking:
        reasons = [trial.reason for trial in result.trials if trial.reason]
        last = f"; the last one: {reasons[-1]}" if reasons else ""
        message = f"{out}: none of {len(result.trials)} trials has come to its last epoch{last}"
        raise SampleError(message)
    write_trials(result)
    write_best(result, analysis, chosen_values(spelt_out.tuning.space, result.ranking[0].values))
    return result


def _begin(
    analysis: Analysis,
    out: Path,
    store: Path | None,
    unblind: bool,
    runner: Runner,
    progress: Callable[[str, int, int], None] | None,
) -> Path:
    """Prepare the events, and make the study or check that it is the same."""
    from particle_transformer.studies.storage import (  # noqa: PLC0415
        JOURNAL,
        check_same,
        claim,
        open_study,
        quiet,
    )

    with quiet(), alone_in(out, JOURNAL, progress):
        fresh = not (out / JOURNAL).exists()
        if not fresh:
            check_same(out, open_study(out, analysis), analysis)
        place = store or out / "store"
        try:
            prepare(analysis, place, unblind=unblind, runner=runner, progress=progress)
            events = Store(place)
            check_folds(analysis, StoreRows(events), events.manifest.classes)
        except BaseException:
            if fresh and store is None:
                shutil.rmtree(place, ignore_errors=True)
            raise
        claim(out, open_study(out, analysis), analysis, events.manifest.fingerprint)
    return place


def _tell(
    progress: Callable[[str, int, int], None] | None,
    best: TrialRecord | None,
    done: int,
    wanted: int,
) -> None:
    if progress is not None:
        state = "" if best is None else f" (best val. loss {best.loss:.4f}, of trial {best.number})"
        progress(f"trials{state}", min(done, wanted), wanted)
