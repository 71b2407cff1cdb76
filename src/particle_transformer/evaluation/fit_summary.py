"""The expected limit with all that led to it, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.errors import MissingExtraError, SampleError
from particle_transformer.evaluation.figure import effective_events
from particle_transformer.evaluation.ranking import before_fit, fitted_yields, impacts, pulls
from particle_transformer.evaluation.sensitivity import (
    FitChoices,
    bin_events,
    limit_of_binned,
    region_bins,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from particle_transformer.evaluation.binning import Binning, BinningRule
    from particle_transformer.evaluation.fit_regions import BinnedEvents, FitRegion
    from particle_transformer.evaluation.likelihood import FitResult, Likelihood
    from particle_transformer.evaluation.scored import ScoredEvents
    from particle_transformer.evaluation.sensitivity import Sensitivity
    from particle_transformer.evaluation.workspace import Workspace

__all__ = ["evaluate_limit", "undefined_limit"]


def evaluate_limit(
    test: ScoredEvents,
    validation: ScoredEvents,
    signal_regions: Sequence[str],
    control_regions: Sequence[str] = (),
    *,
    folds: int,
    rule: BinningRule | None = None,
    variations: Mapping[str, Mapping[str, ScoredEvents]] | None = None,
    choices: FitChoices | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], Workspace | None]:
    """Expected limit, significance, templates, pulls and impacts of a run.

    Parameters
    ----------
    test, validation, signal_regions, control_regions, folds, rule, variations, choices
        As in `limit_of`.
    progress
        Called with (parameters done, parameters in all) while the impacts are computed.

    Returns
    -------
    block : dict
        ``median``, ``band`` (−2, −1, 0, 1, 2 standard deviations), ``level``, ``significance``,
        ``reason`` (why there is none), ``regions`` with bins and templates, ``parameters`` in the
        order of their impact, and ``notes`` on what was changed in the templates. Pulls, impacts
        and errors after the fit are those of the background-only Asimov data.
    workspace : Workspace or None
        The model; None where the limit is undefined.
    """
    chosen = choices or FitChoices()
    try:
        bins = region_bins(validation, signal_regions, control_regions, folds=folds, rule=rule)
        nominal = bin_events(test, bins)
        found = limit_of_binned(
            nominal,
            {region: binnings[0].bins for region, binnings in bins.items()},
            variations={
                name: {side: bin_events(events, bins) for side, events in sides.items()}
                for name, sides in (variations or {}).items()
            },
            choices=chosen,
        )
        likelihood = found.likelihood
        data = likelihood.asimov(likelihood.initial)
        fitted = likelihood.fit(data, {likelihood.strength: 0.0})
        notes = list(found.workspace.notes)
        try:
            parameters = _parameters(likelihood, data, fitted, progress)
        except SampleError as error:  # no reason to go without the limit
            parameters = []
            notes.append(f"no pulls and impacts: {error}")
        block = {
            "median": found.limit.median,
            "band": list(found.limit.band),
            "level": found.limit.level,
            "significance": found.significance,
            "reason": None,
            "regions": _regions(found, fitted, nominal, bins, signal_regions),
            "parameters": parameters,
            "notes": notes,
        }
    except (SampleError, MissingExtraError) as error:
        return undefined_limit(str(error), chosen.level), None
    return block, found.workspace


def undefined_limit(reason: str, level: float) -> dict[str, Any]:
    """The block of `evaluate_limit` where there is no limit."""
    return {
        "median": None,
        "band": None,
        "level": level,
        "significance": None,
        "reason": reason,
        "regions": {},
        "parameters": [],
        "notes": [],
    }


def _regions(
    found: Sensitivity,
    fitted: FitResult,
    nominal: BinnedEvents,
    bins: Mapping[str, Sequence[Binning]],
    signal_regions: Sequence[str],
) -> dict[str, Any]:
    likelihood = found.likelihood
    before = fitted_yields(likelihood, before_fit(likelihood))
    after = fitted_yields(likelihood, fitted)
    return {
        region.name: {
            "role": "signal" if region.name in signal_regions else "control",
            # The outermost edges are −inf and inf.
            "edges": {
                str(fold): binning.edges[1:-1].tolist()
                for fold, binning in enumerate(bins[region.name])
            },
            "effective_events": _effective(nominal, region),
            "processes": {
                process: {"yields": template.yields.tolist(), "errors": template.error.tolist()}
                for process, template in region.nominal.items()
            },
            "background": {
                "yields": after[region.name].total.yields.tolist(),
                "errors_before_fit": before[region.name].total.error.tolist(),
                "errors_after_fit": after[region.name].total.error.tolist(),
            },
        }
        for region in found.regions
    }


def _effective(nominal: BinnedEvents, region: FitRegion) -> list[float]:
    """(Σw)²/Σw² of the simulated background of each bin."""
    events, index = nominal.events, nominal.index[region.name]
    return [
        effective_events(events.weight[(index == place) & ~events.is_signal])
        for place in range(region.bins)
    ]


def _parameters(
    likelihood: Likelihood,
    data: NDArray[np.float64],
    fitted: FitResult,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    by_name = {pull.name: pull for pull in pulls(likelihood, fitted)}
    rows = []
    for impact in impacts(likelihood, data, progress=progress):
        pull = by_name[impact.name]
        rows.append(
            {
                "name": impact.name,
                "value": pull.value,
                "error": pull.error,
                "pull": pull.pull,
                "constraint": pull.constraint,
                "impact_up": impact.up,
                "impact_down": impact.down,
            }
        )
    return rows
