"""Whether the simulated events are the physics that they claim to be."""

from __future__ import annotations

import statistics

import awkward as ak
import numpy as np
import pytest

from particle_transformer.simulation.generate import ChunkTask, generate_chunk
from particle_transformer.simulation.processes import PROCESSES, GeneratorFilter
from particle_transformer.simulation.pythia import make_pythia

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

pytestmark = pytest.mark.slow

SIGMAS = 4.5
"""Of these tests' some twenty comparisons, one in 7000 test runs fails by chance."""


def generate(process, events, seed=1, filtered=True, skim=None):
    return generate_chunk(
        ChunkTask(process, 0, events, seed, skim, GeneratorFilter() if filtered else None)
    )


@pytest.fixture(scope="module")
def everything():
    """Unfiltered, unskimmed events by process."""
    return {
        "ttH_HToInv": generate("ttH_HToInv", 700, filtered=False),
        "TTbar": generate("TTbar", 2500, filtered=False),
        "WToLNu": generate("WToLNu", 2500, filtered=False),
    }


def ragged(chunk, name):
    return ak.unflatten(chunk.columns[name], chunk.columns[f"n{name.partition('_')[0]}"])


def test_the_higgs_decays_invisibly():
    pythia, _ = make_pythia(PROCESSES["ttH_HToInv"], 5, None)
    particles = pythia.nextBatch(50).prt
    is_higgs = particles.id == 25
    assert not ak.any(is_higgs & (particles.status > 0))
    last = is_higgs & (particles.id[particles.daughter1] != 25)
    assert ak.all(ak.sum(last, axis=1) == 1)
    for daughter in (particles.daughter1[last], particles.daughter2[last]):
        assert ak.all(abs(particles.id[daughter]) == 12)


def test_multi_parton_interactions_are_on():
    pythia, _ = make_pythia(PROCESSES["ZToNuNu"], 5, GeneratorFilter())
    statuses = abs(pythia.nextBatch(30).prt.status)
    # 31 … 39: particles of subsequent subprocesses.
    assert ak.mean(ak.sum((statuses > 30) & (statuses < 40), axis=1)) > 4


def test_missing_momentum_of_the_signal_is_harder_than_of_ttbar(everything):
    signal, background = (
        everything[name].columns["MET_pt"].astype(float) for name in ("ttH_HToInv", "TTbar")
    )
    error = np.hypot(
        signal.std() / np.sqrt(len(signal)), background.std() / np.sqrt(len(background))
    )
    assert signal.mean() - background.mean() > 10 * error
    assert statistics.median(signal) > 1.5 * statistics.median(background)


def test_missing_momentum_measures_the_neutrinos(everything):
    columns = everything["ttH_HToInv"].columns
    difference = columns["MET_pt"].astype(float) - columns["GenMET_pt"]
    hard = columns["GenMET_pt"] > 150
    # CMS without pile-up: 15 – 25 GeV; heavy tails are muons out of reach.
    assert 8 < statistics.median(abs(difference[hard])) / 0.6745 < 25
    assert abs(statistics.median(difference[hard])) < 10


def test_jet_areas_centre_near_a_circle(everything):
    jets = everything["TTbar"].columns
    hard = jets["Jet_pt"] > 40
    area = jets["Jet_area"][hard]
    assert area.mean() == pytest.approx(np.pi * 0.16, rel=0.03)
    assert area.std() < 0.07


@pytest.mark.parametrize(("flavour", "rate"), [(5, 0.75), (4, 0.15), (0, 0.01)])
def test_btag_rates_of_real_jets(everything, flavour, rate):
    jets = everything["TTbar"].columns
    chosen = (jets["Jet_hadronFlavour"] == flavour) & (abs(jets["Jet_eta"]) < 2.5)
    count = np.count_nonzero(chosen)
    assert count > 200
    passing = np.mean(jets["Jet_btag"][chosen] > 0.5)
    assert passing == pytest.approx(rate, abs=SIGMAS * np.sqrt(rate * (1 - rate) / count))


def test_top_pairs_have_two_b_jets(everything):
    chunk = everything["TTbar"]
    is_b = (ragged(chunk, "Jet_hadronFlavour") == 5) & (ragged(chunk, "Jet_pt") > 30)
    # Some lie below 30 GeV or out of reach; g → bb̄ adds a few.
    assert 1.4 < ak.mean(ak.sum(is_b, axis=1)) < 2.0


def test_no_lepton_is_kept_as_a_jet(everything):
    leptons = 0
    for process in ("TTbar", "WToLNu"):
        chunk = everything[process]
        eta, phi, pt = (ragged(chunk, f"Jet_{name}") for name in ("eta", "phi", "pt"))
        for kind in ("Electron", "Muon"):
            lepton_pt, lepton_eta, lepton_phi = (
                ragged(chunk, f"{kind}_{name}") for name in ("pt", "eta", "phi")
            )
            deta = lepton_eta[:, :, None] - eta[:, None, :]
            dphi = np.remainder(lepton_phi[:, :, None] - phi[:, None, :] + np.pi, 2 * np.pi) - np.pi
            # At most 15 % of the lepton's pt lies within ΔR = 0.3: a jet that is the lepton, or
            # holds it, would have all of it.
            is_lepton = (deta**2 + dphi**2 < 0.1**2) & (
                pt[:, None, :] > 0.8 * lepton_pt[:, :, None]
            )
            hard = lepton_pt > 25
            assert not ak.any(is_lepton & hard[:, :, None])
            leptons += ak.sum(hard)
    assert leptons > 500


def test_w_charges_have_the_sign_of_the_proton(everything):
    columns = everything["WToLNu"].columns
    charge = np.concatenate([columns["Electron_charge"], columns["Muon_charge"]])
    positive, count = np.count_nonzero(charge > 0), len(charge)
    assert set(charge.tolist()) == {-1, 1}
    # σ(W⁺)/σ(W⁻) is near 1.4 in proton collisions; no asymmetry at all is excluded.
    assert positive > count / 2 + SIGMAS * np.sqrt(count) / 2


@pytest.mark.parametrize("process", ["ttH_HToInv", "TTbar", "WToLNu"])
def test_the_cross_section_is_that_of_an_independent_run(everything, process):
    chunk = everything[process]
    pythia, _ = make_pythia(PROCESSES[process], 424242, None)
    pythia.settings.flag("PartonLevel:all", False)  # the hard process alone decides
    assert pythia.init()
    pythia.nextBatch(4000)
    info = pythia.infoPython()
    error = np.hypot(chunk.cross_section_error, 1e9 * info.sigmaErr())
    assert error < 0.05 * chunk.cross_section
    assert chunk.cross_section == pytest.approx(1e9 * info.sigmaGen(), abs=SIGMAS * error)


@pytest.mark.parametrize(
    ("process", "events"), [("ttH_HToInv", 400), ("TTbar", 500), ("WToLNu", 500)]
)
def test_the_filter_changes_nothing_above_the_skim(everything, process, events):
    # Lower cuts than the default ones (60 and 150 GeV) and lower bins than the skim at 180 GeV:
    # the complete sample, which no filter enriches, has too few events to compare above those.
    cuts = GeneratorFilter(hard_pt=20, evolved_pt=90)
    filtered = generate_chunk(ChunkTask(process, 0, events, 2, None, cuts))
    assert filtered is not None
    complete = everything[process]
    assert filtered.selected > 1.2 * filtered.generated  # the filter is at work
    for low, high in ((120, 150), (150, 220), (220, 1e9)):
        sections, variances = [], []
        for chunk in (filtered, complete):
            columns = chunk.columns
            inside = (columns["MET_pt"] > low) & (columns["MET_pt"] < high)
            weights = columns["genWeight"][inside].astype(float)
            scale = chunk.cross_section / chunk.sum_of_weights
            sections.append(scale * weights.sum())
            variances.append(
                scale**2 * max((weights**2).sum(), 1)
                + (sections[-1] * chunk.cross_section_error / chunk.cross_section) ** 2
            )
        assert sections[0] == pytest.approx(sections[1], abs=SIGMAS * sum(variances) ** 0.5)
