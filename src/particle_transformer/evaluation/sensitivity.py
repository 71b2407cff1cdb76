"""From scored events to the expected limit: bins, templates, model, limit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError, nearest
from particle_transformer.evaluation.binning import (
    Binning,
    BinningRule,
    Labelled,
    optimal_binnings,
)
from particle_transformer.evaluation.fit_regions import BinnedEvents, FitRegion, fit_regions
from particle_transformer.evaluation.likelihood import Likelihood, workspace_model
from particle_transformer.evaluation.limits import (
    ExpectedLimit,
    expected_limit,
    expected_significance,
)
from particle_transformer.evaluation.workspace import Workspace, build
from particle_transformer.events.folds import VALIDATION_DENOMINATOR, validation_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["FitChoices", "Sensitivity", "bin_events", "limit_of", "limit_of_binned", "region_bins"]


@dataclass(frozen=True)
class FitChoices:
    """What is assumed about the normalisations.

    Attributes
    ----------
    free
        Backgrounds whose normalisation the fit determines.
    normalisation
        Relative uncertainty of the normalisation by process.
    statistical
        Whether the simulation's statistical error counts.
    level
        Confidence level of the limit.
    """

    free: Collection[str] = ()
    normalisation: Mapping[str, float] = dataclasses.field(default_factory=dict)
    statistical: bool = True
    level: float = 0.95


@dataclass(frozen=True)
class Sensitivity:
    """The expected limit of an analysis and all that led to it.

    Attributes
    ----------
    limit
        Expected upper limit on the signal strength.
    significance
        Expected discovery significance of a signal of strength 1.
    regions
        The templates of the fit.
    workspace
        The HistFactory model, with notes on what was changed in the templates.
    likelihood
        For pulls, impacts and fitted yields (`ranking`).
    """

    limit: ExpectedLimit
    significance: float
    regions: tuple[FitRegion, ...]
    workspace: Workspace
    likelihood: Likelihood


def region_bins(
    validation: ScoredEvents,
    signal_regions: Sequence[str],
    control_regions: Sequence[str] = (),
    *,
    folds: int,
    rule: BinningRule | None = None,
    validation_share: float = 1 / VALIDATION_DENOMINATOR,
) -> dict[str, tuple[Binning, ...]]:
    """Choose the bins of every region of the fit on validation events.

    Parameters
    ----------
    validation
        Validation events; ``validation.fold`` is the network that scored them.
    signal_regions
        Regions that are binned for the greatest expected significance.
    control_regions
        Regions of a single bin.
    folds
        How many networks there are.
    rule
        Constraints of the bins; its `scale` is replaced by that of the folds.
    validation_share
        Share of the events outside a fold that are the validation set of its network.

    Returns
    -------
    dict
        By region the binning of each fold.

    Raises
    ------
    SampleError
        As `optimal_binnings`, with the region's name; or if a region is unknown.
    """
    scale = validation_scale(folds, validation_share)
    scaled = dataclasses.replace(rule or BinningRule(), scale=scale)
    whole = Binning(np.array([-np.inf, np.inf]))
    found: dict[str, tuple[Binning, ...]] = {}
    for region in signal_regions:
        inside = validation.in_any([region])
        samples = []
        for fold in range(folds):
            own = inside & (validation.fold == fold)
            samples.append(
                Labelled(validation.score[own], validation.weight[own], validation.is_signal[own])
            )
        try:
            found[region] = optimal_binnings(samples, scaled)
        except SampleError as error:
            message = f"region {region}: {error}"
            raise SampleError(message) from error
    for region in control_regions:
        if region in found:
            message = f"region {region} is both signal and control region, expected one of them"
            raise SampleError(message)
        found[region] = (whole,) * folds
    return found


def bin_events(events: ScoredEvents, bins: Mapping[str, Sequence[Binning]]) -> BinnedEvents:
    """Put events into the bins of the network that scored them.

    Parameters
    ----------
    events
        Test events, nominal or varied.
    bins
        By region the binning of each fold.

    Raises
    ------
    SampleError
        If a region or fold is unknown, or regions share events.
    """
    index: dict[str, NDArray[np.int64]] = {}
    for region, binnings in bins.items():
        if region not in events.regions:
            message = f"unknown region {region!r} ({nearest(region, events.regions)})"
            raise SampleError(message)
        if len(events) and events.fold.max() >= len(binnings):
            message = f"events have folds up to {events.fold.max()}, expected up to "
            message += f"{len(binnings) - 1}: there are bins for {len(binnings)} networks"
            raise SampleError(message)
        placed = np.full(len(events), -1, dtype=np.int64)
        for fold, binning in enumerate(binnings):
            own = events.regions[region] & (events.fold == fold)
            placed[own] = binning.index(events.score[own])
        index[region] = placed
    return BinnedEvents(events, index)


def limit_of_binned(
    nominal: BinnedEvents,
    bins: Mapping[str, int],
    *,
    variations: Mapping[str, Mapping[str, BinnedEvents]] | None = None,
    choices: FitChoices | None = None,
) -> Sensitivity:
    """Expected limit of events that are in bins already, of any discriminant or of several.

    Parameters
    ----------
    nominal
        The simulated events at full luminosity.
    bins
        By region how many bins.
    variations
        By variation and side: the events as varied.
    choices
        Normalisations.

    Raises
    ------
    SampleError
        As `fit_regions`, `build` and `expected_limit`.
    """
    chosen = choices or FitChoices()
    regions = fit_regions(nominal, bins, variations)
    signals = [nominal.events.processes[number] for number in nominal.events.signals]
    workspace = build(
        regions,
        signals,
        free=chosen.free,
        normalisation=chosen.normalisation,
        statistical=chosen.statistical,
    )
    likelihood = Likelihood(workspace_model(workspace.spec))
    limit = expected_limit(likelihood, level=chosen.level)
    return Sensitivity(limit, expected_significance(likelihood), regions, workspace, likelihood)


def limit_of(
    test: ScoredEvents,
    validation: ScoredEvents,
    signal_regions: Sequence[str],
    control_regions: Sequence[str] = (),
    *,
    folds: int,
    rule: BinningRule | None = None,
    variations: Mapping[str, Mapping[str, ScoredEvents]] | None = None,
    choices: FitChoices | None = None,
    validation_share: float = 1 / VALIDATION_DENOMINATOR,
) -> Sensitivity:
    """Expected limit of a run: bins from validation events, templates from test events.

    Parameters
    ----------
    test
        All simulated events, each scored by the network of its own fold.
    validation
        Validation events of each network. Only the bins' edges are taken from them.
    signal_regions, control_regions
        Regions of the fit, which must not share events: binned in the score, and of one bin.
    folds
        How many networks there are.
    rule
        Constraints of the bins.
    variations
        By variation and side (``"up"``, ``"down"``): the test events as varied, scored by the
        networks of their own folds.
    choices
        Normalisations.
    validation_share
        Share of the events outside a fold that are the validation set of its network.

    Returns
    -------
    Sensitivity

    Raises
    ------
    SampleError
        If the bins cannot be chosen, regions share events, or the model is not defined.
    """
    bins = region_bins(
        validation,
        signal_regions,
        control_regions,
        folds=folds,
        rule=rule,
        validation_share=validation_share,
    )
    return limit_of_binned(
        bin_events(test, bins),
        {region: binnings[0].bins for region, binnings in bins.items()},
        variations={
            name: {side: bin_events(events, bins) for side, events in sides.items()}
            for name, sides in (variations or {}).items()
        },
        choices=choices,
    )
