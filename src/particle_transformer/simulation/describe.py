"""The files that describe a simulated sample: simulation.json and the analysis file."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from particle_transformer.simulation.jets import GHOST_AREA
from particle_transformer.simulation.processes import BEAM_ENERGY, PROCESSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.simulation.generate import ChunkTask
    from particle_transformer.simulation.summary import ProcessSummary

__all__ = ["LUMINOSITY", "analysis_file", "sample_description"]

LUMINOSITY = 100.0
"""Luminosity that the analysis file asks for, fb⁻¹; any other may be written there."""

_ANALYSIS = """\
# Search for an invisibly decaying Higgs boson in tt̄H at {energy:g} TeV, simulated with Pythia 8:
# jets with missing transverse momentum; electrons and muons are seen by the network, not vetoed.
# Cross-sections are Pythia's own at leading order, in pb, after the generator filter that
# simulation.json states; the signal's is for B(H→invisible) = 1, so that the signal strength is B.
name: ttH-invisible
source: {{format: nanoaod, tree: Events, event_number: event}}
luminosity: {luminosity:g}    # fb⁻¹
processes:
{processes}
objects:    # absolute values: the physics is symmetric under reflections of η and φ
  jets:
    collection: Jet
    select: "pt > 30 and abs(eta) < 4.7"
    sort_by: pt
    max: 16
    features: [log(pt), abs(eta), abs(delta_phi(phi, met.phi)), log(max(mass, 0.1)), area, btag]
  electrons:
    collection: Electron
    select: "pt > 10 and abs(eta) < 2.5"
    features: [log(pt), abs(eta), abs(delta_phi(phi, met.phi)), charge]
  muons:
    collection: Muon
    select: "pt > 10 and abs(eta) < 2.4"
    features: [log(pt), abs(eta), abs(delta_phi(phi, met.phi)), charge]
event:
  define: {{met.pt: MET_pt, met.phi: MET_phi, ht: "sum(jets.pt)"}}
  features: [log(met.pt), log(max(ht, 1)), count(jets)]
weights: {{generator: genWeight}}
regions:
  signal:
    select: "met.pt > 200 and count(jets) >= 2"
    role: signal
training: {{folds: 5, epochs: 20, ema: 0.99, negative_weights: keep}}
model: {{embed_dims: 64, pair_bias: true}}
evaluation: {{working_points: [0.3, 0.5, 0.7], background_uncertainty: 0.1}}
"""


def analysis_file(summaries: Mapping[str, ProcessSummary]) -> str:
    """The text of an analysis file for a sample, whose ROOT files lie beside it.

    Without a signal or without a background process its first line says which is missing.
    """
    width = max(len(name) for name in summaries) + 1
    processes = "\n".join(
        f"  {name + ':':{width}} {{class: {PROCESSES[name].role}, "
        f"cross_section: {summary.cross_section:.6g}, files: [{name}.root]}}"
        for name, summary in summaries.items()
    )
    text = _ANALYSIS.format(energy=BEAM_ENERGY / 1000, luminosity=LUMINOSITY, processes=processes)
    simulated = {PROCESSES[name].role for name in summaries}
    missing = [role for role in ("signal", "background") if role not in simulated]
    return (
        "".join(f"# No {role} process: add one before aot can train.\n" for role in missing) + text
    )


def sample_description(
    task: ChunkTask, chunk_events: int, summaries: Mapping[str, ProcessSummary]
) -> str:
    """The text of simulation.json: everything needed to repeat and to normalise a sample.

    Parameters
    ----------
    task
        Any of the sample's chunks: the settings are common to all.
    chunk_events
        Events generated per chunk.
    summaries
        By process.
    """
    processes: dict[str, Any] = {
        name: {
            "title": PROCESSES[name].title,
            "class": PROCESSES[name].role,
            "pythia_settings": PROCESSES[name].settings,
            "cross_section": summary.cross_section,
            "cross_section_error": summary.cross_section_error,
            "generated": summary.generated,
            "kept": summary.kept,
            "sum_of_weights": summary.sum_of_weights,
            "chunks": len(summary.chunks),
            "filter_efficiency": summary.generated / summary.selected,
        }
        for name, summary in summaries.items()
    }
    description = {
        "energy": BEAM_ENERGY,
        "units": {"cross_section": "pb", "energy, momentum, mass": "GeV"},
        "order": "leading order (Pythia's own cross-sections)",
        "seed": task.seed,
        "chunk_events": chunk_events,
        "versions": {
            "pythia8mc": importlib.metadata.version("pythia8mc"),
            "fastjet": importlib.metadata.version("fastjet"),
        },
        "cite": {
            "Pythia 8.3": "arXiv:2203.11601",
            "FastJet": "arXiv:1111.6097, hep-ph/0512210",
            "Delphes (parameters of the detector)": "arXiv:1307.6346",
        },
        "generator_filter": task.generator_filter and asdict(task.generator_filter),
        "skim": {"MET_pt": task.skim_met},
        "ghost_area": GHOST_AREA,
        "detector": asdict(task.detector),
        "processes": processes,
    }
    return json.dumps(description, indent=2, ensure_ascii=False) + "\n"
