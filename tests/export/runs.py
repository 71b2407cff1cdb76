"""Runs whose networks are random: what is exported need not be trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from helpers.files import make_analysis, make_sample, write_root
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.artefact import save_artefact
from particle_transformer.artefact.run_folder import RUN_VERSION, RunFolder
from particle_transformer.config import dump_analysis
from particle_transformer.data.chunk import ChunkReader
from particle_transformer.data.files import find_files
from particle_transformer.data.scan import open_input
from particle_transformer.model.scaling import fit_scaling

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.events import Events

OBJECTS: dict[str, dict[str, Any]] = {
    "muons": {
        "collection": "Muon",
        "select": "pt > 10 and abs(eta) < 2.4",
        "features": ["log(pt)", "eta", "delta_phi(phi, met.phi)"],
    },
    "jets": {
        "collection": "Jet",
        "fields": {"pt": "pt * where(abs(eta) < 2.5, 1.02, 0.97)", "hard": "pt > mean(pt)"},
        "select": "pt > 20 and abs(eta) < 4",
        "clean": {"against": ["muons"], "dr": 0.6},
        "sort_by": "pt",
        "max": 4,
        "features": ["log(pt)", "eta", "pt / sum(pt)", "index(pt)", "log(max(mass, 0.1))", "hard"],
    },
}
EVENT = {
    "define": {"met.pt": "MET_pt", "met.phi": "MET_phi", "ht": "sum(jets.pt)"},
    "select": "met.pt > 0",
    "features": [
        "log(met.pt)", "ht", "count(jets)", "invariant_mass(jets.pt, jets.eta, jets.phi, jets.mass, default=0)",
        "at_max(jets.eta, jets.btag, -9)", "leading(muons.pt, 0) + subleading(jets.pt, met.pt)",
        "transverse_mass(leading(muons.pt, 0), leading(muons.phi, 0), met.pt, met.phi)",
    ],
}  # fmt: skip
MODEL = {
    "embed_dims": 8, "mlp_hidden_1": 8, "mlp_hidden_2": 8, "num_heads": 2, "num_att_blocks": 1,
    "num_class_blocks": 1, "layer_scale": 1.0,
}  # fmt: skip


def analysis_of(folder: Path, *, events: int = 120, **changes: Any) -> Analysis:
    """An analysis with all that a graph has to repeat, and its files."""
    write_root(folder / "s.root", make_sample(1, events))
    write_root(folder / "b.root", make_sample(2, events, first_event=10_001))
    content: dict[str, Any] = {
        "objects": OBJECTS, "event": EVENT, "training": {"folds": 2}, "model": MODEL,
    }  # fmt: skip
    return make_analysis(folder, **{**content, **changes})


def events_of(analysis: Analysis) -> Events:
    """The events of the first file, through the pipeline."""
    file = find_files(analysis)[0]
    with open_input(analysis, file) as reader:
        return ChunkReader(reader, analysis, file, unblind=False).read(0, reader.entries).events


def random_run(
    folder: Path, analysis: Analysis, *, outputs: int = 1, targets: int = 0, **metadata: Any
) -> RunFolder:
    """A run of `analysis` with random networks, whose scaling is that of its first file."""
    run = RunFolder(folder / "run")
    events = events_of(analysis)
    folds, ensemble = analysis.training.folds, analysis.training.ensemble
    parameters = metadata["conditioning"]["names"] if metadata.get("conditioning") else []
    event = np.concatenate([events.event, np.ones((len(events), len(parameters)))], axis=1)
    for fold in range(folds):
        for number in range(ensemble):
            torch.manual_seed(10 * fold + number)
            model = AnalysisObjectTransformer(
                {name: len(each.features) for name, each in analysis.objects.items()},
                event.shape[1],
                **analysis.model.model_dump(),
                num_outputs=outputs,
                regression_targets=targets,
            )
            fit_scaling(model, {n: r.values for n, r in events.objects.items()}, event)
            about = {
                "analysis": analysis.name, "fold": fold, "folds": folds, "network": number,
                "classes": list(analysis.classes), "two_scores": False,
                "objects": {name: list(each.features) for name, each in analysis.objects.items()},
                "event": [*analysis.event.features, *parameters], "conditioning": None,
                "regression": [], "store_fingerprint": "0" * 64,
            }  # fmt: skip
            save_artefact(run.network(fold, number), model, {**about, **metadata})
    record = {
        "format_version": RUN_VERSION, "store": "store", "store_fingerprint": "0" * 64,
        "folds": folds, "ensemble": ensemble, "classes": list(analysis.classes),
        "versions": {"torch": torch.__version__},
    }  # fmt: skip
    run.record.write_text(json.dumps(record))
    run.analysis.write_text(dump_analysis(analysis))
    return run
