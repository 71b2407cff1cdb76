"""Templates of every process in the regions of a fit, nominal and varied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError, nearest
from particle_transformer.evaluation.template import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["SIDES", "BinnedEvents", "FitRegion", "fit_regions"]

SIDES = ("up", "down")


@dataclass(frozen=True)
class BinnedEvents:
    """Events with their place in the fit.

    Attributes
    ----------
    events
        All simulated events, at the yields of the full luminosity.
    index
        By region of the fit: int64 (events,), the bin, or −1 for events outside the region.

    Raises
    ------
    SampleError
        If a column has a wrong shape, or an event lies in two regions of the fit: it would be
        counted twice.
    """

    events: ScoredEvents
    index: Mapping[str, NDArray[np.int64]]

    def __post_init__(self) -> None:
        owner: NDArray[np.int64] = np.full(len(self.events), -1, dtype=np.int64)
        names = list(self.index)
        for position, (name, index) in enumerate(self.index.items()):
            if index.shape != owner.shape:
                message = f"region {name}: bins of the events have shape {index.shape}, "
                message += f"expected {owner.shape}"
                raise SampleError(message)
            inside = index >= 0
            both = inside & (owner >= 0)
            if both.any():
                other = names[int(owner[np.argmax(both)])]
                message = (
                    f"regions {other} and {name} of the fit share {int(both.sum())} events, "
                    "expected none; make their selections exclude each other"
                )
                raise SampleError(message)
            owner[inside] = position


@dataclass(frozen=True)
class FitRegion:
    """One region (channel) of the fit.

    Attributes
    ----------
    name
        Of the region.
    nominal
        By process: its template.
    varied
        By variation, then side (``"up"``, ``"down"``, at least one), then process: float64
        (bins,), the yields. A process that is not there is not affected.

    Raises
    ------
    SampleError
        If numbers of bins disagree, or a side or process is unknown.
    """

    name: str
    nominal: Mapping[str, Template]
    varied: Mapping[str, Mapping[str, Mapping[str, NDArray[np.float64]]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if not self.nominal:
            message = f"region {self.name}: no process, expected at least one"
            raise SampleError(message)
        for process, template in self.nominal.items():
            self._same_bins(template.yields, f"process {process}")
        for variation, sides in self.varied.items():
            if not sides or not set(sides) <= set(SIDES):
                message = f"region {self.name}, variation {variation}: sides are "
                message += f"{', '.join(sides) or 'none'}, expected up, down or both"
                raise SampleError(message)
            for side, processes in sides.items():
                where = f"variation {variation} {side}"
                for process, yields in processes.items():
                    if process not in self.nominal:
                        known = nearest(process, self.nominal)
                        message = f"region {self.name}, {where}: unknown process {process!r} "
                        raise SampleError(message + f"({known})")
                    self._same_bins(yields, f"process {process}, {where}")

    @property
    def bins(self) -> int:
        """How many bins the region has."""
        return len(next(iter(self.nominal.values())).yields)

    def _same_bins(self, yields: NDArray[np.float64], what: str) -> None:
        if yields.shape != (self.bins,):
            message = f"region {self.name}, {what}: shape {yields.shape}, expected ({self.bins},)"
            raise SampleError(message)
        if not np.isfinite(yields).all():
            message = f"region {self.name}, {what}: a yield is NaN or infinite, expected numbers"
            raise SampleError(message)


def fit_regions(
    nominal: BinnedEvents,
    bins: Mapping[str, int],
    variations: Mapping[str, Mapping[str, BinnedEvents]] | None = None,
) -> tuple[FitRegion, ...]:
    """Fill the templates of all processes in all regions.

    Parameters
    ----------
    nominal
        The simulated events.
    bins
        How many bins each region of `nominal` has.
    variations
        By variation and side (``"up"``, ``"down"``): the same events as varied, with the same
        processes and regions.

    Returns
    -------
    tuple of FitRegion
        In the order of `bins`.

    Raises
    ------
    SampleError
        If a varied sample has other processes or lacks a region.
    """
    varied = variations or {}
    for name, sides in varied.items():
        for side, binned in sides.items():
            if binned.events.processes != nominal.events.processes:
                message = (
                    f"variation {name} {side}: processes {', '.join(binned.events.processes)}, "
                    f"expected {', '.join(nominal.events.processes)}"
                )
                raise SampleError(message)
    regions = []
    for region, count in bins.items():
        shifted = {
            name: {
                side: {
                    process: template.yields
                    for process, template in _templates(
                        binned, region, count, f"variation {name} {side}"
                    ).items()
                }
                for side, binned in sides.items()
            }
            for name, sides in varied.items()
        }
        regions.append(FitRegion(region, _templates(nominal, region, count, "nominal"), shifted))
    return tuple(regions)


def _templates(binned: BinnedEvents, region: str, bins: int, what: str) -> dict[str, Template]:
    if region not in binned.index:
        message = f"{what}: unknown region {region!r} ({nearest(region, binned.index)})"
        raise SampleError(message)
    index = binned.index[region]
    if index.size and index.max() >= bins:
        message = f"{what}, region {region}: an event is in bin {index.max()}, "
        message += f"expected 0 to {bins - 1}"
        raise SampleError(message)
    found = {}
    for number, process in enumerate(binned.events.processes):
        own = (binned.events.process == number) & (index >= 0)
        found[process] = Template.fill(index[own], binned.events.weight[own], bins)
    return found
