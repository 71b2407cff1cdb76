"""Bins of two quantities: slices of the first, in each slice bins of the second (HT and MET)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.binning import (
    Binning,
    BinningRule,
    Labelled,
    binning_at,
    optimal_binnings,
    partitions,
    quantile_cuts,
)
from particle_transformer.evaluation.partition import best_partitions, fewest_blocks
from particle_transformer.evaluation.roc import weight_defect
from particle_transformer.evaluation.significance import combined_significance
from particle_transformer.evaluation.template import Template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.partition import Partition

__all__ = ["SlicedBinning", "binned_significance", "optimal_slices"]


@dataclass(frozen=True)
class SlicedBinning:
    """Slices of one quantity, each with its bins of another.

    Attributes
    ----------
    slices
        Bins of the first quantity.
    inner
        For each slice the bins of the second quantity. Bins are numbered slice by slice.

    Raises
    ------
    SampleError
        If there is not one binning for each slice.
    """

    slices: Binning
    inner: tuple[Binning, ...]

    def __post_init__(self) -> None:
        if len(self.inner) != self.slices.bins:
            message = f"{len(self.inner)} binnings for {self.slices.bins} slices, expected one each"
            raise SampleError(message)

    @property
    def bins(self) -> int:
        """How many bins there are in all slices together."""
        return sum(binning.bins for binning in self.inner)

    def index(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bin of each event by its two quantities (events,); int64 (events,)."""
        in_slice = self.slices.index(first)
        result = np.zeros(len(first), dtype=np.int64)
        start = 0
        for number, binning in enumerate(self.inner):
            own = in_slice == number
            result[own] = start + binning.index(second[own])
            start += binning.bins
        return result

    def histogram(
        self,
        first: NDArray[np.float64],
        second: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> Template:
        """Fill two quantities with signed weights, all float64 (events,)."""
        return Template.fill(self.index(first, second), weight, self.bins)


def optimal_slices(
    first: Sequence[NDArray[np.float64]],
    samples: Sequence[Labelled],
    rule: BinningRule,
    *,
    maximum_slices: int = 4,
    fine_slices: int = 12,
) -> tuple[SlicedBinning, ...]:
    """Slices and bins of greatest expected significance, of equal number in each sample.

    The slices are chosen by dynamic programming, each valued by the best binning that it allows;
    their bins then are those of `optimal_binnings`.

    Parameters
    ----------
    first
        For each sample, float64 (events,): the quantity to slice, such as HT.
    samples
        Validation events, their `values` the quantity to bin in each slice, such as MET.
    rule
        Constraints and uncertainties; its `maximum_bins` counts for each slice.
    maximum_slices
        The greatest number of slices.
    fine_slices
        Between how many quantiles of `first` the slices are chosen.

    Returns
    -------
    tuple of SlicedBinning
        One for each sample; never is the significance below that of a single bin.

    Raises
    ------
    SampleError
        As `optimal_binnings`, and if `maximum_slices` is below 1 or `fine_slices` below 2.
    """
    if maximum_slices < 1 or fine_slices < 2:
        message = f"binning: maximum_slices is {maximum_slices} and fine_slices {fine_slices}, "
        message += "expected 1 or more and 2 or more"
        raise SampleError(message)
    cuts, found = [], []
    for x, sample in zip(first, samples, strict=True):
        sliced = Labelled(x, sample.weight, sample.is_signal)
        cuts.append(quantile_cuts(sliced, fine_slices))
        found.append(_slices(x, sample, cuts[-1], rule, maximum_slices))
    options: list[tuple[SlicedBinning, ...]] = []
    totals = np.full(maximum_slices, -np.inf)
    for number in range(maximum_slices):
        chosen = [partition[number] for partition in found]
        if number and not all(np.isfinite(option.total) for option in chosen):
            options.append(())
            continue
        slices = [
            binning_at(fine, option.bounds) for fine, option in zip(cuts, chosen, strict=True)
        ]
        options.append(_fill(first, samples, slices, rule))
        totals[number] = sum(
            binned_significance(binning.index(x, sample.values), binning.bins, sample, rule) ** 2
            for x, sample, binning in zip(first, samples, options[-1], strict=True)
        )
    return options[(fewest_blocks(totals, rule.tolerance) or 1) - 1]


def binned_significance(
    index: NDArray[np.int64], bins: int, events: Labelled, rule: BinningRule
) -> float:
    """Expected significance Z of all bins together, as the optimiser counts it.

    Parameters
    ----------
    index
        int64 (events,): the bin of each event.
    bins
        How many bins.
    events
        With weights and labels.
    rule
        `scale` and `background_uncertainty` count.

    Returns
    -------
    float
        NaN where a bin has no background or negative signal.
    """
    signal = Template.fill(index[events.is_signal], events.weight[events.is_signal], bins)
    background = Template.fill(index[~events.is_signal], events.weight[~events.is_signal], bins)
    b = rule.scale * background.yields
    error = np.sqrt((rule.background_uncertainty * b) ** 2 + rule.scale * background.squares)
    rounding = 1e-12 * abs(signal.yields.sum())
    s = np.where(np.abs(signal.yields) <= rounding, 0.0, signal.yields)
    return float(combined_significance(rule.scale * s, b, error))


def _slices(
    x: NDArray[np.float64],
    sample: Labelled,
    cuts: NDArray[np.float64],
    rule: BinningRule,
    maximum: int,
) -> tuple[Partition, ...]:
    """Best slices at `cuts`, each valued by the best binning that it allows."""
    place = np.searchsorted(cuts, x, side="right")
    value = np.full((len(cuts) + 2, len(cuts) + 2), -np.inf)
    for low in range(len(cuts) + 1):
        for high in range(low + 1, len(cuts) + 2):
            part = sample.select((place >= low) & (place < high))
            if any(weight_defect(part.weight[part.is_signal == own], "") for own in (True, False)):
                continue
            inner = partitions(part, quantile_cuts(part, rule.fine_bins), rule)
            value[low, high] = max(option.total for option in inner)
    return best_partitions(value, maximum)


def _fill(
    first: Sequence[NDArray[np.float64]],
    samples: Sequence[Labelled],
    slices: Sequence[Binning],
    rule: BinningRule,
) -> tuple[SlicedBinning, ...]:
    """Bins of the second quantity in given slices."""
    inner: list[list[Binning]] = [[] for _ in samples]
    for number in range(slices[0].bins):
        parts = [
            sample.select(cut.index(x) == number)
            for x, sample, cut in zip(first, samples, slices, strict=True)
        ]
        for own, binning in zip(inner, optimal_binnings(parts, rule), strict=True):
            own.append(binning)
    return tuple(SlicedBinning(cut, tuple(own)) for cut, own in zip(slices, inner, strict=True))
