"""A small analysis of Parquet files with a known separation, for tests of whole runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import yaml

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = {"signal": "signal", "ttbar": "background", "wjets": "background"}


def write_inputs(folder: Path, *, events: int = 400, seed: int = 1) -> None:
    """Write one Parquet file per process; the signal has harder MET and more jets."""
    rng = np.random.default_rng(seed)
    for number, process in enumerate(PROCESSES):
        hard = 1.6 if process == "signal" else 1.0
        counts = rng.poisson(4 if process == "signal" else 2.5, events)
        total = int(counts.sum())
        jets = {
            "pt": 30 + rng.exponential(50 * hard, total),
            "eta": rng.normal(0, 1.5, total),
            "phi": rng.uniform(-np.pi, np.pi, total),
            "mass": rng.gamma(2, 5, total),
        }
        columns = {
            f"Jet_{name}": ak.unflatten(values.astype(np.float32), counts)
            for name, values in jets.items()
        }
        columns["MET_pt"] = (100 + rng.exponential(60 * hard, events)).astype(np.float32)
        columns["MET_phi"] = rng.uniform(-np.pi, np.pi, events).astype(np.float32)
        columns["genWeight"] = np.where(rng.uniform(size=events) < 0.1, -1.0, 1.0)
        columns["event"] = np.arange(events) + number * 1_000_000
        ak.to_parquet(ak.Array(columns), folder / f"{process}.parquet")


def small_analysis(
    folder: Path, *, epochs: int = 2, folds: int = 2, write: bool = True, pair_bias: bool = False
) -> Path:
    """Write the inputs, and an analysis file whose network is tiny."""
    if write:
        write_inputs(folder)
    content = {
        "name": "small",
        "source": {"event_number": "event"},
        "luminosity": 10.0,
        "processes": {
            process: {"class": name, "cross_section": 1.0, "files": [f"{process}.parquet"]}
            for process, name in PROCESSES.items()
        },
        "objects": {
            "jets": {
                "collection": "Jet",
                "select": "pt > 30",
                "sort_by": "pt",
                "max": 8,
                "features": ["log(pt)", "eta", "delta_phi(phi, met.phi)"],
            }
        },
        "event": {
            "define": {"met.pt": "MET_pt", "met.phi": "MET_phi"},
            "select": "met.pt > 110",
            "features": ["log(met.pt)", "count(jets)"],
        },
        "weights": {"generator": "genWeight"},
        "training": {"folds": folds, "epochs": epochs, "batch_size": 64, "learning_rate": 0.003},
        "model": {
            "embed_dims": 8,
            "mlp_hidden_1": 8,
            "mlp_hidden_2": 8,
            "num_heads": 2,
            "num_att_blocks": 1,
            "num_class_blocks": 1,
            "pair_bias": pair_bias,
        },
        "evaluation": {"bootstrap": 20},
    }
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def run_content(out: Path) -> dict[str, bytes]:
    """The files of a run but for checkpoints and logs; times are left out of its record."""
    found = {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in ("checkpoints", "logs")
    }
    record = json.loads(found["run.json"])
    for network in record["networks"]:
        del network["seconds"]
    return {**found, "run.json": json.dumps(record).encode()}
