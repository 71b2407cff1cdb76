"""Samples and modifiers of one region of a HistFactory workspace (see `workspace`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.fit_regions import FitRegion

__all__ = ["PARAMETER", "ChannelWriter"]

PARAMETER = "mu"
"""The parameter of interest: the signal strength."""

SAME = 1e-12
"""A relative change this small is rounding."""


class ChannelWriter:
    """Writes the channels of a workspace one after the other.

    Parameters
    ----------
    signals, free, normalisation, statistical
        As for `workspace.build`.

    Attributes
    ----------
    notes
        What was changed in the templates so far.
    background
        By region: float64 (bins,), the expected background.
    """

    def __init__(
        self,
        signals: tuple[str, ...],
        free: tuple[str, ...],
        normalisation: Mapping[str, float],
        statistical: bool,
    ) -> None:
        self._signals = signals
        self._free = free
        self._normalisation = normalisation
        self._statistical = statistical
        self.notes: list[str] = []
        self.background: dict[str, NDArray[np.float64]] = {}

    def channel(self, region: FitRegion) -> dict[str, Any]:
        """One region as a channel of the workspace.

        Raises
        ------
        SampleError
            If a bin has no background, or a variation leaves nothing of a process.
        """
        nominal = {
            process: self._floored(template.yields, f"region {region.name}, process {process}")
            for process, template in region.nominal.items()
        }
        background = np.sum(
            [yields for process, yields in nominal.items() if process not in self._signals]
            + [np.zeros(region.bins)],
            axis=0,
        )
        if not np.all(background > 0):
            message = (
                f"region {region.name}, bin {int(np.argmin(background))}: no expected background, "
                "expected more than 0 in every bin; merge bins or simulate more"
            )
            raise SampleError(message)
        self.background[region.name] = background
        samples = []
        for process, yields in nominal.items():
            shifted = self._sides(region, process, yields)
            if not np.any(yields > 0) and not any(
                np.any(side > 0) for sides in shifted.values() for side in sides
            ):
                continue
            modifiers = self._normalisations(process)
            for variation, (up, down) in shifted.items():
                modifiers += self._variation(variation, yields, up, down)
            if self._statistical:
                kind = "stat_signal" if process in self._signals else "stat_background"
                errors = region.nominal[process].error.tolist()
                modifiers.append(
                    {"name": f"{kind}_{region.name}", "type": "staterror", "data": errors}
                )
            samples.append({"name": process, "data": yields.tolist(), "modifiers": modifiers})
        return {"name": region.name, "samples": samples}

    def _floored(self, yields: NDArray[np.float64], where: str) -> NDArray[np.float64]:
        negative = yields < 0
        if negative.any():
            self.notes.append(
                f"{where}: {int(negative.sum())} of {len(yields)} bins have a negative sum of "
                f"weights ({yields[negative].sum():.4g} in all) and are set to 0"
            )
        return np.where(negative, 0.0, yields)

    def _normalisations(self, process: str) -> list[dict[str, Any]]:
        modifiers: list[dict[str, Any]] = []
        if process in self._signals:
            modifiers.append({"name": PARAMETER, "type": "normfactor", "data": None})
        if process in self._free:
            modifiers.append({"name": f"norm_{process}", "type": "normfactor", "data": None})
        if process in self._normalisation:
            high = 1 + self._normalisation[process]
            data = {"hi": high, "lo": 1 / high}
            modifiers.append({"name": f"unc_{process}", "type": "normsys", "data": data})
        return modifiers

    def _sides(
        self, region: FitRegion, process: str, nominal: NDArray[np.float64]
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Up and down by variation of those that affect the process; a lone side is mirrored."""
        found = {}
        for variation, sides in region.varied.items():
            given = {
                side: self._floored(
                    processes[process],
                    f"region {region.name}, process {process}, variation {variation} {side}",
                )
                for side, processes in sides.items()
                if process in processes
            }
            if all(np.allclose(side, nominal, rtol=SAME, atol=0) for side in given.values()):
                continue
            for side, yields in given.items():
                if nominal.sum() > 0 and yields.sum() <= 0:
                    message = (
                        f"variation {variation} {side} leaves nothing of process {process} in "
                        f"region {region.name}, nominally {nominal.sum():.4g} events; loosen the "
                        "selection, or leave the variation out for this process"
                    )
                    raise SampleError(message)
            up, down = given.get("up"), given.get("down")
            found[variation] = (
                _mirrored(nominal, down) if up is None and down is not None else up,
                _mirrored(nominal, up) if down is None and up is not None else down,
            )
        return {
            name: (up, down)
            for name, (up, down) in found.items()
            if up is not None and down is not None
        }

    def _variation(
        self,
        variation: str,
        nominal: NDArray[np.float64],
        up: NDArray[np.float64],
        down: NDArray[np.float64],
    ) -> list[dict[str, Any]]:
        modifiers: list[dict[str, Any]] = []
        total = float(nominal.sum())
        # Where the nominal is empty a ratio means nothing: the change is added as it is.
        ratios = [float(side.sum()) / total if total > 0 else 1.0 for side in (up, down)]
        if max(abs(ratio - 1) for ratio in ratios) > SAME:
            data = {"hi": ratios[0], "lo": ratios[1]}
            modifiers.append({"name": variation, "type": "normsys", "data": data})
        high, low = up / ratios[0], down / ratios[1]
        small = SAME * total
        if not all(np.allclose(side, nominal, rtol=SAME, atol=small) for side in (high, low)):
            shapes = {"hi_data": high.tolist(), "lo_data": low.tolist()}
            modifiers.append({"name": variation, "type": "histosys", "data": shapes})
        return modifiers

    def widest_strength(self, channels: Sequence[dict[str, Any]]) -> float:
        """A hundred times the error of the signal strength from counting alone, rounded."""
        information = 0.0
        for channel in channels:
            signal = np.zeros(len(self.background[channel["name"]]))
            for sample in channel["samples"]:
                if sample["name"] in self._signals:
                    signal += np.array(sample["data"])
            information += float(np.sum(signal**2 / self.background[channel["name"]]))
        if information <= 0:  # an empty nominal with a varied side
            message = f"signal ({', '.join(self._signals)}): no nominal yield in any region"
            raise SampleError(message)
        return float(f"{100 / math.sqrt(information):.1g}")


def _mirrored(nominal: NDArray[np.float64], side: NDArray[np.float64]) -> NDArray[np.float64]:
    """The other side: inverse ratio of the totals, opposite change of the shape, not below 0."""
    if nominal.sum() <= 0:
        return nominal
    ratio = side.sum() / nominal.sum()
    shape = np.maximum(2 * nominal - side / ratio, 0.0)
    mirrored: NDArray[np.float64] = shape * (nominal.sum() / shape.sum() / ratio)
    return mirrored
