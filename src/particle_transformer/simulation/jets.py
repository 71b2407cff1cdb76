"""Anti-kT jets with area, true flavour and b-tag score."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from particle_transformer.errors import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.simulation.detector import Detector

__all__ = ["GHOST_AREA", "Jets", "btag_scores", "cluster", "jet_of_objects"]

GHOST_AREA = 0.02
"""Area of one ghost in (rapidity, φ): some 25 of them make a jet of R = 0.4."""

_GHOST_PT = 1e-100  # far below double precision of any real pt: ghosts change no jet
_BOTTOM, _CHARM = 5, 4


@dataclass(frozen=True)
class Jets:
    """Jets, by event and then by falling pt.

    Attributes
    ----------
    event
        int64 (jets,): index of the event.
    momenta
        float64 (jets, 4): px, py, pz, E in GeV.
    area
        float64 (jets,): number of ghosts in the jet times the area of one.
    flavour
        int64 (jets,): 5 with a b hadron among the ghosts, else 4 with a c hadron, else 0.
    """

    event: NDArray[np.int64]
    momenta: NDArray[np.float64]
    area: NDArray[np.float64]
    flavour: NDArray[np.int64]


def cluster(
    event: NDArray[np.int64],
    momenta: NDArray[np.float64],
    hadron_event: NDArray[np.int64],
    hadron_momenta: NDArray[np.float64],
    hadron_flavour: NDArray[np.int64],
    events: int,
    detector: Detector,
    random: np.random.Generator,
) -> Jets:
    """Cluster each event's objects with anti-kT (arXiv:0802.1189).

    Active areas (arXiv:0802.1188) come from explicit ghosts on a randomly shifted grid: FastJet's
    own ghosts differ from call to call. Heavy hadrons join as ghosts too, as in CMS's
    ``hadronFlavour``.

    Parameters
    ----------
    event, momenta
        int64 (objects,), ascending, and float64 (objects, 4): px, py, pz, E in GeV.
    hadron_event, hadron_momenta, hadron_flavour
        int64 (hadrons,), float64 (hadrons, 4) and int64 (hadrons,) (5 or 4) of b and c hadrons.
    events
        Number of events.
    detector
        Gives radius, least pt and largest |η|.
    random
        Shifts the ghosts.
    """
    ghosts = _ghosts(events, detector.jet_eta + detector.jet_radius, random)
    per_event = len(ghosts) // max(events, 1)
    scale = _GHOST_PT / np.hypot(hadron_momenta[:, 0], hadron_momenta[:, 1])
    every_event = np.concatenate([event, np.repeat(np.arange(events), per_event), hadron_event])
    every_momentum = np.concatenate([momenta, ghosts, hadron_momenta * scale[:, None]])
    every_kind = np.concatenate(  # 0 real, 1 ghost, 4 and 5 heavy hadrons
        [np.zeros(len(event), np.int64), np.ones(len(ghosts), np.int64), hadron_flavour]
    )
    order = np.argsort(every_event, kind="stable")
    counts = np.bincount(every_event, minlength=events)
    jet_event, jets, jet_of_member, rows = _anti_kt(every_momentum[order], counts, detector)
    kind = every_kind[order][rows]

    def per_jet(which: int) -> NDArray[np.int64]:
        return np.bincount(jet_of_member[kind == which], minlength=len(jet_event))

    pt = np.hypot(jets[:, 0], jets[:, 1])
    flavour = np.where(per_jet(_BOTTOM) > 0, _BOTTOM, np.where(per_jet(_CHARM) > 0, _CHARM, 0))
    accepted = np.flatnonzero(np.abs(np.arcsinh(jets[:, 2] / pt)) < detector.jet_eta)
    accepted = accepted[np.lexsort((-pt[accepted], jet_event[accepted]))]
    return Jets(
        jet_event[accepted],
        jets[accepted],
        per_jet(1)[accepted].astype(np.float64) * GHOST_AREA,
        flavour[accepted],
    )


def jet_of_objects(
    event: NDArray[np.int64], momenta: NDArray[np.float64], events: int, detector: Detector
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Which anti-kT jet each object is in, over the whole detector and without ghosts.

    Parameters
    ----------
    event, momenta, events, detector
        As in `cluster`.

    Returns
    -------
    jet_event : int64 (jets,)
        Index of each jet's event.
    pt : float64 (jets,)
        In GeV, at least `Detector.jet_pt`.
    jet : int64 (objects,)
        Index of each object's jet; -1 for none.
    """
    counts = np.bincount(event, minlength=events)
    jet_event, jets, jet_of_member, rows = _anti_kt(momenta, counts, detector)
    jet = np.full(len(event), -1, np.int64)
    jet[rows] = jet_of_member
    return jet_event, np.hypot(jets[:, 0], jets[:, 1]), jet


def _anti_kt(
    momenta: NDArray[np.float64], counts: NDArray[np.int64], detector: Detector
) -> tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
]:
    """Jets of events whose `counts` particles lie end to end in `momenta`.

    Returns each jet's event and momentum; and for each particle in a jet the jet, and the row.
    """
    fastjet = require("fastjet", "sim")
    names = ("px", "py", "pz", "E")
    particles = ak.unflatten(
        ak.zip(dict(zip(names, momenta.T, strict=True)), with_name="Momentum4D"), counts
    )
    # FastJet would print a banner into the output of whoever calls; docs and files cite it instead.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, detector.jet_radius)
    sequence = fastjet.ClusterSequence(particles, definition)  # kept alive until the end
    found = sequence.inclusive_jets(min_pt=detector.jet_pt)
    members = sequence.constituent_index(min_pt=detector.jet_pt)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    jet_event = np.repeat(np.arange(len(counts)), ak.to_numpy(ak.num(found)))
    member_counts = ak.to_numpy(ak.num(ak.flatten(members, axis=1)))
    jet_of_member = np.repeat(np.arange(len(jet_event)), member_counts)
    rows = ak.to_numpy(ak.flatten(members, axis=None)) + starts[jet_event[jet_of_member]]
    flat = ak.flatten(found, axis=1)
    jets = np.stack([ak.to_numpy(flat[name]) for name in names], axis=1)
    return jet_event, jets, jet_of_member, rows


def _ghosts(events: int, edge: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Ghosts of `events` events end to end, on |rapidity| < edge: float64 (ghosts, 4)."""
    # As near to squares of GHOST_AREA as a whole number of columns allows; the exact area is kept
    # by the rows' height.
    columns = round(2 * np.pi / np.sqrt(GHOST_AREA))
    height = GHOST_AREA * columns / (2 * np.pi)
    rows = int(np.ceil(2 * edge / height)) + 1
    y, phi = np.meshgrid(np.arange(rows) * height - edge, np.arange(columns) * 2 * np.pi / columns)
    shift = random.random((events, 2, 1)) * np.array([[-height], [2 * np.pi / columns]])
    # Scattered within half a cell, so that no two distances are equal.
    scatter = (random.random((events, 2, y.size)) - 0.5) * np.array(
        [[height], [2 * np.pi / columns]]
    )
    rapidity = (y.ravel() + shift[:, 0] + scatter[:, 0]).ravel()
    angle = (phi.ravel() + shift[:, 1] + scatter[:, 1]).ravel()
    return _GHOST_PT * np.stack(
        [np.cos(angle), np.sin(angle), np.sinh(rapidity), np.cosh(rapidity)], axis=1
    )


def btag_scores(
    flavour: NDArray[np.int64],
    eta: NDArray[np.float64],
    detector: Detector,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw b-tag scores in (0, 1) from the true flavour.

    A normal discriminant of the width of its flavour, placed so that the configured fraction lies
    above 0, and mapped to (0, 1) with 0 at the working point. Beyond the tracker every jet scores
    as a light one.

    Parameters
    ----------
    flavour
        int64 (jets,): 5, 4 or 0.
    eta
        float64 (jets,).
    detector
        Efficiencies, widths and the working point.
    random
        Source of all randomness.

    Returns
    -------
    float64 (jets,)
    """
    within = np.abs(eta) < detector.tracker_eta
    seen = np.where(within, flavour, 0)
    rates = (detector.btag_efficiency, detector.ctag_rate, detector.light_rate)
    width = np.empty(len(seen))
    mean = np.empty(len(seen))
    for value, rate, spread in zip((_BOTTOM, _CHARM, 0), rates, detector.btag_widths, strict=True):
        width[seen == value] = spread
        mean[seen == value] = spread * NormalDist().inv_cdf(rate)
    discriminant = mean + width * random.standard_normal(len(seen))
    threshold = detector.btag_threshold
    score = 1 / (1 + (1 - threshold) / threshold * np.exp(-discriminant))
    return np.clip(score, 1e-6, 1 - 1e-6)
