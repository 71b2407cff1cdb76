"""Whether the simulated events are the physics that they claim to be."""

from __future__ import annotations

import dataclasses
import statistics

import awkward as ak
import numpy as np
import pytest

from particle_transformer.simulation.catalogue import PROCESSES, QCD_EDGES
from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.generate import ChunkTask, generate_chunk
from particle_transformer.simulation.processes import GeneratorFilter, Process
from particle_transformer.simulation.pythia import make_pythia
from particle_transformer.simulation.samples import SAMPLES
from particle_transformer.simulation.spectra import LSP

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


def _hard_scatterings(process, seed, events):
    """pT-hat in GeV, and what each event is worth in pb: float64 (events,) and a number."""
    pythia, _ = make_pythia(process, seed, None)
    pythia.settings.flag("PartonLevel:all", False)
    assert pythia.init()
    scales: list[float] = []
    while len(scales) < events:
        if pythia.next():
            scales.append(pythia.infoPython().pTHat())  # a copy, as of this event
    return np.array(scales), 1e9 * pythia.infoPython().sigmaGen() / events


def test_slices_add_up_to_one_spectrum():
    whole = Process(
        "QCD", "", "qcd", ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {QCD_EDGES[0]}."), 1.0
    )
    one, worth = _hard_scatterings(whole, 1, 60_000)
    slices = [process for process in PROCESSES.values() if process.role == "qcd"]
    parts = [_hard_scatterings(process, 2, 40_000) for process in slices]
    for (scales, _), low, high in zip(parts, QCD_EDGES, (*QCD_EDGES[1:], 6800), strict=True):
        assert low <= scales.min()
        assert scales.max() <= high
    stitched = np.concatenate([scales for scales, _ in parts])
    weights = np.concatenate([np.full(len(scales), each) for scales, each in parts])

    def spectrum(edges):
        inclusive = np.histogram(one, edges)[0].astype(float)
        total = np.histogram(stitched, edges, weights=weights)[0]
        variance = np.histogram(stitched, edges, weights=weights**2)[0]
        return inclusive * worth, inclusive * worth**2, total, variance

    # Where the run without slices has statistics, edges of slices inside of bins and between them.
    edges = [170, 185, 200, 220, 250, 280, 300, 320, 360, 410, 470, 530, 650, 900]
    inclusive, its_variance, total, variance = spectrum(edges)
    assert (inclusive > 20 * worth).all()
    pulls = (total - inclusive) / np.sqrt(its_variance + variance)
    assert abs(pulls).max() < SIGMAS
    assert (pulls**2).sum() < 45  # 13 bins: one test in 50 000 fails by chance
    assert total.sum() == pytest.approx(
        inclusive.sum(), abs=SIGMAS * np.sqrt(its_variance.sum() + variance.sum())
    )
    # No step at an edge: the logarithm of a falling spectrum is nearly straight over four narrow
    # bins, whose middle pair lies on both sides of the edge.
    for edge in QCD_EDGES[1:]:
        bounds = edge * np.array([0.90, 0.95, 1.0, 1.05, 1.10])
        content = np.log(np.histogram(stitched, bounds, weights=weights)[0])
        error = 1 / np.sqrt(np.histogram(stitched, bounds)[0])
        across = np.array([0.5, -1.5, 1.5, -0.5])  # its step less the mean of the two beside it
        step, uncertainty = across @ content, np.sqrt((across * error) ** 2 @ np.ones(4))
        assert uncertainty < 0.1
        assert step == pytest.approx(0, abs=SIGMAS * uncertainty)


@pytest.mark.parametrize(
    ("name", "parents"),
    [
        ("Gluino_M1600", {1_000_021}),
        ("Squark_M1000", {side + q for side in (1_000_000, 2_000_000) for q in (1, 2, 3, 4)}),
        ("Stop_M700", {1_000_006}),
    ],
)
def test_superpartners_come_in_pairs_of_their_mass(name, parents):
    process = PROCESSES[name]
    pythia, _ = make_pythia(process, 5, None)
    particles = pythia.nextBatch(40).prt
    identity = abs(particles.id)
    hard = particles[abs(particles.status) == 22]
    superpartners = hard[abs(hard.id) > 1_000_000]
    assert set(ak.flatten(abs(superpartners.id)).to_list()) <= parents
    assert ak.all(ak.num(superpartners) == 2)
    momenta = superpartners.p
    mass = np.sqrt(momenta.e**2 - momenta.px**2 - momenta.py**2 - momenta.pz**2)
    assert statistics.median(ak.flatten(mass).to_list()) == pytest.approx(process.mass, rel=0.003)
    lightest = particles[(identity == LSP) & (particles.status > 0)]
    assert ak.all(ak.num(lightest) == 2)  # stable, and no other superpartner is left
    assert not ak.any(
        (identity > 1_000_000) & (identity < 3_000_000) & (identity != LSP) & (particles.status > 0)
    )


def test_neutralinos_leave_the_detector_unseen():
    chunk = generate("Squark_M1000", 60, filtered=False)
    columns = chunk.columns
    difference = columns["MET_pt"].astype(float) - columns["GenMET_pt"]
    assert statistics.median(columns["GenMET_pt"]) > 300
    # Some 20 GeV and a few percent of the jets' energy.
    assert statistics.median(abs(difference)) < 40


def test_enhanced_tails_change_no_yield(monkeypatch):
    """Fake missing momentum, with and without enhancement, from different seeds."""
    name = "QCD_PT470to800"
    detector = Detector(tail_fraction=0.05)  # more than in the sample: the plain run has to see it

    def made(seed, enhancement):
        process = dataclasses.replace(PROCESSES[name], tail_enhancement=enhancement)
        monkeypatch.setitem(PROCESSES, name, process)
        task = ChunkTask(name, 0, 700, seed, None, None, detector, "jets-met")
        chunk = generate_chunk(task)
        assert chunk is not None
        inside = chunk.columns["MET_pt"] > 150
        weights = chunk.columns["genWeight"].astype(float) * inside
        return weights.sum(), (weights**2).sum(), inside.sum()

    plain, plain_variance, plain_events = made(1, 1.0)
    enhanced, enhanced_variance, enhanced_events = made(2, 8.0)
    assert enhanced_events > 2 * plain_events > 40
    error = np.sqrt(plain_variance + enhanced_variance)
    assert enhanced == pytest.approx(plain, abs=SIGMAS * error)
    assert enhanced_variance < plain_variance


@pytest.mark.parametrize("name", SAMPLES["jets-met"].processes)
def test_every_process_of_the_benchmark_can_be_generated(name):
    sample, process = SAMPLES["jets-met"], PROCESSES[name]
    task = ChunkTask(name, 0, 12, 1, None, process.generator_filter, sample.detector, sample.name)
    chunk = generate_chunk(task)
    assert chunk is not None
    assert chunk.generated == 12
    assert 0 < chunk.cross_section_error < 0.6 * chunk.cross_section


@pytest.mark.parametrize(
    ("process", "events"), [("SingleTop", 450), ("Dibosons", 250), ("VBF_HToInv", 250)]
)
def test_the_cuts_of_the_filter_are_low_enough_for_rare_processes(process, events):
    """The yield above the skim with lower cuts than the default ones is the same."""
    detector = SAMPLES["jets-met"].detector
    sections, variances = [], []
    for seed, cuts in ((1, GeneratorFilter()), (2, GeneratorFilter(30, 110))):
        chunk = generate_chunk(ChunkTask(process, 0, events, seed, 180.0, cuts, detector))
        assert chunk is not None
        scale = chunk.cross_section / chunk.sum_of_weights
        weights = chunk.columns["genWeight"].astype(float)
        sections.append(scale * weights.sum())
        variances.append(
            scale**2 * (weights**2).sum()
            + (sections[-1] * chunk.cross_section_error / chunk.cross_section) ** 2
        )
    error = sum(variances) ** 0.5
    assert error < 0.25 * sections[1]
    assert sections[0] == pytest.approx(sections[1], abs=SIGMAS * error)
