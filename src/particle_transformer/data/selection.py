"""Which events of a chunk are kept: luminosity mask, trigger, regions; and the cutflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.data.cutflow import LUMI_MASK, TRIGGER
from particle_transformer.data.identity import numbered_identity
from particle_transformer.data.lumi_mask import read_lumi_mask
from particle_transformer.expressions import conjuncts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.data.cutflow import Cutflow
    from particle_transformer.data.readers import Column
    from particle_transformer.data.scope import Scope

__all__ = ["Selection"]


class Selection:
    """The selections of one era, for data or for simulation.

    Parameters
    ----------
    analysis
        The analysis file.
    era
        Label of the era.
    is_data
        Whether the luminosity mask holds and blind regions are hidden.
    unblind
        Whether data in blind regions may be read.
    path
        The file, for messages.
    """

    def __init__(
        self, analysis: Analysis, era: str, *, is_data: bool, unblind: bool, path: str
    ) -> None:
        self._analysis = analysis
        self._key = f"eras.{era}.trigger"
        self._trigger = analysis.eras[era].trigger
        mask = analysis.eras[era].lumi_mask
        self._mask = read_lumi_mask(mask) if is_data and mask is not None else None
        self._path = path
        self._blind = [
            name
            for name, region in analysis.regions.items()
            if region.blind and is_data and not unblind
        ]

    @property
    def expressions(self) -> list[tuple[str, str | None]]:
        """Every expression the selections need."""
        texts = [region.select for region in self._analysis.regions.values()]
        if self._trigger is not None:
            texts.append(self._trigger)
        return [(text, None) for text in texts]

    def certified(
        self, columns: Mapping[str, Column], identity: Sequence[str]
    ) -> NDArray[np.bool_] | None:
        """Which events lie in certified luminosity sections: bool (events,); None without a mask."""
        if self._mask is None:
            return None
        numbers = numbered_identity(columns, identity[:2], self._path)
        passing: NDArray[np.bool_] = self._mask(numbers[:, 0], numbers[:, 1])
        return passing

    def regions(
        self,
        scope: Scope,
        certified: NDArray[np.bool_] | None,
        weight: NDArray[np.float64],
        cutflow: Cutflow | None = None,
    ) -> dict[str, NDArray[np.bool_]]:
        """Which events are in each region: bool (events,) each.

        Parameters
        ----------
        scope
            The chunk, nominal or varied.
        certified
            See `certified`.
        weight
            float64 (events,): not normalised.
        cutflow
            Gets the sums after each cut.
        """

        def count(label: str, passing: NDArray[np.bool_]) -> None:
            if cutflow is not None:
                cutflow.add(label, passing, weight)

        # A blinded event is in no region and no row of the cutflow (but in the file's number of
        # entries): its count is the secret, which the difference of two rows would tell as well.
        visible = np.ones(len(weight), dtype=np.bool_)
        for name in self._blind:
            select = self._analysis.regions[name].select
            visible = visible & ~scope.passing(select, f"regions.{name}.select")
        if certified is not None:
            visible = visible & certified
            count(LUMI_MASK, visible)
        if self._trigger is not None:
            visible = visible & scope.passing(self._trigger, self._key)
            count(TRIGGER, visible)
        regions: dict[str, NDArray[np.bool_]] = {}
        for name, region in self._analysis.regions.items():
            if name in self._blind:
                regions[name] = np.zeros(len(weight), dtype=np.bool_)
                continue
            passing = visible
            for cut in dict.fromkeys(conjuncts(region.select)):
                passing = passing & scope.passing(cut, f"regions.{name}.select")
                count(f"{name}: {'all' if cut == 'True' else cut}", passing)
            regions[name] = passing
        return regions
