"""Rate of reading and preparing, on one core: uncompressed jagged ROOT, 6 features × ~6 jets.

Prints events per second of (1) uproot alone, reading the same branches into awkward arrays,
(2) `prepare`: reading, selecting, evaluating the features, writing the store; and their ratio.
Medians of several runs on the same file, which is written first and is in the page cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import awkward as ak
import numpy as np
import uproot

from particle_transformer.config import load_analysis
from particle_transformer.data import prepare

FIELDS = ("pt", "eta", "phi", "mass", "area", "btag")
ANALYSIS = """
name: rate
source: {event_number: event}
luminosity: 1
processes:
  signal:     {class: signal,     cross_section: 1, files: [signal.root]}
  background: {class: background, cross_section: 1, files: [background.root]}
objects:
  jets:
    collection: Jet
    select: "pt > 30 and abs(eta) < 4.7"
    sort_by: pt
    max: 16
    features: [log(pt), eta, "delta_phi(phi, met.phi)", "log(max(mass, 0.1))", area, btag]
event:
  define: {met.pt: MET_pt, met.phi: MET_phi, ht: sum(jets.pt)}
  select: met.pt > 30
  features: [log(met.pt), "log(max(ht, 1))", count(jets)]
weights: {generator: genWeight}
"""


def write_file(path: Path, events: int, seed: int) -> None:
    """Write events with a Poisson(6) number of jets, without compression."""
    rng = np.random.default_rng(seed)
    step = 100_000
    with uproot.recreate(path, compression=None) as file:
        for start in range(0, events, step):
            size = min(step, events - start)
            counts = rng.poisson(6, size)
            total = int(counts.sum())
            jets = {
                "pt": 20 + rng.exponential(60, total),
                "eta": rng.normal(0, 2, total),
                "phi": rng.uniform(-np.pi, np.pi, total),
                "mass": rng.gamma(2, 5, total),
                "area": rng.normal(0.5, 0.03, total),
                "btag": rng.uniform(0, 1, total),
            }
            content = {
                "Jet": ak.zip(
                    {
                        name: ak.unflatten(values.astype(np.float32), counts)
                        for name, values in jets.items()
                    }
                ),
                "MET_pt": rng.exponential(80, size).astype(np.float32),
                "MET_phi": rng.uniform(-np.pi, np.pi, size).astype(np.float32),
                "genWeight": np.ones(size, dtype=np.float32),
                "event": np.arange(start, start + size),
            }
            if start == 0:
                types = {
                    name: ak.type(array).content if name == "Jet" else array.dtype
                    for name, array in content.items()
                }
                file.mktree("Events", types)
            file["Events"].extend(content)


def read_only(path: Path) -> int:
    """Read every needed branch with uproot in the same steps, and do nothing with it."""
    with uproot.open(path, array_cache=None) as file:
        tree = file["Events"]
        branches = [*(f"Jet_{name}" for name in FIELDS), "MET_pt", "MET_phi", "genWeight", "event"]
        for start in range(0, tree.num_entries, 100_000):
            tree.arrays(branches, entry_start=start, entry_stop=start + 100_000, how=dict)
        return int(tree.num_entries)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=500_000, help="events per file (two files)")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever libraries do
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / "signal.root", folder / "background.root"]
        for seed, file in enumerate(files):
            write_file(file, options.events, seed)
        (folder / "analysis.yaml").write_text(ANALYSIS)
        analysis = load_analysis(folder / "analysis.yaml")
        rates: dict[str, list[float]] = {"uproot, reading only": [], "prepare": []}
        for repeat in range(options.repeats):
            started = time.perf_counter()
            events = sum(read_only(file) for file in files)
            rates["uproot, reading only"].append(events / (time.perf_counter() - started))
            started = time.perf_counter()
            prepare(analysis, folder / f"store-{repeat}")
            rates["prepare"].append(events / (time.perf_counter() - started))
        for label, found in rates.items():
            print(
                f"{label:22s} {statistics.median(found):10,.0f} events/s per core "
                f"({min(found):,.0f} to {max(found):,.0f})"
            )
        ratio = statistics.median(rates["prepare"]) / statistics.median(
            rates["uproot, reading only"]
        )
        print(f"{'prepare / reading':22s} {ratio:10.2f}")


if __name__ == "__main__":
    main()
