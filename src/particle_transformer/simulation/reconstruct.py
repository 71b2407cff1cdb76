"""From stable particles to tracks and calorimeter towers. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.simulation.spectra import LSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.simulation.detector import Detector

__all__ = ["ELECTRON", "MUON", "UNSEEN", "Objects", "reconstruct"]

UNSEEN = (12, 14, 16, LSP)
"""PDG codes of what leaves the detector without a trace: neutrinos and the lightest neutralino."""

ELECTRON, MUON, PHOTON = 11, 13, 22


@dataclass(frozen=True)
class Objects:
    """What the detector sees, sorted by event.

    Attributes
    ----------
    event
        int64 (objects,): index of the event.
    momenta
        float64 (objects, 4): px, py, pz, E in GeV.
    kind
        int64 (objects,): signed PDG code of tracked electrons and muons, 22 for electromagnetic
        towers, 0 for everything else.
    """

    event: NDArray[np.int64]
    momenta: NDArray[np.float64]
    kind: NDArray[np.int64]

    def missing(self, events: int) -> NDArray[np.float64]:
        """Minus the vector sum of all objects: float64 (events, 2), px and py in GeV."""
        return -_sums(self.event, self.momenta[:, :2], events)

    def of(self, kept: NDArray[np.bool_]) -> Objects:
        """The objects of the events `kept` (bool (events,)), these events numbered anew."""
        number = np.cumsum(kept) - 1
        chosen = kept[self.event]
        return Objects(number[self.event[chosen]], self.momenta[chosen], self.kind[chosen])

    def without(self, dropped: NDArray[np.bool_]) -> Objects:
        """All but the objects `dropped` (bool (objects,))."""
        return Objects(self.event[~dropped], self.momenta[~dropped], self.kind[~dropped])


def reconstruct(
    event: NDArray[np.int64],
    identity: NDArray[np.int64],
    charge: NDArray[np.float64],
    momenta: NDArray[np.float64],
    detector: Detector,
    random: np.random.Generator,
) -> Objects:
    """Turn stable particles into tracks and towers.

    Parameters
    ----------
    event
        int64 (particles,): index of the event, ascending.
    identity
        int64 (particles,): PDG code; those in `UNSEEN` are not seen.
    charge
        float64 (particles,): electric charge in units of the proton's.
    momenta
        float64 (particles, 4): px, py, pz, E in GeV.
    detector
        Its parameters.
    random
        Source of all randomness.
    """
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    eta = np.abs(np.arcsinh(momenta[:, 2] / np.maximum(pt, 1e-12)))
    kind = np.abs(identity)
    is_muon = kind == MUON
    has_track = _draw_tracks(pt, eta, charge, is_muon, detector, random)
    # Muons without a track leave nothing; what curls up does not reach the calorimeter.
    hits = (
        ~has_track
        & ~is_muon
        & ~np.isin(kind, UNSEEN)
        & (eta < detector.calorimeter_eta)
        & ((charge == 0) | (pt > detector.curl_up_pt))
    )
    electromagnetic = np.isin(kind, (ELECTRON, PHOTON))
    tracks = _smear_tracks(momenta[has_track], kind[has_track], detector, random)
    is_lepton = (kind == MUON) | (kind == ELECTRON)
    parts = [Objects(event[has_track], tracks, np.where(is_lepton, identity, 0)[has_track])]
    for is_ecal in (True, False):
        chosen = hits & (electromagnetic == is_ecal)
        parts.append(_towers(event[chosen], momenta[chosen], is_ecal, detector, random))
    order = np.argsort(np.concatenate([part.event for part in parts]), kind="stable")
    return Objects(
        *(np.concatenate([getattr(part, name) for part in parts])[order] for name in _FIELDS)
    )


_FIELDS = ("event", "momenta", "kind")


def _draw_tracks(
    pt: NDArray[np.float64],
    eta: NDArray[np.float64],
    charge: NDArray[np.float64],
    is_muon: NDArray[np.bool_],
    detector: Detector,
    random: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which particles leave a track: bool (particles,)."""
    barrel = eta < detector.barrel_eta
    low, high, muon = (
        np.where(barrel, *pair)
        for pair in (
            detector.track_efficiency_low,
            detector.track_efficiency,
            detector.muon_efficiency,
        )
    )
    efficiency = np.where(pt < detector.track_turn_on, low, np.where(is_muon, muon, high))
    accepted: NDArray[np.bool_] = (charge != 0) & (pt > detector.track_threshold)
    accepted &= eta < np.where(is_muon, detector.muon_eta, detector.tracker_eta)
    accepted &= random.random(len(pt)) < efficiency
    return accepted


def _smear_tracks(
    momenta: NDArray[np.float64],
    kind: NDArray[np.int64],
    detector: Detector,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Momenta with the tracker's resolution, the calorimeter's for electrons; (tracks, 4)."""
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    eta = np.abs(np.arcsinh(momenta[:, 2] / pt))
    region = np.digitize(eta, detector.track_eta_edges)
    slope = np.where(
        kind == MUON, np.take(detector.muon_slope, region), np.take(detector.track_slope, region)
    )
    relative = np.hypot(np.take(detector.track_constant, region), slope * pt)
    is_electron = kind == ELECTRON
    energy = momenta[:, 3]
    relative[is_electron] = (_resolution(detector.ecal, energy) / energy)[is_electron]
    # A factor below zero would turn the track round: these are the far tail's few.
    scale = np.maximum(1 + relative * random.standard_normal(len(pt)), 0.01)
    smeared: NDArray[np.float64] = momenta * scale[:, None]
    mass_squared = energy**2 - (momenta[:, :3] ** 2).sum(axis=1)
    smeared[:, 3] = np.sqrt((smeared[:, :3] ** 2).sum(axis=1) + np.maximum(mass_squared, 0))
    return smeared


def _towers(
    event: NDArray[np.int64],
    momenta: NDArray[np.float64],
    is_ecal: bool,
    detector: Detector,
    random: np.random.Generator,
) -> Objects:
    """Sum the particles of each cell, smear its energy, drop noise; massless towers."""
    # Pythia has a few photons without any momentum: they are in no cell.
    aside = np.hypot(momenta[:, 0], momenta[:, 1]) > 0
    event, momenta = event[aside], momenta[aside]
    eta = np.arcsinh(momenta[:, 2] / np.hypot(momenta[:, 0], momenta[:, 1]))
    phi = np.arctan2(momenta[:, 1], momenta[:, 0])
    forward = np.abs(eta) >= detector.hcal_edge
    fine = detector.ecal_cells if is_ecal else detector.hcal_cells
    widths = np.where(forward[:, None], detector.forward_cells, fine)  # (particles, 2)
    cell_eta, cell_phi = np.floor(np.stack([eta, phi], axis=1) / widths).astype(np.int64).T
    # One number per cell: 4096 exceeds the number of cells in η and in φ.
    key = ((event * 2 + forward) * 4096 + cell_eta + 2048) * 4096 + cell_phi + 2048
    keys, index = np.unique(key, return_inverse=True)
    sums = _sums(index, momenta, len(keys))
    energy = sums[:, 3]
    direction = sums[:, :3] / np.linalg.norm(sums[:, :3], axis=1, keepdims=True)
    central = np.abs(np.arctanh(direction[:, 2])) < (
        detector.tracker_eta if is_ecal else detector.hcal_edge
    )
    near, far = (
        (detector.ecal, detector.ecal_forward)
        if is_ecal
        else (detector.hcal, detector.hcal_forward)
    )
    sigma = np.where(central, _resolution(near, energy), _resolution(far, energy))
    measured = _log_normal(energy, sigma, random)
    threshold = detector.ecal_threshold if is_ecal else detector.hcal_threshold
    kept = (measured > threshold) & (measured > detector.significance * sigma)
    measured = measured[kept]
    return Objects(
        keys[kept] // (2 * 4096 * 4096),
        np.concatenate([direction[kept] * measured[:, None], measured[:, None]], axis=1),
        np.full(len(measured), PHOTON if is_ecal else 0),
    )


def _sums(
    index: NDArray[np.int64], values: NDArray[np.float64], length: int
) -> NDArray[np.float64]:
    """Column sums of the rows with equal index: float64 (length, columns)."""
    columns = [np.bincount(index, values[:, axis], length) for axis in range(values.shape[1])]
    return np.stack(columns, axis=1).astype(np.float64, copy=False)


def _resolution(
    terms: tuple[float, float, float], energy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """σ(E) in GeV from constant, stochastic and noise terms."""
    constant, stochastic, noise = terms
    return np.sqrt((constant * energy) ** 2 + stochastic**2 * energy + noise**2)


def _log_normal(
    mean: NDArray[np.float64], sigma: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Positive numbers of that mean and standard deviation, as Delphes smears towers."""
    width = np.sqrt(np.log1p((sigma / mean) ** 2))
    return mean * np.exp(width * random.standard_normal(len(mean)) - width**2 / 2)
