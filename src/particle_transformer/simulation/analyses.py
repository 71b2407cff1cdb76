"""The text of the analysis files beside a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.simulation.catalogue import PROCESSES
from particle_transformer.simulation.processes import BEAM_ENERGY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.simulation.samples import AnalysisChoice, Sample
    from particle_transformer.simulation.summary import ProcessSummary

__all__ = ["HEADLINE", "LUMINOSITY", "analysis_files"]

LUMINOSITY = 100.0
"""Luminosity that the analysis files ask for, fb⁻¹; any other may be written there."""

HEADLINE = "analysis.yaml"
"""The file that every sample has."""

_ANALYSIS = """\
# Search for {title} at {energy:g} TeV, simulated with Pythia 8:
# jets with missing transverse momentum; electrons and muons are {leptons}.
# Cross-sections are Pythia's own at leading order, in pb, after the generator filter that
# simulation.json states; {section}.
name: {name}
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
{event}weights: {{generator: genWeight}}
regions:
{regions}
training: {{folds: 5, epochs: 20, ema: 0.99, negative_weights: keep{training}}}
model: {{embed_dims: 64, pair_bias: true, dropout: 0.1}}
evaluation:
  working_points: [0.3, 0.5, 0.7]
  background_uncertainty: 0.1
{limit}{compare}"""

_COMPARE = """\
compare:    # settings with the lowest validation loss of four each, on another sample
  trees: {{max_depth: 3}}
  trees_raw: {{max_depth: 3}}
  dense: {{dropout: 0.4}}
  deep_sets: {{object_widths: [128, 128, 128], event_widths: [128, 128]}}
  part: {{embed_dims: [64, 256, 64], pair_dims: [32, 32, 32], layers: 4}}    # of three
  binned: [ht, met.pt]
  features: # what boosted trees are given
    - met.pt / sqrt(max(ht, 1))
    - met.pt + ht
    - count(jets.btag > 0.3)
    - count(jets.btag > 0.7)
    - max(jets.btag, default=0)
    - sum(jets.btag)
    - count(abs(jets.eta) > 2.4)
    - min(abs(delta_phi(jets.phi, met.phi)), default=3.2)
    - min(where(index(jets) < 4, abs(delta_phi(jets.phi, met.phi)), 3.2), default=3.2)
    - max(abs(delta_phi(jets.phi, met.phi)), default=0)
    - pt(sum(px(jets.pt, jets.phi)), sum(py(jets.pt, jets.phi)))
    - invariant_mass(jets.pt, jets.eta, jets.phi, jets.mass)
    - invariant_mass(where(index(jets) < 2, jets.pt, 0), jets.eta, jets.phi, where(index(jets) < 2, jets.mass, 0))
    - invariant_mass(where(jets.btag > 0.3, jets.pt, 0), jets.eta, jets.phi, where(jets.btag > 0.3, jets.mass, 0))
    - min(where(jets.btag > 0.3, transverse_mass(jets.pt, jets.phi, met.pt, met.phi), 2000), default=2000)
    - min(transverse_mass(jets.pt, jets.phi, met.pt, met.phi), default=2000)
    - max(jets.mass, default=0)
    - max(jets.pt / max(ht, 1), default=0)
{leading}
"""

_LEADING = (
    "nth(jets.pt, {0}, 0)",
    "nth(abs(jets.eta), {0}, 5)",
    "nth(abs(delta_phi(jets.phi, met.phi)), {0}, 3.2)",
    "nth(jets.btag, {0}, -1)",
    "nth(jets.mass, {0}, 0)",
)
_NUMBER_OF_LEADING = 4

_SEEN_LEPTONS = """\
  electrons:
    collection: Electron
    select: "pt > 10 and abs(eta) < 2.5"
    features: [log(pt), abs(eta), abs(delta_phi(phi, met.phi)), charge]
  muons:
    collection: Muon
    select: "pt > 10 and abs(eta) < 2.4"
    features: [log(pt), abs(eta), abs(delta_phi(phi, met.phi)), charge]
event:
  define: {met.pt: MET_pt, met.phi: MET_phi, ht: "sum(jets.pt)"}
  features: [log(met.pt), log(max(ht, 1)), count(jets)]
"""
# The network sees no lepton: in the region it is trained in there is none.
_VETOED_LEPTONS = """\
event:
  define:
    met.pt: MET_pt
    met.phi: MET_phi
    ht: "sum(jets.pt)"
    leptons: nElectron + nMuon    # isolated, pt > 10, within the tracker
  features: [log(met.pt), log(max(ht, 1)), count(jets)]
"""

_ONE_REGION = """\
  signal:
    select: "met.pt > 200 and count(jets) >= 2"
    role: signal"""
_VETO_REGIONS = """\
  signal:
    select: "met.pt > 200 and count(jets) >= 2 and leptons == 0"
    role: signal
  # tt̄ and W with the lepton that the signal region loses
  one_lepton_b:
    select: "met.pt > 200 and count(jets) >= 2 and leptons == 1 and any(jets.btag > 0.7)"
    role: control
  one_lepton_no_b:
    select: "met.pt > 200 and count(jets) >= 2 and leptons == 1 and not any(jets.btag > 0.7)"
    role: control"""


def analysis_files(sample: Sample, summaries: Mapping[str, ProcessSummary]) -> dict[str, str]:
    """The text of each analysis file of a sample, whose ROOT files lie beside it.

    The headline is always there, any other only if one of the signals that it has and the headline
    has not, or one of its additional classes, was simulated. Without a signal or without a
    background process the first line of a file says which is missing.

    Parameters
    ----------
    sample
        Which sample.
    summaries
        Of the processes that were simulated, by name.

    Returns
    -------
    dict
        By file name.
    """
    headline, *others = sample.analyses
    chosen = [headline]
    for analysis in others:
        own = set(analysis.processes) - set(headline.processes)
        if own & summaries.keys():
            chosen.append(analysis)
    return {analysis.file: _text(sample, analysis, summaries) for analysis in chosen}


def _text(sample: Sample, analysis: AnalysisChoice, summaries: Mapping[str, ProcessSummary]) -> str:
    names = [name for name in summaries if name in analysis.processes]
    masses = {PROCESSES[name].mass for name in names} - {None}
    conditioned = len(masses) > 1  # one mass alone is no condition
    text = _ANALYSIS.format(
        title=analysis.title,
        energy=BEAM_ENERGY / 1000,
        leptons="vetoed" if sample.lepton_veto else "seen by the network, not vetoed",
        section=(
            "the masses are in GeV"
            if masses
            else "the signal's is for B(H→invisible) = 1, so that the signal strength is B"
        ),
        name=analysis.name,
        luminosity=LUMINOSITY,
        processes=_processes(names, summaries),
        event=_VETOED_LEPTONS if sample.lepton_veto else _SEEN_LEPTONS,
        regions=_VETO_REGIONS if sample.lepton_veto else _ONE_REGION,
        limit=_limit(names) if sample.lepton_veto else "",
        training=", condition: [mass]" if conditioned else "",
        compare="" if conditioned else _compare(),  # no other method has parameters
    )
    simulated = {"signal" if PROCESSES[name].role == "signal" else "background" for name in names}
    missing = [role for role in ("signal", "background") if role not in simulated]
    return (
        "".join(f"# No {role} process: add one before aot can train.\n" for role in missing) + text
    )


def _compare() -> str:
    leading = (text.format(number) for number in range(_NUMBER_OF_LEADING) for text in _LEADING)
    return _COMPARE.format(leading="\n".join(f"    - {text}" for text in leading))


def _limit(names: list[str]) -> str:
    free = [name for name in ("TTbar", "WToLNu") if name in names]
    return (
        f"  limit: {{free: [{', '.join(free)}]}}    # the control regions have them\n"
        if free
        else ""
    )


def _processes(names: list[str], summaries: Mapping[str, ProcessSummary]) -> str:
    width = max((len(name) for name in names), default=0) + 1
    lines = []
    for name in names:
        process = PROCESSES[name]
        mass = "" if process.mass is None else f"parameters: {{mass: {process.mass:g}}}, "
        lines.append(
            f"  {name + ':':{width}} {{class: {process.role}, "
            f"cross_section: {summaries[name].cross_section:.6g}, {mass}files: [{name}.root]}}"
        )
    return "\n".join(lines)
