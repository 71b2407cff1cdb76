"""simulation.json: everything needed to repeat and to normalise a sample."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from particle_transformer._version import __version__
from particle_transformer.simulation.generate import SKIM_MET
from particle_transformer.simulation.jets import GHOST_AREA
from particle_transformer.simulation.processes import BEAM_ENERGY
from particle_transformer.simulation.response import ENHANCED_PT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from particle_transformer.simulation.processes import Process
    from particle_transformer.simulation.samples import Sample
    from particle_transformer.simulation.summary import ProcessSummary

__all__ = ["sample_description", "sample_settings"]


def sample_settings(
    sample: Sample, processes: Sequence[Process], seed: int, chunk_events: int
) -> dict[str, Any]:
    """Everything that a sample's chunks depend on, ready for JSON.

    Parameters
    ----------
    sample
        Which sample.
    processes
        Which of its processes.
    seed
        The sample's seed.
    chunk_events
        Events generated per chunk.
    """
    return {
        "sample": sample.name,
        "energy": BEAM_ENERGY,
        "units": {"cross_section": "pb", "energy, momentum, mass": "GeV"},
        "order": "leading order (Pythia's own cross-sections)",
        "seed": seed,
        "chunk_events": chunk_events,
        "versions": {"analysis-object-transformer": __version__}
        | {name: importlib.metadata.version(name) for name in _GENERATORS},
        "cite": {
            "Pythia 8.3": "arXiv:2203.11601",
            "FastJet": "arXiv:1111.6097, hep-ph/0512210",
            "Delphes (parameters of the detector)": "arXiv:1307.6346",
        },
        "skim": {"MET_pt": SKIM_MET},
        "ghost_area": GHOST_AREA,
        "detector": asdict(sample.detector),
        "enhanced_tails_above_pt": ENHANCED_PT,
        "processes": {process.name: _process_settings(sample, process) for process in processes},
    }


_GENERATORS = ("pythia8mc", "fastjet", "numpy", "awkward")


def _process_settings(sample: Sample, process: Process) -> dict[str, Any]:
    cuts = process.generator_filter
    return {
        "title": process.title,
        "class": process.role,
        "pythia_settings": process.settings,
        "generator_filter": None if cuts is None else asdict(cuts),
        "tail_enhancement": process.tail_enhancement,
        "share": sample.shares.get(process.name, 1.0),
        "mass": process.mass,
        "slha": process.spectrum,
    }


def sample_description(settings: Mapping[str, Any], summaries: Mapping[str, ProcessSummary]) -> str:
    """The text of simulation.json.

    Parameters
    ----------
    settings
        From `sample_settings`.
    summaries
        By process.
    """
    processes = {
        name: {
            **settings["processes"][name],
            "cross_section": summary.cross_section,
            "cross_section_error": summary.cross_section_error,
            "generated": summary.generated,
            "kept": summary.kept,
            "sum_of_weights": summary.sum_of_weights,
            "chunks": len(summary.chunks),
            "filter_efficiency": summary.generated / summary.selected,
            "skim_efficiency": summary.kept / summary.generated,
        }
        for name, summary in summaries.items()
    }
    return json.dumps({**settings, "processes": processes}, indent=2, ensure_ascii=False) + "\n"
