"""The synthetic sample of the benchmarks, and the analysis file that describes it.

Two files, signal and background, in the form of CMS NanoAOD: about 6 jets per event (Poisson) with
6 branches; floats whose mantissa is cut to the bits that NanoAOD keeps (all of pt, 12 of η and φ,
10 of the rest), because that is what makes them compress; a basket per 10 000 events.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FIELDS = ("pt", "eta", "phi", "mass", "area", "btag")
MAX_JETS = 16
CLASSES = ("signal", "background")
COMPRESSIONS = {
    "none": None,
    "zlib": uproot.ZLIB(1),
    "zstd": uproot.ZSTD(5),
    "lzma": uproot.LZMA(9),  # as in the NanoAOD files that CMS produces centrally
}
EVENTS_PER_BASKET = 10_000
ANALYSIS = f"""
name: benchmark
source: {{event_number: event}}
luminosity: 1
processes:
  signal:     {{class: signal,     cross_section: 1, files: [signal.root]}}
  background: {{class: background, cross_section: 1, files: [background.root]}}
objects:
  jets:
    collection: Jet
    select: "pt > 30 and abs(eta) < 4.7"
    sort_by: pt
    max: {MAX_JETS}
    features: [log(pt), eta, "delta_phi(phi, met.phi)", "log(max(mass, 0.1))", area, btag]
event:
  define: {{met.pt: MET_pt, met.phi: MET_phi, ht: sum(jets.pt)}}
  select: met.pt > 30
  features: [log(met.pt), "log(max(ht, 1))", count(jets)]
weights: {{generator: genWeight}}
"""


@dataclass(frozen=True)
class Sample:
    """Where the sample lies.

    Attributes
    ----------
    folder
        Holds the files and the analysis file.
    analysis
        The analysis file.
    files
        A ROOT file for each of `CLASSES`.
    """

    folder: Path
    analysis: Path
    files: dict[str, Path]

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(file.stat().st_size for file in self.files.values())


def one_core() -> None:
    """Keep this process on one core, whatever libraries do."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def write_sample(
    folder: Path,
    *,
    compression: str,
    events: int | None = None,
    size: float | None = None,
) -> Sample:
    """Write both files, until they hold `events` events or `size` bytes together.

    Memory does not depend on the size: a basket is made, written and forgotten.
    """
    files = {name: folder / f"{name}.root" for name in CLASSES}
    for seed, file in enumerate(files.values()):
        limit = None if events is None else (events + seed) // 2
        _write_file(file, seed, compression, limit, None if size is None else size / 2)
    analysis = folder / "analysis.yaml"
    analysis.write_text(ANALYSIS)
    return Sample(folder, analysis, files)


def _write_file(
    path: Path, seed: int, compression: str, events: int | None, size: float | None
) -> None:
    rng = np.random.default_rng(seed)
    met_scale = 110 if seed == 0 else 80
    written = 0
    with uproot.recreate(path, compression=COMPRESSIONS[compression]) as file:
        while (events is None or written < events) and (size is None or path.stat().st_size < size):
            entries = EVENTS_PER_BASKET
            if events is not None:
                entries = min(entries, events - written)
            content = _events(rng, written, entries, met_scale)
            if not written:
                types = {
                    name: ak.type(array).content if name == "Jet" else array.dtype
                    for name, array in content.items()
                }
                file.mktree("Events", types)
            file["Events"].extend(content)
            written += entries


def _events(rng: np.random.Generator, first: int, entries: int, met_scale: float) -> dict[str, Any]:
    counts = rng.poisson(6, entries)
    objects = int(counts.sum())
    jets = {
        "pt": 20 + 60 * rng.standard_exponential(objects, dtype=np.float32),
        "eta": _cut(2 * rng.standard_normal(objects, dtype=np.float32), 12),
        "phi": _cut(_angle(rng, objects), 12),
        "mass": _cut(5 * rng.standard_gamma(2, objects, dtype=np.float32), 10),
        "area": _cut(0.5 + 0.03 * rng.standard_normal(objects, dtype=np.float32), 10),
        "btag": _cut(rng.random(objects, dtype=np.float32), 10),
    }
    return {
        "Jet": ak.zip({name: ak.unflatten(values, counts) for name, values in jets.items()}),
        "MET_pt": met_scale * rng.standard_exponential(entries, dtype=np.float32),
        "MET_phi": _cut(_angle(rng, entries), 12),
        "genWeight": np.ones(entries, dtype=np.float32),
        "event": np.arange(first, first + entries),
    }


def _angle(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    return np.float32(2 * np.pi) * rng.random(size, dtype=np.float32) - np.float32(np.pi)


def _cut(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Keep the upper `bits` of the 23 of the mantissa."""
    return (values.view(np.uint32) & np.uint32((0xFFFFFFFF << (23 - bits)) & 0xFFFFFFFF)).view(
        np.float32
    )
