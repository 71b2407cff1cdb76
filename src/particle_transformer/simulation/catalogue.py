"""Every process that can be simulated: what Pythia is told.

All cross-sections that follow from these settings are Pythia's own, at leading order.
"""

from __future__ import annotations

from particle_transformer.simulation.processes import Process
from particle_transformer.simulation.spectra import LIGHT_SQUARKS, STOP, gluino, light_squarks, stop

__all__ = ["PROCESSES", "QCD_EDGES"]

QCD_EDGES = (170, 300, 470, 800, 1400)
"""Lower edges of the slices in pT-hat of multijet production, GeV; the last one is open."""

# Where jets are hard, neutrinos of heavy hadrons give as much missing momentum as the tail: a
# larger enhancement there would only add events of small weight.
_QCD_ENHANCEMENT = (20.0, 20.0, 5.0, 2.0, 1.0)
_QCD_KEEPS = (0.008, 0.05, 0.05, 0.06, 0.1)


def _qcd_slices() -> list[Process]:
    """Multijet production in slices.

    Missing momentum comes from the response's tail and from decays of heavy hadrons, which the
    generator filter cannot foresee. Below the first edge a jet would have to be lost that is harder
    than any of the hard process.
    """
    slices = []
    edges = zip(QCD_EDGES, (*QCD_EDGES[1:], None), _QCD_ENHANCEMENT, _QCD_KEEPS, strict=True)
    for low, high, enhancement, keeps in edges:
        limits: tuple[str, ...] = (f"PhaseSpace:pTHatMin = {low}.",)
        if high is not None:
            limits += (f"PhaseSpace:pTHatMax = {high}.",)
        slices.append(
            Process(
                f"QCD_PT{low}to{high or 'Inf'}",
                f"multijet production, {low} GeV < p̂T" + (f" < {high} GeV" if high else ""),
                "qcd",
                ("HardQCD:all = on", *limits),
                keeps,
                generator_filter=None,
                tail_enhancement=enhancement,
            )
        )
    return slices


def _gluinos(mass: int) -> Process:
    return Process(
        f"Gluino_M{mass}",
        f"g̃g̃, g̃→qq̄χ̃⁰₁ (q = d, u, s, c, b), m(g̃) = {mass} GeV",
        "signal",
        ("SUSY:gg2gluinogluino = on", "SUSY:qqbar2gluinogluino = on"),
        0.8,
        generator_filter=None,
        spectrum=gluino(mass),
        mass=mass,
    )


def _squarks(mass: int) -> Process:
    codes = ",".join(map(str, LIGHT_SQUARKS))
    return Process(
        f"Squark_M{mass}",
        f"q̃q̃ and q̃q̃*, q̃→qχ̃⁰₁ (q = d, u, s, c), m(q̃) = {mass} GeV",
        "signal",
        (
            "SUSY:gg2squarkantisquark = on",
            "SUSY:qqbar2squarkantisquark = on",
            "SUSY:qq2squarksquark = on",
            f"SUSY:idVecA = {codes}",
            f"SUSY:idVecB = {codes}",
        ),
        0.8,
        generator_filter=None,
        spectrum=light_squarks(mass),
        mass=mass,
    )


def _stops(mass: int) -> Process:
    return Process(
        f"Stop_M{mass}",
        f"t̃₁t̃₁*, t̃₁→tχ̃⁰₁, m(t̃₁) = {mass} GeV",
        "signal",
        (
            "SUSY:gg2squarkantisquark = on",
            "SUSY:qqbar2squarkantisquark = on",
            f"SUSY:idA = {STOP}",
            f"SUSY:idB = {STOP}",
        ),
        0.7,
        generator_filter=None,
        spectrum=stop(mass),
        mass=mass,
    )


PROCESSES = {
    process.name: process
    for process in (
        Process(
            "ttH_HToInv",
            "tt̄H with H→invisible, B(H→invisible) = 1",
            "signal",
            (
                "HiggsSM:gg2Httbar = on",
                "HiggsSM:qqbar2Httbar = on",
                # The only decay; matrix-element mode 0 would silently leave the Higgs undecayed.
                "25:oneChannel = 1 1. 100 12 -12",
            ),
            0.7,
        ),
        Process("TTbar", "tt̄", "top", ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"), 0.5),
        Process(
            "ZToNuNu",
            "Z→νν̄ + jets",
            "z",
            (
                "WeakBosonAndParton:qqbar2gmZg = on",
                "WeakBosonAndParton:qg2gmZq = on",
                "WeakZ0:gmZmode = 2",  # the Z alone: γ* does not couple to neutrinos
                "23:onMode = off",
                "23:onIfAny = 12 14 16",
                "PhaseSpace:pTHatMin = 100.",
            ),
            0.5,
        ),
        Process(
            "WToLNu",
            "W→ℓν + jets (ℓ = e, μ, τ)",
            "w",
            (
                "WeakBosonAndParton:qqbar2Wg = on",
                "WeakBosonAndParton:qg2Wq = on",
                "24:onMode = off",
                "24:onIfAny = 11 13 15",
                "PhaseSpace:pTHatMin = 100.",
            ),
            0.5,
        ),
        Process(
            "VBF_HToInv",
            "qqH by vector boson fusion with H→invisible, B(H→invisible) = 1",
            "signal",
            (
                "HiggsSM:ff2Hff(t:ZZ) = on",
                "HiggsSM:ff2Hff(t:WW) = on",
                "25:oneChannel = 1 1. 100 12 -12",
                # No colour flows between the quarks: each recoils alone (arXiv:1710.00391).
                "SpaceShower:dipoleRecoil = on",
            ),
            0.7,
        ),
        Process(
            "SingleTop",
            "single top, t and s channel (Pythia has no tW)",
            "top",
            ("Top:qq2tq(t:W) = on", "Top:ffbar2tqbar(s:W) = on"),
            0.5,
        ),
        Process(
            "Dibosons",
            "WW, WZ and ZZ, all decays",
            "dibosons",
            (
                "WeakDoubleBoson:ffbar2gmZgmZ = on",
                "WeakDoubleBoson:ffbar2ZW = on",
                "WeakDoubleBoson:ffbar2WW = on",
                "WeakZ0:gmZmode = 2",
            ),
            0.5,
        ),
        *(_gluinos(mass) for mass in (1200, 1600, 2000)),
        *(_squarks(mass) for mass in (1000, 1400)),
        *(_stops(mass) for mass in (700, 1000)),
        *_qcd_slices(),
    )
}
"""Every process that can be simulated, by name."""
