"""Isolated electrons and muons. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.simulation.reconstruct import ELECTRON, MUON, PHOTON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.simulation.detector import Detector
    from particle_transformer.simulation.reconstruct import Objects

__all__ = ["Leptons", "isolated_leptons"]


@dataclass(frozen=True)
class Leptons:
    """Isolated leptons, by event and then by falling pt.

    Attributes
    ----------
    event
        int64 (leptons,): index of the event.
    kind
        int64 (leptons,): PDG code, positive for negative charge.
    momenta
        float64 (leptons, 4): px, py, pz, E in GeV, with the dressing.
    isolation
        float64 (leptons,): scalar sum of other pt in the cone, over the lepton's pt.
    used
        bool (objects,): objects that are part of a lepton, and therefore of no jet.
    """

    event: NDArray[np.int64]
    kind: NDArray[np.int64]
    momenta: NDArray[np.float64]
    isolation: NDArray[np.float64]
    used: NDArray[np.bool_]


def isolated_leptons(objects: Objects, detector: Detector, random: np.random.Generator) -> Leptons:
    """Find the isolated electrons and muons among the detector's objects.

    Electrons take in the electromagnetic towers next to them (bremsstrahlung). A lepton that is
    not identified or not isolated stays among the objects, for the jets.
    """
    momenta = objects.momenta
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    eta = np.arcsinh(momenta[:, 2] / pt)
    phi = np.arctan2(momenta[:, 1], momenta[:, 0])
    kind = np.abs(objects.kind)
    candidates = np.flatnonzero(np.isin(kind, (ELECTRON, MUON)) & (pt > detector.lepton_pt / 2))
    barrel = np.abs(eta[candidates]) < detector.barrel_eta
    # The muons' identification is part of their track's efficiency.
    efficiency = np.where(
        kind[candidates] == MUON, 1.0, np.where(barrel, *detector.electron_efficiency)
    )
    candidates = candidates[random.random(len(candidates)) < efficiency]
    candidates = candidates[np.lexsort((-pt[candidates], objects.event[candidates]))]
    first = np.searchsorted(objects.event, objects.event[candidates], "left").tolist()
    last = np.searchsorted(objects.event, objects.event[candidates], "right").tolist()
    used = np.zeros(len(pt), dtype=np.bool_)
    found: list[int] = []
    dressed: list[NDArray[np.float64]] = []
    isolation: list[float] = []
    for lepton, begin, end in zip(candidates.tolist(), first, last, strict=True):
        near = slice(begin, end)
        distance = np.hypot(
            eta[near] - eta[lepton],
            np.remainder(phi[near] - phi[lepton] + np.pi, 2 * np.pi) - np.pi,
        )
        own = np.zeros(end - begin, dtype=np.bool_)
        if kind[lepton] == ELECTRON:
            own = (distance < detector.dressing_cone) & (kind[near] == PHOTON) & ~used[near]
        own[lepton - begin] = True
        momentum = momenta[near][own].sum(axis=0)
        lepton_pt = np.hypot(momentum[0], momentum[1])
        others = (distance < detector.isolation_cone) & ~own
        relative = pt[near][others].sum() / lepton_pt
        if lepton_pt < detector.lepton_pt or relative > detector.isolation:
            continue
        used[near] |= own
        found.append(lepton)
        dressed.append(momentum)
        isolation.append(relative)
    index = np.array(found, dtype=np.int64)
    summed = np.array(dressed, dtype=np.float64).reshape(-1, 4)
    order = np.lexsort((-np.hypot(summed[:, 0], summed[:, 1]), objects.event[index]))
    return Leptons(
        objects.event[index][order],
        objects.kind[index][order],
        summed[order],
        np.array(isolation, dtype=np.float64)[order],
        used,
    )
