"""What a run's scores are worth: limit, calibration, overtraining, stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer import evaluation
from particle_transformer.inference.varied import score_variations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from particle_transformer.config import Analysis
    from particle_transformer.inference.out_of_fold import ScoredRun

__all__ = ["binning_rule", "compared_events", "fit_choices", "statistics"]


def statistics(
    scored: ScoredRun, *, progress: Callable[[str, int, int], None] | None = None
) -> tuple[dict[str, Any], evaluation.Workspace | None]:
    """Blocks of ``metrics.json`` and the HistFactory model, as the analysis file asks for them.

    Parameters
    ----------
    scored
        The run with its scores.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    blocks : dict
        ``limit`` (`evaluate_limit`), ``calibration`` (`evaluate_calibration`), ``overtraining``
        (`evaluate_overtraining`) and ``stability`` (`evaluate_stability`), all of
        `particle_transformer.evaluation`.
    workspace : Workspace or None
        None where the limit is undefined.
    """
    analysis = scored.analysis
    folds, regions = analysis.training.folds, analysis.signal_regions
    varied = score_variations(scored, progress=progress)
    limit, workspace = _limit(scored, varied, progress)
    test, validation = (
        events.select(events.in_any(regions)) for events in (scored.test, scored.validation)
    )
    trained, compared = compared_events(scored)
    blocks = {
        "limit": limit,
        "calibration": evaluation.evaluate_calibration(
            test,
            validation,
            folds=folds,
            bootstrap=analysis.evaluation.bootstrap,
            seed=analysis.training.seed,
        ),
        "overtraining": evaluation.evaluate_overtraining(compared, trained, folds=folds),
        "stability": evaluation.evaluate_stability(
            scored.test,
            scored.validation,
            varied,
            working_points=analysis.evaluation.working_points,
            folds=folds,
            signal_regions=regions,
        ),
    }
    return blocks, workspace


def compared_events(
    scored: ScoredRun,
) -> tuple[evaluation.ScoredEvents, evaluation.ScoredEvents]:
    """Training events of each network, scored by it, and test events to compare them with.

    Parameters
    ----------
    scored
        The run with its scores.

    Returns
    -------
    training, test
        In the signal regions. Where events with negative weights are not trained on, neither has
        any: like is compared with like.
    """
    test = scored.test.select(scored.test.in_any(scored.analysis.signal_regions))
    training = scored.training
    if scored.analysis.training.negative_weights == "drop":
        return training.select(training.weight > 0), test.select(test.weight > 0)
    return training, test


def _limit(
    scored: ScoredRun,
    varied: Mapping[str, Mapping[str, evaluation.VariedEvents]],
    progress: Callable[[str, int, int], None] | None,
) -> tuple[dict[str, Any], evaluation.Workspace | None]:
    analysis = scored.analysis
    settings = analysis.evaluation.limit
    if scored.hypotheses:
        reason = (
            f"the signals are of {len(scored.hypotheses)} hypotheses (training.condition), and a "
            "limit is that of one of them"
        )
        return evaluation.undefined_limit(reason, settings.level), None
    return evaluation.evaluate_limit(
        scored.test,
        scored.validation,
        analysis.fit_regions_of("signal"),
        analysis.fit_regions_of("control"),
        folds=analysis.training.folds,
        rule=binning_rule(analysis),
        variations={
            name: {side: found.events for side, found in sides.items()}
            for name, sides in varied.items()
        },
        choices=fit_choices(analysis),
        progress=None if progress is None else lambda *steps: progress("limit", *steps),
    )


def fit_choices(analysis: Analysis) -> evaluation.FitChoices:
    """What the fit of an analysis assumes about normalisations."""
    settings = analysis.evaluation.limit
    return evaluation.FitChoices(
        free=settings.free, normalisation=analysis.fit_normalisation, level=settings.level
    )


def binning_rule(analysis: Analysis) -> evaluation.BinningRule:
    """What the bins of the fit have to fulfil; the scale is that of the folds, set with them."""
    settings = analysis.evaluation.limit
    return evaluation.BinningRule(
        background_uncertainty=analysis.evaluation.background_uncertainty,
        minimum_background=settings.minimum_background,
        minimum_effective_events=settings.minimum_effective_events,
        maximum_bins=settings.maximum_bins,
    )
