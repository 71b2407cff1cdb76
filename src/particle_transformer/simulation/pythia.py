"""Pythia set up for one chunk, with the generator filter."""

from __future__ import annotations

from itertools import product
from math import hypot
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from particle_transformer.errors import SampleError, require
from particle_transformer.simulation.processes import BEAM_ENERGY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from particle_transformer.simulation.processes import GeneratorFilter, Process

__all__ = ["make_pythia", "unseen_pt"]

_NEUTRINOS = (12, 14, 16)
_TRACKED_MUON_ETA = 2.2  # below the muon chambers' 2.4, for the shower still turns muons a little


def unseen_pt(
    neutrinos: Iterable[tuple[float, float]], doubtful: Iterable[tuple[float, float]]
) -> float:
    """Largest transverse momentum that can stay unseen, in GeV.

    Parameters
    ----------
    neutrinos
        (px, py) of what is unseen in any case.
    doubtful
        (px, py) of what may be seen or not (τ leptons, forward muons). An unseen part of a τ lies
        between nothing and all of it; the maximum of a convex function lies at one of these ends.
    """
    certain = list(neutrinos)
    px, py = (sum(vector[axis] for vector in certain) for axis in (0, 1))
    doubts = list(doubtful)
    return max(
        hypot(
            px
            + sum(vector[0] for vector, is_unseen in zip(doubts, unseen, strict=True) if is_unseen),
            py
            + sum(vector[1] for vector, is_unseen in zip(doubts, unseen, strict=True) if is_unseen),
        )
        for unseen in product((False, True), repeat=len(doubts))
    )


def make_pythia(
    process: Process, pythia_seed: int, generator_filter: GeneratorFilter | None
) -> tuple[Any, Any]:
    """Pythia 8, initialised; multi-parton interactions, showers and hadronisation are all on.

    Parameters
    ----------
    process
        What to generate.
    pythia_seed
        1 … 900 000 000.
    generator_filter
        Vetoes events early; None generates everything.

    Returns
    -------
    pythia : pythia8mc.Pythia
        ``nextBatch`` gives only events that pass the filter. ``infoPython().sigmaGen()`` is the
        cross-section *after* it, for Pythia counts a vetoed event as tried and not accepted.
    hook : pythia8mc.UserHooks or None
        The filter. The caller keeps it as long as Pythia: Pythia does not own its Python part, and
        without that silently generates everything.

    Raises
    ------
    SampleError
        If Pythia refuses a setting or its initialisation.
    """
    pythia8 = require("pythia8mc", "sim")
    pythia = pythia8.Pythia("", False)
    hook = None
    for line in (
        "Print:quiet = on",
        "SLHA:verbose = 0",
        "Random:setSeed = on",
        f"Random:seed = {pythia_seed}",
        "Beams:idA = 2212",
        "Beams:idB = 2212",
        f"Beams:eCM = {BEAM_ENERGY}",
        # Particles that live longer decay in the detector, if at all: K0S and Λ are seen as such.
        "ParticleDecays:limitTau0 = on",
        "ParticleDecays:tau0Max = 10.",
        *process.settings,
    ):
        if not pythia.readString(line):
            message = f"process {process.name!r}: Pythia does not accept the setting {line!r}"
            raise SampleError(message)
    if generator_filter is not None:
        hook = _make_hook(pythia8, generator_filter)
        if not pythia.setUserHooksPtr(hook):
            message = f"process {process.name!r}: Pythia does not accept the generator filter"
            raise SampleError(message)
    if not _initialise(pythia, process.spectrum):
        message = f"process {process.name!r}: Pythia cannot be initialised with {process.settings}"
        raise SampleError(message)
    return pythia, hook


def _initialise(pythia: Any, spectrum: str | None) -> bool:
    """Whether Pythia accepts its settings; it reads a spectrum from a file, and only then."""
    if spectrum is None:
        return bool(pythia.init())
    with TemporaryDirectory(prefix="aot-slha-") as folder:
        path = Path(folder) / "spectrum.slha"
        path.write_text(spectrum, encoding="ascii")
        return bool(pythia.readString(f"SLHA:file = {path}") and pythia.init())


def _make_hook(pythia8: Any, cuts: GeneratorFilter) -> Any:
    """The filter as Pythia's UserHooks, whose class exists only once Pythia is imported."""

    class UnseenMomentumFilter(pythia8.UserHooks):  # type: ignore[misc]
        """Vetoes events whose unseen transverse momentum is too small to pass the skim."""

        def __init__(self) -> None:
            pythia8.UserHooks.__init__(self)
            # (number of the mother in the record, its momentum, [(lepton's id, its momentum)])
            self.families: list[tuple[int, Any, list[tuple[int, Any]]]] = []

        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:
            self.families = _lepton_families(process)
            return self._unseen([mother for _, mother, _ in self.families]) < cuts.hard_pt

        def canVetoPT(self) -> bool:
            return True

        def scaleVetoPT(self) -> float:
            return cuts.scale

        def doVetoPT(self, position: int, event: Any) -> bool:
            # 0 … 3: the evolution of the hard process and its multi-parton interactions, which
            # calls once per event; 4 and above: showers of resonances, after those.
            if position > 3:
                return False
            mothers = [event[event[number].iBotCopy()].p() for number, _, _ in self.families]
            return self._unseen(mothers) < cuts.evolved_pt

        def _unseen(self, mothers: list[Any]) -> float:
            """`unseen_pt` with the leptons moved along with their mothers."""
            neutrinos, doubtful = [], []
            for (_, before, leptons), after in zip(self.families, mothers, strict=True):
                for identity, original in leptons:
                    lepton = pythia8.Vec4(original)
                    # As Pythia attaches decay products to a mother that has recoiled.
                    lepton.bstback(before)
                    lepton.bst(after)
                    vector = (lepton.px(), lepton.py())
                    if identity in _NEUTRINOS:
                        neutrinos.append(vector)
                    elif identity == 15 or abs(lepton.eta()) > _TRACKED_MUON_ETA:
                        doubtful.append(vector)
            return unseen_pt(neutrinos, doubtful)

    return UnseenMomentumFilter()


def _lepton_families(process: Any) -> list[tuple[int, Any, list[tuple[int, Any]]]]:
    """Neutrinos, muons and τ leptons by the outgoing particle that they descend from."""
    families: dict[int, list[tuple[int, Any]]] = {}
    for number in range(5, process.size()):
        particle = process[number]
        identity = particle.idAbs()
        if not particle.isFinal() or identity not in (*_NEUTRINOS, 13, 15):
            continue
        mother = number
        while process[mother].mother1() > 4:  # 3 and 4 are the incoming partons
            mother = process[mother].mother1()
        families.setdefault(mother, []).append((identity, particle.p()))
    return [(mother, process[mother].p(), leptons) for mother, leptons in families.items()]
