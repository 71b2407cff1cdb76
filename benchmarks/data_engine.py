"""Rate of reading, selecting and evaluating on one core: prepare, by hand, weaver-core.

On the same ROOT files (see sample.py), with the same selection, six features per jet, three per
event, the sixteen leading jets:

- prepare: this package; the store on disk holds weights, identities and the cutflow as well;
- by hand: uproot, awkward and numpy in steps of 100 000 events, padded to (events, 16, 6) with a
  mask and written with `numpy.savez`;
- weaver-core 0.5.3, if it is installed: its loader, once over all events in batches of 512, as each
  epoch of a training does.

Each is run several times, in turn; the table gives medians, smallest and largest. The files are in
the page cache and uproot caches no array. All must deliver the same events and the same sums of
features, or the program ends in an error.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import awkward as ak
import numpy as np
import uproot
from sample import CLASSES, COMPRESSIONS, FIELDS, MAX_JETS, Sample, one_core, write_sample

from particle_transformer.config import load_analysis
from particle_transformer.data import Store, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WEAVER = "0.5.3"
BRANCHES = [*(f"Jet_{name}" for name in FIELDS), "MET_pt", "MET_phi", "genWeight", "event"]
STEP = 100_000
BATCH_SIZE = 512
WEAVER_CONFIG = f"""
treename: Events
file_magic:
  is_signal: {{'signal\\.root$': 1, 'background\\.root$': 0}}
selection: MET_pt > 30
new_variables:
  is_background: is_signal == 0
  selected: (Jet_pt > 30) & (np.abs(Jet_eta) < 4.7)
  order: ak.argsort(Jet_pt[selected], axis=1, ascending=False)
  jet_pt: Jet_pt[selected][order]
  jet_log_pt: np.log(jet_pt)
  jet_eta: Jet_eta[selected][order]
  jet_delta_phi: (Jet_phi[selected][order] - MET_phi + np.pi) % (2 * np.pi) - np.pi
  jet_log_mass: np.log(np.maximum(Jet_mass[selected][order], 0.1))
  jet_area: Jet_area[selected][order]
  jet_btag: Jet_btag[selected][order]
  jet_mask: ak.ones_like(jet_pt)
  met_log_pt: np.log(MET_pt)
  log_ht: np.log(np.maximum(ak.sum(jet_pt, axis=1), 1))
  jets: ak.num(jet_pt)
preprocess: {{method: manual}}
inputs:
  jet_features:
    length: {MAX_JETS}
    pad_mode: constant
    vars:
      - [jet_log_pt, null]
      - [jet_eta, null]
      - [jet_delta_phi, null]
      - [jet_log_mass, null]
      - [jet_area, null]
      - [jet_btag, null]
  jet_mask: {{length: {MAX_JETS}, pad_mode: constant, vars: [[jet_mask, null]]}}
  event_features: {{length: null, vars: [[met_log_pt, null], [log_ht, null], [jets, null]]}}
labels: {{type: simple, value: [is_signal, is_background]}}
"""


class Totals(NamedTuple):
    """What a way delivers: number of events, and the mean of each feature."""

    events: int
    means: NDArray[np.float64]

    @classmethod
    def of(cls, events: int, objects: NDArray[np.float64], event: NDArray[np.float64]) -> Totals:
        """From sums over all objects and over all events; the last event feature counts jets."""
        return cls(events, np.concatenate([objects / event[-1], event / events]))


def by_package(sample: Sample, out: Path) -> None:
    """Prepare a store."""
    prepare(load_analysis(sample.analysis), out)


def by_hand(sample: Sample, out: Path) -> None:
    """Write padded arrays, as an analyst would without this package."""
    parts: list[dict[str, np.ndarray]] = []
    for label, name in enumerate(reversed(CLASSES)):
        with uproot.open(sample.files[name], array_cache=None) as file:
            for chunk in file["Events"].iterate(BRANCHES, step_size=STEP):
                events = chunk[chunk.MET_pt > 30]
                jets = ak.zip({field: events[f"Jet_{field}"] for field in FIELDS})
                jets = jets[(jets.pt > 30) & (abs(jets.eta) < 4.7)]
                jets = jets[ak.argsort(jets.pt, axis=1, ascending=False)]
                features = (
                    np.log(jets.pt),
                    jets.eta,
                    (jets.phi - events.MET_phi + np.pi) % (2 * np.pi) - np.pi,
                    np.log(np.maximum(jets.mass, 0.1)),
                    jets.area,
                    jets.btag,
                )
                padded = [
                    ak.to_numpy(ak.fill_none(ak.pad_none(feature, MAX_JETS, clip=True), 0))
                    for feature in features
                ]
                counts = ak.to_numpy(ak.num(jets))
                ht = ak.to_numpy(ak.sum(jets.pt, axis=1))
                event = (np.log(ak.to_numpy(events.MET_pt)), np.log(np.maximum(ht, 1)), counts)
                parts.append(
                    {
                        "objects": np.stack(padded, axis=-1).astype(np.float32),
                        "padding_mask": np.arange(MAX_JETS) >= counts[:, None],
                        "event": np.stack(event, axis=-1).astype(np.float32),
                        "label": np.full(len(events), label),
                        "weight": ak.to_numpy(events.genWeight),
                        "number": ak.to_numpy(events.event),
                    }
                )
    np.savez(out, **{key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


class Weaver:
    """The loader of weaver-core.

    Events of both files are mixed and shuffled, half of the sample at once: three times as fast as
    the default of a hundredth. `async_load=False`, because on one core its thread only costs.
    """

    def __init__(self, sample: Sample) -> None:
        self.config = sample.folder / "weaver.yaml"
        self.config.write_text(WEAVER_CONFIG)
        self.files = {"_": [str(file) for file in sample.files.values()]}

    def loader(self) -> Any:
        """One epoch of training batches."""
        from torch.utils.data import DataLoader  # noqa: PLC0415
        from weaver.utils.dataset import SimpleIterDataset  # noqa: PLC0415

        dataset = SimpleIterDataset(
            self.files, str(self.config), fetch_step=0.5, async_load=False, name="train"
        )
        return DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=0)

    def run(self, sample: Sample, out: Path) -> None:
        """Iterate once."""
        del sample, out
        for _ in self.loader():
            pass

    def totals(self) -> Totals:
        """Count and sum what the loader delivers."""
        events, objects, event = 0, np.zeros(len(FIELDS)), np.zeros(3)
        for inputs, _, _ in self.loader():
            events += len(inputs["event_features"])
            objects += inputs["jet_features"].double().sum(dim=(0, 2)).numpy()
            event += inputs["event_features"].double().sum(dim=0).numpy()
        return Totals.of(events, objects, event)


def totals_of_store(store: Path) -> Totals:
    """Count and sum what `by_package` wrote."""
    events = Store(store).events()
    objects = events.objects["jets"].values.sum(axis=0, dtype=np.float64)
    return Totals.of(len(events), objects, events.event.sum(axis=0, dtype=np.float64))


def totals_of_arrays(path: Path) -> Totals:
    """Count and sum what `by_hand` wrote."""
    with np.load(path) as arrays:
        objects = arrays["objects"].sum(axis=(0, 1), dtype=np.float64)
        event = arrays["event"]
        return Totals.of(len(event), objects, event.sum(axis=0, dtype=np.float64))


def check_equal(found: dict[str, Totals]) -> None:
    """All ways delivered the same events and, to float32 rounding, the same features."""
    (first, expected), *others = found.items()
    for name, totals in others:
        assert totals.events == expected.events, (
            f"{name} delivers {totals.events} events, {first} {expected.events}"
        )
        np.testing.assert_allclose(
            totals.means, expected.means, rtol=0, atol=2e-6, err_msg=f"{name} and {first}"
        )


def measure(sample: Sample, events: int, repeats: int, *, weaver: bool) -> None:
    """Run all ways in turn, check what they deliver, print rates and ratios."""
    ways: dict[str, Callable[[Sample, Path], None]] = {"prepare": by_package, "by hand": by_hand}
    loader = Weaver(sample)
    if weaver:
        ways[f"weaver-core {WEAVER}"] = loader.run
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory(dir=sample.folder) as name:
            store, arrays = Path(name, "store"), Path(name, "arrays.npz")
            for way, run in ways.items():
                started = time.perf_counter()
                run(sample, arrays if run is by_hand else store)
                rates[way].append(events / (time.perf_counter() - started))
            if repeat == 0:
                found = {"prepare": totals_of_store(store), "by hand": totals_of_arrays(arrays)}
                if weaver:
                    found["weaver-core"] = loader.totals()
                check_equal(found)
                print(f"  all deliver the same {found['prepare'].events:,} events and features")
    medians = {way: statistics.median(found) for way, found in rates.items()}
    for way, numbers in rates.items():
        ratio = (
            "" if way == "prepare" else f"  prepare is {medians['prepare'] / medians[way]:.2f} ×"
        )
        print(
            f"  {way:18s} {medians[way]:9,.0f} events/s per core "
            f"({min(numbers):,.0f} to {max(numbers):,.0f}){ratio}"
        )


def warm_up(*, weaver: bool) -> None:
    """Let every way import and compile what it does once, outside the measurement."""
    with tempfile.TemporaryDirectory() as name:
        sample = write_sample(Path(name), compression="none", events=1_000)
        by_package(sample, sample.folder / "store")
        by_hand(sample, sample.folder / "arrays.npz")
        if weaver:
            Weaver(sample).totals()


def weaver_is_usable() -> bool:
    """Whether the compared version is installed; says what to do if not."""
    if importlib.util.find_spec("weaver") is not None and version("weaver-core") == WEAVER:
        return True
    print(
        f"weaver-core is left out: install it with {sys.executable} -m pip install "
        f"--constraint constraints.txt weaver-core=={WEAVER}"
    )
    return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="in both files together")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--compression",
        nargs="+",
        choices=list(COMPRESSIONS),
        default=["none", "lzma"],
        help="of the ROOT files, one table each; lzma (level 9) is what central CMS NanoAOD has",
    )
    options = parser.parse_args()
    one_core()
    weaver = weaver_is_usable()
    for compression in options.compression:
        with tempfile.TemporaryDirectory() as folder:
            sample = write_sample(Path(folder), compression=compression, events=options.events)
            print(
                f"{options.events:,} events, compression {compression}: "
                f"{sample.bytes / 1e6:,.0f} MB, {options.repeats} repetitions",
                flush=True,
            )
            warm_up(weaver=weaver)
            measure(sample, options.events, options.repeats, weaver=weaver)


if __name__ == "__main__":
    main()
