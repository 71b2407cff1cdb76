"""Peak memory of training from a store that is larger than memory should be.

Writes a store of synthetic events (6 features × ~6 jets, 3 event features) of the given size,
takes the training and validation events of one fold, fits weights, scaling and a narrow network
for some steps, and prints the peak of the resident memory above that of the imports, the time a
batch takes to be delivered, and the time of a step. Linux only: it reads /proc/self/status.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import yaml

from particle_transformer import AnalysisObjectTransformer, __version__
from particle_transformer.config import load_analysis
from particle_transformer.data import Manifest, Store, StoreRows
from particle_transformer.data.store import SHARDS, write_shard
from particle_transformer.events import Events, Ragged
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.fit import fit_network
from particle_transformer.training.roles import fold_samples
from particle_transformer.training.settings import FitSettings

FEATURES = ["log(pt)", "eta", "phi", "log(mass)", "area", "btag"]
EVENT = ["log(met.pt)", "log(ht)", "count(jets)"]
PROCESSES = {"signal": "signal", "top": "background", "wjets": "background"}
ANALYSIS = {
    "name": "memory",
    "luminosity": 1.0,
    "processes": {
        name: {"class": value, "cross_section": 1.0, "files": [f"{name}.root"]}
        for name, value in PROCESSES.items()
    },
    "objects": {"jets": {"collection": "Jet", "features": ["log(pt)"]}},
    "event": {
        "define": {"met.pt": "MET_pt"},
        "select": "met.pt > 100",
        "features": ["log(met.pt)"],
    },
}
SHARD = 100_000
"""Events per shard."""


def synthetic_events(number: int, first: int, process: int, regions: list[str]) -> Events:
    """Events with a Poisson(6) number of jets; the identity counts from `first`."""
    rng = np.random.default_rng(first)
    counts = rng.poisson(6, number)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = rng.standard_normal((int(offsets[-1]), len(FEATURES)), dtype=np.float32)
    values[:, 0] += 0.3 * (process == 0)
    return Events(
        {"jets": Ragged(values, offsets)},
        rng.standard_normal((number, len(EVENT)), dtype=np.float32),
        np.where(rng.random(number) < 0.1, -1.0, 1.0),
        np.arange(first, first + number, dtype=np.int64)[:, None],
        np.full(number, process, dtype=np.int16),
        np.zeros(number, dtype=np.int16),
        {name: np.ones(number, dtype=np.bool_) for name in regions},
    )


def write_store(folder: Path, size: float, regions: list[str], era: str) -> None:
    """Write a store of about `size` bytes, shard by shard."""
    (folder / SHARDS).mkdir(parents=True)
    shards = []
    written = 0
    while written < size:
        number = len(shards)
        events = synthetic_events(SHARD, number * SHARD, number % len(PROCESSES), regions)
        path = folder / SHARDS / f"{number:05}.arrow"
        write_shard(path, events, file=0, entry=np.arange(SHARD))
        written += path.stat().st_size
        shards.append({"name": path.name, "events": SHARD})
    manifest = Manifest(
        fingerprint="synthetic",
        complete=True,
        analysis="",
        processes=list(PROCESSES),
        classes=list(PROCESSES.values()),
        eras=[era],
        regions=regions,
        objects={"jets": FEATURES},
        event=EVENT,
        normalisation={name: {era: 1e-3} for name in PROCESSES},
        luminosity={era: 1.0},
        inputs=[],
        cutflow=[],
        truncated={},
        non_finite={},
        shards=shards,
        versions={"analysis-object-transformer": __version__},
    )
    (folder / "manifest.json").write_text(manifest.to_json())


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return _status("VmHWM")


def resident_memory() -> int:
    """Resident memory of this process now, in bytes."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Let the peak start again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    message = f"no {name} in /proc/self/status"
    raise RuntimeError(message)


class _EnoughError(Exception):
    """The wanted number of steps is done."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the store")
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    parser.add_argument("--batches", type=int, default=512, help="batches timed without training")
    parser.add_argument("--folder", type=Path, help="where to put the store for the time being")
    options = parser.parse_args()
    before = resident_memory()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        file = folder / "analysis.yaml"
        file.write_text(yaml.safe_dump(ANALYSIS))
        analysis = load_analysis(file)
        (era,) = analysis.eras
        write_store(folder / "store", options.gigabytes * 1e9, list(analysis.regions), era)
        reset_peak()
        store = Store(folder / "store")
        print(f"store: {store.manifest.events:,} events in {len(store.manifest.shards)} shards")

        def done(what: str, started: float) -> None:
            print(
                f"{what:30s} {time.perf_counter() - started:8.1f} s, peak so far "
                f"{(peak_memory() - before) / 1e6:6.0f} MB"
            )

        started = time.perf_counter()
        source = StoreRows(store)
        training, validation, test = fold_samples(analysis, source, store.manifest.classes, 0)
        done("roles and training weights", started)
        assert len(training) + len(validation) + test == len(source)

        data = EventDataModule(training, validation, batch_size=512, seed=1, momenta=False)
        started = time.perf_counter()
        for number, _ in enumerate(data.train_dataloader(), start=1):
            if number == options.batches:
                break
        done(f"{number} batches of 512", started)
        print(f"{'one batch':30s} {(time.perf_counter() - started) / number * 1e3:8.2f} ms")

        def stop(done: int, total: int, record: object) -> None:
            del total, record
            if done == options.steps:
                raise _EnoughError

        model = AnalysisObjectTransformer(
            {"jets": len(FEATURES)}, len(EVENT), 16, 16, 16, 16, 16, 2,
            num_att_blocks=1, num_class_blocks=1,
        )  # fmt: skip
        started = time.perf_counter()
        with contextlib.suppress(_EnoughError):
            fit_network(
                model,
                training,
                validation,
                FitSettings(epochs=1),
                checkpoint_dir=folder / "checkpoints",
                log_dir=folder / "logs",
                progress=stop,
            )
        done(f"scaling, {options.steps} steps", started)
        print(f"peak above imports: {(peak_memory() - before) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
