"""The detector's parameters.

A fast simulation in the manner of Delphes (arXiv:1307.6346): charged particles are tracks,
photons and neutral hadrons are calorimeter towers, without pile-up. Missing transverse momentum,
jets and isolation all see the same smeared objects.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Detector"]


@dataclass(frozen=True)
class Detector:
    """Parameters of the detector: those of CMS, in GeV, rad and units of η.

    Unless said otherwise from the CMS card of Delphes 3 (``cards/delphes_card_CMS.tcl``,
    arXiv:1307.6346), which cites CMS measurements (tracks: arXiv:1405.6569; electromagnetic
    calorimeter: arXiv:1306.2016, arXiv:1502.02701).

    Attributes
    ----------
    tracker_eta, muon_eta, calorimeter_eta
        Acceptance in |η| of the tracker, of the muon chambers and of the calorimeters.
    barrel_eta
        Where the barrel ends; pairs of numbers are (barrel, endcap).
    track_threshold, track_turn_on
        Below the first pt there is no track; the low efficiency ends at the second. GeV.
    track_efficiency_low, track_efficiency, muon_efficiency
        Efficiencies of tracks with pt in (threshold, turn-on), of hadron and electron tracks above
        it, and of muon tracks times identification.
    electron_efficiency
        Identification of electrons.
    curl_up_pt
        A charged particle without a track reaches the calorimeter only above this pt:
        0.3·B·r/2 with B = 3.8 T and r = 1.29 m. GeV.
    track_eta_edges, track_constant, track_slope, muon_slope
        σ(pt)/pt = constant ⊕ slope·pt by |η| up to each edge.
    ecal, ecal_forward
        (constant, stochastic, noise) of σ(E) = constant·E ⊕ stochastic·√E ⊕ noise up to
        `tracker_eta` and beyond it.
    hcal, hcal_forward
        (constant, stochastic) of σ(E) up to |η| = `hcal_edge` and beyond it.
    ecal_cells, hcal_cells
        (width in η, width in φ) of towers up to |η| = `hcal_edge`.
    forward_cells
        The same beyond it.
    ecal_threshold, hcal_threshold, significance
        Least energy of a tower in GeV, and in units of its resolution.
    lepton_pt, isolation_cone, isolation
        Isolated leptons have at least this pt, and a scalar sum of other pt within the cone of at
        most `isolation`·pt (CMS's loose working points, arXiv:1804.04528, arXiv:2012.06888).
    dressing_cone
        Electromagnetic towers this near an electron are part of it.
    jet_radius, jet_pt, jet_eta
        Radius parameter of anti-kT jets, their least pt and largest |η|.
    btag_threshold
        The working point of ``Jet_btag``.
    btag_efficiency, ctag_rate, light_rate
        Fractions of b, c and light jets with |η| < `tracker_eta` above the working point: DeepJet's
        medium working point (arXiv:2008.10519).
    btag_widths
        Widths of the b, c and light discriminants in units of the light one: with them a light
        mistag of 10 % (0.1 %) goes with a b efficiency near 91 % (57 %).
    tail_fraction
        Fraction of jets whose response lies in its tail (`response.tail_response`): dead cells,
        leakage, gaps. An assumption, fitted to no measurement and of no card; 0 has no tail.
    """

    tracker_eta: float = 2.5
    muon_eta: float = 2.4
    calorimeter_eta: float = 5.0
    barrel_eta: float = 1.5
    track_threshold: float = 0.1
    track_turn_on: float = 1.0
    track_efficiency_low: tuple[float, float] = (0.70, 0.60)
    track_efficiency: tuple[float, float] = (0.95, 0.85)
    muon_efficiency: tuple[float, float] = (0.99 * 0.95, 0.98 * 0.95)
    electron_efficiency: tuple[float, float] = (0.95, 0.85)
    curl_up_pt: float = 0.735
    track_eta_edges: tuple[float, float] = (0.5, 1.5)
    track_constant: tuple[float, float, float] = (0.01, 0.015, 0.025)
    track_slope: tuple[float, float, float] = (1.5e-4, 2.5e-4, 5.5e-4)
    muon_slope: tuple[float, float, float] = (1.0e-4, 1.5e-4, 3.5e-4)
    ecal: tuple[float, float, float] = (0.008, 0.11, 0.40)
    ecal_forward: tuple[float, float, float] = (0.107, 2.08, 0.0)
    hcal: tuple[float, float, float] = (0.050, 1.50, 0.0)
    hcal_forward: tuple[float, float, float] = (0.130, 2.70, 0.0)
    hcal_edge: float = 3.0
    ecal_cells: tuple[float, float] = (0.0174, 0.01745)
    hcal_cells: tuple[float, float] = (0.087, 0.08727)
    forward_cells: tuple[float, float] = (0.175, 0.17453)
    ecal_threshold: float = 0.5
    hcal_threshold: float = 1.0
    significance: float = 2.0
    lepton_pt: float = 10.0
    isolation_cone: float = 0.3
    isolation: float = 0.15
    dressing_cone: float = 0.1
    jet_radius: float = 0.4
    jet_pt: float = 20.0
    jet_eta: float = 4.7
    btag_threshold: float = 0.5
    btag_efficiency: float = 0.75
    ctag_rate: float = 0.15
    light_rate: float = 0.01
    btag_widths: tuple[float, float, float] = (1.5, 1.2, 1.0)
    tail_fraction: float = 0.0
