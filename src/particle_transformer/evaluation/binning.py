"""Bins of a discriminant for the greatest expected significance, with constraints.

The figure to maximise is Z² = Σ_bins Z_i², with the Asimov significance Z_i of one bin with
background uncertainty (see `significance`). The uncertainty of a bin is the declared relative
one and the statistical error of the template in quadrature, each without correlation between the
bins. Z² is then a sum over bins, so that dynamic programming over fine quantile bins finds the
best division exactly (`partition`). The numbers that a paper quotes come from the fit
(`limits`), which knows the correlations.

The bins are chosen on validation events and applied to test events. Each fold's network has
edges of its own, as it has thresholds of its own; the number of bins is common, so that bin i of
all folds together is bin i of the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.figure import effective_events
from particle_transformer.evaluation.partition import best_partitions, fewest_blocks
from particle_transformer.evaluation.roc import weight_defect
from particle_transformer.evaluation.significance import asimov_significance
from particle_transformer.evaluation.template import Template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.partition import Partition

__all__ = ["Binning", "BinningRule", "Labelled", "optimal_binning", "optimal_binnings"]


@dataclass(frozen=True)
class Binning:
    """Bins of one quantity; bin i holds ``edges[i] <= value < edges[i + 1]``.

    Attributes
    ----------
    edges
        float64 (bins + 1,), rising; the first is −inf and the last +inf, so that every event has
        a bin.

    Raises
    ------
    SampleError
        If they are not that.
    """

    edges: NDArray[np.float64]

    def __post_init__(self) -> None:
        edges = self.edges
        if (
            edges.ndim != 1
            or len(edges) < 2
            or not (edges[0] == -np.inf and edges[-1] == np.inf)
            or not np.all(edges[1:] > edges[:-1])
        ):
            message = f"bin edges are {edges.tolist()}, expected rising ones from -inf to inf"
            raise SampleError(message)

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.edges) - 1

    def index(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bin of each value (events,); int64 (events,)."""
        return np.searchsorted(self.edges[1:-1], values, side="right").astype(np.int64)

    def histogram(self, values: NDArray[np.float64], weight: NDArray[np.float64]) -> Template:
        """Fill values with signed weights, both float64 (events,)."""
        return Template.fill(self.index(values), weight, self.bins)


@dataclass(frozen=True)
class BinningRule:
    """What the bins have to fulfil.

    Attributes
    ----------
    scale
        Factor that brings the yields of the validation events to those of all events.
    background_uncertainty
        Relative systematic uncertainty of a bin's background.
    minimum_background
        Expected background that a bin must have at least (at the scale of all events), in events.
        A few are needed for the asymptotic formulae of the limit.
    minimum_effective_events
        Effective number (Σw)²/Σw² of simulated background events among the validation events that
        a bin must have at least: below, its background is a guess.
    maximum_bins
        The greatest number of bins.
    fine_bins
        Between how many quantiles the edges are chosen: half of them of the signal, half of the
        background, each with its weights' absolute values.
    tolerance
        The share of the greatest significance that may be given up for fewer bins: the last
        percent is mostly noise of the validation events.

    Raises
    ------
    SampleError
        If a number is out of its range.
    """

    scale: float = 1.0
    background_uncertainty: float = 0.0
    minimum_background: float = 3.0
    minimum_effective_events: float = 10.0
    maximum_bins: int = 10
    fine_bins: int = 200
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        ranges = {
            "scale": (self.scale > 0, "more than 0"),
            "background_uncertainty": (self.background_uncertainty >= 0, "0 or more"),
            "minimum_background": (self.minimum_background > 0, "more than 0"),
            "minimum_effective_events": (self.minimum_effective_events > 0, "more than 0"),
            "maximum_bins": (self.maximum_bins >= 1, "1 or more"),
            "fine_bins": (self.fine_bins >= 2, "2 or more"),
            "tolerance": (0 <= self.tolerance < 1, "from 0 to below 1"),
        }
        for name, (good, expected) in ranges.items():
            if not good:
                message = f"binning: {name} is {getattr(self, name):g}, expected {expected}"
                raise SampleError(message)


@dataclass(frozen=True)
class Labelled:
    """Events with the quantity to bin.

    Attributes
    ----------
    values
        float64 (events,), finite: score, MET or whatever tells signal from background.
    weight
        float64 (events,): signed physics weight.
    is_signal
        bool (events,).

    Raises
    ------
    SampleError
        If the shapes differ or a value is not finite.
    """

    values: NDArray[np.float64]
    weight: NDArray[np.float64]
    is_signal: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shapes = [column.shape for column in (self.values, self.weight, self.is_signal)]
        if shapes != [(len(self.values),)] * 3:
            message = f"events to bin: values, weight, is_signal have shapes {shapes}, "
            message += "expected the same (events,)"
            raise SampleError(message)
        bad = int(np.sum(~(np.isfinite(self.values) & np.isfinite(self.weight))))
        if bad:
            message = f"events to bin: {bad} of {len(self.values)} are NaN or infinite, "
            message += "expected finite values and weights"
            raise SampleError(message)

    def select(self, mask: NDArray[np.bool_]) -> Labelled:
        """Events of a bool mask (events,)."""
        return Labelled(self.values[mask], self.weight[mask], self.is_signal[mask])


def optimal_binning(events: Labelled, rule: BinningRule) -> Binning:
    """Bins of greatest expected significance for one sample; see `optimal_binnings`."""
    return optimal_binnings([events], rule)[0]


def optimal_binnings(samples: Sequence[Labelled], rule: BinningRule) -> tuple[Binning, ...]:
    """Bins of greatest expected significance for several networks, equally many for each.

    Parameters
    ----------
    samples
        The validation events of each network, each with its own values.
    rule
        Constraints and uncertainties.

    Returns
    -------
    tuple of Binning
        One for each sample. Every edge is the value of an event, so that a rising transformation
        of the values transforms the edges and nothing else. No bin violates the rule or has
        negative signal, and never is the significance below that of a single bin. Deterministic.

    Raises
    ------
    SampleError
        If a sample lacks a class, or even a single bin violates the rule.
    """
    cuts = [quantile_cuts(sample, rule.fine_bins) for sample in samples]
    found = [partitions(sample, fine, rule) for sample, fine in zip(samples, cuts, strict=True)]
    for position, (sample, options) in enumerate(zip(samples, found, strict=True)):
        if not np.isfinite(options[0].total):
            raise SampleError(_too_few(sample, rule, position if len(samples) > 1 else None))
    together = np.sum([[option.total for option in options] for options in found], axis=0)
    bins = fewest_blocks(together, rule.tolerance) or 1
    return tuple(
        binning_at(fine, options[bins - 1].bounds)
        for fine, options in zip(cuts, found, strict=True)
    )


def quantile_cuts(events: Labelled, fine: int) -> NDArray[np.float64]:
    """Values between which to choose edges: weighted quantiles of signal and of background.

    Returns
    -------
    float64 (cuts,)
        Rising, each the value of an event above the least one.

    Raises
    ------
    SampleError
        If a class has no event or no positive weight.
    """
    chosen = []
    for mask, name in ((events.is_signal, "signal"), (~events.is_signal, "background")):
        defect = weight_defect(events.weight[mask], name)
        if defect:
            message = f"events to bin: {defect}"
            raise SampleError(message)
        order = np.argsort(events.values[mask], kind="stable")
        summed = np.cumsum(np.abs(events.weight[mask][order]))
        parts = max(fine // 2, 1)
        place = np.searchsorted(summed, summed[-1] * np.arange(1, parts) / parts)
        chosen.append(events.values[mask][order][place])
    cuts = np.unique(np.concatenate(chosen))
    inner: NDArray[np.float64] = cuts[cuts > events.values.min()]
    return inner


def partitions(
    events: Labelled, cuts: NDArray[np.float64], rule: BinningRule
) -> tuple[Partition, ...]:
    """Best division at `cuts` into 1, 2, …, ``rule.maximum_bins`` bins, valued by Z²."""
    index = np.searchsorted(cuts, events.values, side="right")

    def blocks(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of each block of fine bins, (from, to)."""
        fine = np.bincount(index, weight, minlength=len(cuts) + 1)
        summed = np.concatenate([[0.0], np.cumsum(fine)])
        difference: NDArray[np.float64] = summed[None, :] - summed[:, None]
        return difference

    background_weight = np.where(events.is_signal, 0.0, events.weight)
    signal = blocks(events.weight - background_weight)
    background = blocks(background_weight)
    squares = blocks(background_weight**2)
    # A sum of squares is positive by more than the rounding of the cumulative sums, or none.
    some = squares > 1e-12 * squares[0, -1]
    effective = np.divide(background**2, squares, out=np.zeros_like(squares), where=some)
    allowed = np.triu(np.ones(signal.shape, dtype=bool), 1) & some
    allowed &= rule.scale * background >= rule.minimum_background
    allowed &= effective >= rule.minimum_effective_events
    # With signed weights a block can have less than no signal, which is no template.
    allowed &= signal >= -1e-12 * abs(signal[0, -1])
    # Σw² of all events in the bin is scale·Σw² of the validation events, not scale²·Σw².
    b = np.where(allowed, rule.scale * background, 1.0)
    s = np.where(allowed, np.maximum(rule.scale * signal, 0.0), 0.0)
    variance = np.where(allowed, rule.scale * squares, 0.0)
    error = np.sqrt((rule.background_uncertainty * b) ** 2 + variance)
    value = np.where(allowed, asimov_significance(s, b, error) ** 2, -np.inf)
    return best_partitions(value, rule.maximum_bins)


def binning_at(cuts: NDArray[np.float64], bounds: tuple[int, ...]) -> Binning:
    """Binning of a partition of the fine bins between `cuts`."""
    inner = cuts[[bound - 1 for bound in bounds[1:-1]]]
    return Binning(np.concatenate([[-np.inf], inner, [np.inf]]))


def _too_few(events: Labelled, rule: BinningRule, network: int | None) -> str:
    weight = events.weight[~events.is_signal]
    where = "" if network is None else f"network {network}, "
    return (
        f"{where}events to bin: a single bin has {rule.scale * weight.sum():.4g} expected "
        f"background events from {effective_events(weight):.4g} effective simulated ones, expected "
        f"at least {rule.minimum_background:g} and {rule.minimum_effective_events:g}; "
        "simulate more, loosen the selection or lower the minimum"
    )
