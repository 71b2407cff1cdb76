"""One chunk of one process: from the seed to NanoAOD-named columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from particle_transformer.errors import SampleError, require
from particle_transformer.simulation.catalogue import PROCESSES
from particle_transformer.simulation.detector import Detector
from particle_transformer.simulation.jets import btag_scores, cluster
from particle_transformer.simulation.leptons import isolated_leptons
from particle_transformer.simulation.processes import GeneratorFilter, chunk_seeds
from particle_transformer.simulation.pythia import make_pythia
from particle_transformer.simulation.reconstruct import ELECTRON, MUON, UNSEEN, reconstruct
from particle_transformer.simulation.response import lose_jets

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SKIM_MET", "Chunk", "ChunkTask", "generate_chunk"]

BATCH = 100
"""Events that are in memory at once (some 20 MB). Part of what a seed means: do not change."""

SKIM_MET = 180.0
"""Least MET_pt of the events of a sample, GeV."""

ELECTRON_MASS, MUON_MASS = 0.000511, 0.10566


@dataclass(frozen=True)
class ChunkTask:
    """What to generate; everything that the result depends on.

    Attributes
    ----------
    process
        A name in `PROCESSES`.
    chunk
        Number of the chunk within the process, from 0.
    events
        Events to generate.
    seed
        The sample's seed.
    skim_met
        Least MET_pt of the events that are kept, GeV; None keeps all.
    generator_filter
        The filter before multi-parton interactions; None generates everything.
    detector
        The detector.
    sample
        Name of the sample. Each has seeds of its own, but for ``ttH``, whose seeds are older.
    """

    process: str
    chunk: int
    events: int
    seed: int
    skim_met: float | None = SKIM_MET
    generator_filter: GeneratorFilter | None = field(default_factory=GeneratorFilter)
    detector: Detector = field(default_factory=Detector)
    sample: str = "ttH"

    @property
    def label(self) -> str:
        """Names the process among all processes of all samples, for the seeds."""
        return self.process if self.sample == "ttH" else f"{self.sample}/{self.process}"


@dataclass(frozen=True)
class Chunk:
    """The result.

    Attributes
    ----------
    columns
        By NanoAOD name; ``nJet`` and the like count the rows of ``Jet_*`` by event.
    generated
        Events generated, before the skim.
    sum_of_weights
        Sum of their genWeight.
    tried, selected
        Phase-space points that Pythia tried, and events that it selected before the filter.
    cross_section, cross_section_error
        After the filter and before the skim, pb.
    """

    columns: dict[str, NDArray[Any]]
    generated: int
    sum_of_weights: float
    tried: int
    selected: int
    cross_section: float
    cross_section_error: float


def generate_chunk(task: ChunkTask) -> Chunk:
    """Generate one chunk.

    Parameters
    ----------
    task
        What to generate.

    Raises
    ------
    SampleError
        If Pythia cannot be set up or fails to generate the events.
    MissingExtraError
        If Pythia or FastJet is not installed.
    """
    require("fastjet", "sim")
    pythia_seed, detector_seed = chunk_seeds(task.seed, task.label, task.chunk)
    random = np.random.default_rng(detector_seed)
    # The hook is held here: Pythia does not own it.
    pythia, _hook = make_pythia(PROCESSES[task.process], pythia_seed, task.generator_filter)
    charges = _Charges(pythia)
    parts: list[dict[str, NDArray[Any]]] = []
    generated, sum_of_weights = 0, 0.0
    while generated < task.events:
        wanted = min(BATCH, task.events - generated)
        batch = pythia.nextBatch(wanted)
        # Events that Pythia fails to finish are left out of the batch: it is then shorter.
        if len(batch) == 0:
            message = f"process {task.process!r}, chunk {task.chunk}: Pythia generates no event"
            raise SampleError(message)
        columns = _batch_columns(batch, charges, task, generated, random)
        sum_of_weights += float(columns.pop("_all_weights").sum(dtype=np.float64))
        generated += len(batch)
        parts.append(columns)
    info = pythia.infoPython()
    return Chunk(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        generated,
        sum_of_weights,
        int(info.nTried()),
        int(info.nSelected()),
        1e9 * float(info.sigmaGen()),  # mb to pb
        1e9 * float(info.sigmaErr()),
    )


class _Charges:
    """Electric charges by PDG code, as Pythia knows them."""

    def __init__(self, pythia: Any) -> None:
        self._data = pythia.particleData
        self._known: dict[int, float] = {}

    def __call__(self, identity: NDArray[np.int64]) -> NDArray[np.float64]:
        codes, index = np.unique(identity, return_inverse=True)
        for code in codes.tolist():
            if code not in self._known:
                self._known[code] = float(self._data.charge(code))
        return np.array([self._known[code] for code in codes.tolist()])[index]


def _batch_columns(
    batch: Any, charges: _Charges, task: ChunkTask, first: int, random: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Columns of the events of one batch that pass the skim, and ``_all_weights`` of all."""
    detector = task.detector
    events = len(batch)
    record = batch.prt
    event_of = np.repeat(np.arange(events), ak.to_numpy(ak.num(record)))
    flat = ak.flatten(record, axis=1)
    identity = ak.to_numpy(flat.id).astype(np.int64)
    momenta = np.stack([ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e")], axis=1)
    final = ak.to_numpy(flat.status) > 0

    unseen = final & np.isin(np.abs(identity), UNSEEN)
    true_missing = [np.bincount(event_of[unseen], momenta[unseen, i], events) for i in (0, 1)]
    objects = reconstruct(
        event_of[final], identity[final], charges(identity[final]), momenta[final], detector, random
    )
    weights = ak.to_numpy(batch.info.weights[:, 0]).astype(np.float32)
    if detector.tail_fraction > 0:
        enhancement = PROCESSES[task.process].tail_enhancement
        objects, tail_weight = lose_jets(objects, events, detector, enhancement, random)
        weights = (weights * tail_weight).astype(np.float32)
    missing = objects.missing(events)
    # float32 first, so that the skim and what the file says agree.
    met = np.hypot(*missing.T).astype(np.float32)
    kept = np.ones(events, np.bool_) if task.skim_met is None else met > task.skim_met
    position = np.cumsum(kept) - 1

    leptons = isolated_leptons(objects.of(kept), detector, random)
    rest = objects.of(kept).without(leptons.used)
    flavour = _heavy_flavour(identity)
    heavy = (flavour > 0) & kept[event_of]
    jets = cluster(
        rest.event,
        rest.momenta,
        position[event_of[heavy]],
        momenta[heavy],
        flavour[heavy],
        int(kept.sum()),
        detector,
        random,
    )
    number = first + np.flatnonzero(kept)
    count = len(number)
    columns: dict[str, NDArray[Any]] = {
        "_all_weights": weights,
        "run": np.ones(count, np.uint32),
        "luminosityBlock": np.full(count, task.chunk + 1, np.uint32),
        "event": (task.chunk * task.events + number + 1).astype(np.uint64),
        "genWeight": weights[kept],
        "MET_pt": met[kept],
        "MET_phi": np.arctan2(missing[kept, 1], missing[kept, 0]).astype(np.float32),
        "GenMET_pt": np.hypot(*true_missing)[kept].astype(np.float32),
    }
    columns |= _kinematics("Jet", jets.event, jets.momenta, count)
    eta = columns["Jet_eta"].astype(np.float64)
    columns["Jet_area"] = jets.area.astype(np.float32)
    columns["Jet_btag"] = btag_scores(jets.flavour, eta, detector, random).astype(np.float32)
    columns["Jet_hadronFlavour"] = jets.flavour.astype(np.int32)
    for name, code, mass in (("Electron", ELECTRON, ELECTRON_MASS), ("Muon", MUON, MUON_MASS)):
        own = np.abs(leptons.kind) == code
        columns |= _kinematics(name, leptons.event[own], leptons.momenta[own], count)
        columns[f"{name}_mass"] = np.full(own.sum(), mass, np.float32)
        columns[f"{name}_charge"] = -np.sign(leptons.kind[own]).astype(np.int32)
        columns[f"{name}_pfRelIso03_all"] = leptons.isolation[own].astype(np.float32)
    return columns


def _kinematics(
    collection: str, event: NDArray[np.int64], momenta: NDArray[np.float64], events: int
) -> dict[str, NDArray[Any]]:
    """Count, pt, η, φ and mass of one collection."""
    px, py, pz, energy = momenta.T
    pt = np.hypot(px, py)
    mass_squared = energy**2 - px**2 - py**2 - pz**2
    values = {
        "pt": pt,
        "eta": np.arcsinh(pz / pt),
        "phi": np.arctan2(py, px),
        "mass": np.sqrt(np.maximum(mass_squared, 0)),
    }
    counts = np.bincount(event, minlength=events).astype(np.int32)
    named = {f"{collection}_{name}": value.astype(np.float32) for name, value in values.items()}
    return {f"n{collection}": counts, **named}


def _heavy_flavour(identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """5 for b hadrons, 4 for c hadrons without b, 0 for all else; int64 (particles,).

    A PDG code is ±n nr nL nq1 nq2 nq3 nJ: the heaviest quark of a meson is nq2, of a baryon nq1.
    """
    code = np.abs(identity)
    is_hadron = (code > 100) & (code < 1_000_000_000) & (code // 10 % 10 > 0)
    heaviest = np.maximum(code // 100 % 10, code // 1000 % 10)
    return np.where(is_hadron & np.isin(heaviest, (4, 5)), heaviest, 0)
