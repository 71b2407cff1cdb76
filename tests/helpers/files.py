"""Small NanoAOD-like input files with a known truth, and the analyses that read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from particle_transformer.config import Analysis, parse_analysis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

JET_FIELDS = ("pt", "eta", "phi", "mass", "btag")


@dataclass(frozen=True)
class Sample:
    """The columns of one file: flat ones by branch, jagged ones by collection and field."""

    flat: dict[str, NDArray[Any]]
    jagged: dict[str, dict[str, ak.Array]]

    def __len__(self) -> int:
        return len(next(iter(self.flat.values())))

    def awkward(self) -> ak.Array:
        """Every branch under its NanoAOD name (Jet_pt, …)."""
        columns: dict[str, Any] = dict(self.flat)
        for collection, fields in self.jagged.items():
            columns.update({f"{collection}_{field}": array for field, array in fields.items()})
        return ak.Array(columns)

    def replaced(self, **flat: NDArray[Any]) -> Sample:
        """The same sample with other flat columns."""
        return Sample({**self.flat, **flat}, self.jagged)

    def taken(self, index: Any) -> Sample:
        """The events `index`, in that order."""
        return Sample(
            {name: values[index] for name, values in self.flat.items()},
            {
                collection: {field: array[index] for field, array in fields.items()}
                for collection, fields in self.jagged.items()
            },
        )


def make_sample(seed: int, events: int, *, first_event: int = 1) -> Sample:
    """Random events: MET, weights of both signs, unsorted jets and muons, empty events too."""
    random = np.random.default_rng(seed)

    def objects(mean: float, scale: float) -> dict[str, ak.Array]:
        counts = random.poisson(mean, events)
        total = int(counts.sum())
        values = {
            "pt": 15 + random.exponential(scale, total),
            "eta": random.uniform(-4, 4, total),
            "phi": random.uniform(-np.pi, np.pi, total),
            "mass": random.exponential(8, total),
            "btag": random.uniform(0, 1, total),
        }
        return {
            name: ak.unflatten(array.astype(np.float32), counts) for name, array in values.items()
        }

    return Sample(
        {
            "run": np.full(events, 1, dtype=np.uint32),
            "luminosityBlock": (np.arange(events) // 20 + 1).astype(np.uint32),
            "event": np.arange(first_event, first_event + events, dtype=np.uint64),
            "genWeight": random.choice([2.5, 2.5, 2.5, -2.5], events).astype(np.float32),
            "puWeight": random.uniform(0.8, 1.2, events).astype(np.float32),
            "MET_pt": random.exponential(80, events).astype(np.float32),
            "MET_phi": random.uniform(-np.pi, np.pi, events).astype(np.float32),
        },
        {"Jet": objects(2.5, 40), "Muon": objects(0.6, 20)},
    )


def write_root(
    path: Path,
    sample: Sample,
    *,
    tree: str = "Events",
    runs: Mapping[str, NDArray[Any]] | None = None,
) -> Path:
    """Write `sample` as NanoAOD does: one counter per collection, and a Runs tree if given."""
    content: dict[str, Any] = dict(sample.flat)
    content.update({name: ak.zip(fields) for name, fields in sample.jagged.items()})
    return write_tree(path, content, tree=tree, runs=runs)


def write_tree(
    path: Path,
    content: Mapping[str, Any],
    *,
    tree: str = "Events",
    runs: Mapping[str, NDArray[Any]] | None = None,
) -> Path:
    """Write any branches; a jagged one that is no record gets a counter of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        types = {
            name: array.type.content if isinstance(array, ak.Array) else array.dtype
            for name, array in content.items()
        }
        file.mktree(tree, types)
        if len(next(iter(content.values()))):
            file[tree].extend(dict(content))
        if runs is not None:
            file.mktree("Runs", {name: array.dtype for name, array in runs.items()})
            file["Runs"].extend(dict(runs))
    return path


def write_parquet(
    path: Path,
    sample: Sample,
    *,
    row_group_size: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write `sample` with list columns and, if given, key-value metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = sample.awkward()
    table = pa.table(
        {name: ak.to_arrow(array[name], extensionarray=False) for name in ak.fields(array)}
    )
    if metadata is not None:
        table = table.replace_schema_metadata(dict(metadata))
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def analysis_content(**changes: Any) -> dict[str, Any]:
    """An analysis of s.root (signal) and b.root (background), with some keys replaced."""
    content: dict[str, Any] = {
        "name": "test",
        "source": {"event_number": "event"},
        "luminosity": 10.0,
        "processes": {
            "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
            "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
        },
        "objects": {
            "jets": {
                "collection": "Jet",
                "select": "pt > 30 and abs(eta) < 2.5",
                "sort_by": "pt",
                "features": ["log(pt)", "eta"],
            }
        },
        "event": {
            "define": {"met.pt": "MET_pt", "met.phi": "MET_phi", "ht": "sum(jets.pt)"},
            "select": "met.pt > 20",
            "features": ["met.pt", "ht", "count(jets)"],
        },
        "weights": {"generator": "genWeight"},
    }
    content.update(changes)
    return {key: value for key, value in content.items() if value is not None}


def make_analysis(base: Path, **changes: Any) -> Analysis:
    """`analysis_content`, validated; relative paths are in `base`."""
    return parse_analysis(analysis_content(**changes), base=base)


def write_pair(base: Path, *, events: int = 60) -> tuple[Sample, Sample]:
    """Write s.root and b.root for `analysis_content`."""
    signal, background = make_sample(1, events), make_sample(2, events, first_event=10_001)
    write_root(base / "s.root", signal)
    write_root(base / "b.root", background)
    return signal, background
