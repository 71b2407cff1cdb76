"""Flipped bits and bytes: an error or the same counts, never a crash, a hang or a silent loss.

A loss is a result with fewer entries or objects than were written. Altered values are found only
where the format keeps a checksum: zlib streams and LZ4 blocks of TTree baskets, pages of Parquet
written with ``write_page_checksum``, chunks of HDF5 written with ``fletcher32``.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from helpers.files import JET_FIELDS, make_sample, write_parquet, write_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVENTS = 300
TIME_LIMIT = 30.0

# libhdf5 and pyarrow are native code: each file is read in another process, its memory limited.
WORKER = """
import hashlib, json, resource, sys, warnings
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
warnings.simplefilter("ignore")
from particle_transformer.data.readers import open_reader
from particle_transformer.errors import InputFileError
for line in sys.stdin:
    path, names = json.loads(line)
    answer = {}
    try:
        with open_reader(path, file_format=None, tree="Events") as reader:
            names = names or list(reader.names)
            columns = reader.read(names, 0, reader.entries)
            digest = hashlib.sha256()
            counts = {"entries": reader.entries}
            for name, column in columns.items():
                counts[name] = len(column.values)
                for part in (column.values, column.offsets):
                    if part is not None:
                        digest.update(str(part.dtype).encode() + part.tobytes())
            answer = {"names": names, "counts": counts, "digest": digest.hexdigest()}
    except InputFileError as error:
        answer = {"error": str(error)}
    except Exception as error:
        answer = {"escaped": repr(error)}
    print(json.dumps(answer), flush=True)
"""


class Worker:
    """A process that reads files; started again after each that it does not survive."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path, names: list[str] | None) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(path), names]) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(TIME_LIMIT)
        line = process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.stop()
        return {"ended": "crash" if ready else "hang"}

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.stop()


def write_ttree(path: Path) -> None:
    write_root(path, make_sample(1, EVENTS))


def write_rntuple(path: Path) -> None:
    sample = make_sample(1, EVENTS)
    with uproot.recreate(path) as file:
        file["Events"] = {
            **sample.flat,
            **{name: ak.zip(fields) for name, fields in sample.jagged.items()},
        }


def write_lists(path: Path) -> None:
    write_parquet(path, make_sample(1, EVENTS), row_group_size=100)


def write_checked_lists(path: Path) -> None:
    write_parquet(path, make_sample(1, EVENTS), row_group_size=100)
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=100, write_page_checksum=True)


def hdf5_writer(**options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        sample = make_sample(1, EVENTS)
        with h5py.File(path, "w") as file:
            for name, values in sample.flat.items():
                file.create_dataset(name, data=values, **options)
            jets = sample.jagged["Jet"]
            most = int(ak.max(ak.num(jets["pt"])))
            real = np.arange(most) < ak.to_numpy(ak.num(jets["pt"]))[:, None]
            file.create_dataset("Jet/MASK", data=real, **options)
            for name in JET_FIELDS:
                padded = ak.to_numpy(ak.fill_none(ak.pad_none(jets[name], most), 0))
                file.create_dataset(f"Jet/{name}", data=padded, **options)

    return write


FORMATS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "ROOT TTree": ("root", write_ttree),
    "ROOT RNTuple": ("root", write_rntuple),
    "Parquet": ("parquet", write_lists),
    "Parquet, page checksums": ("parquet", write_checked_lists),
    "HDF5": ("h5", hdf5_writer()),
    "HDF5, gzip": ("h5", hdf5_writer(compression="gzip")),
    "HDF5, gzip and fletcher32": ("h5", hdf5_writer(compression="gzip", fletcher32=True)),
}


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    """One bit or one byte changed, half of them in the first or last 2 kB, where metadata is."""
    place = int(random.integers(len(content)))
    if random.random() < 0.5:
        place = int(random.integers(2000)) * int(random.choice([1, -1]))
    changed = bytearray(content)
    if random.random() < 0.5:
        changed[place] ^= 1 << int(random.integers(8))
    else:
        changed[place] ^= int(random.integers(1, 256))
    return bytes(changed)


def is_even(counts: dict[str, int]) -> bool:
    """Whether the branches of each collection agree: others are refused where they meet."""
    return all(
        len({counts[key] for key in counts if key.startswith(f"{name}_") and key != "Jet_MASK"}) < 2
        for name in ("Jet", "Muon")
    )


def outcomes(name: str, folder: Path, worker: Worker, flips: int) -> tuple[Counter[str], list[str]]:
    suffix, write = FORMATS[name]
    path = folder / f"whole.{suffix}"
    write(path)
    content = path.read_bytes()
    truth = worker.read(path, None)
    random = np.random.default_rng(20)
    counts: Counter[str] = Counter()
    bad: list[str] = []
    damaged = folder / f"flipped.{suffix}"
    for flip in range(flips):
        damaged.write_bytes(flipped(content, random))
        answer = worker.read(damaged, truth["names"])
        if "error" in answer:
            kind = "error" if "\n" not in answer["error"] else "several lines"
        elif "counts" not in answer:
            kind = answer.get("ended", "escaped")
        elif any(answer["counts"][key] < truth["counts"][key] for key in truth["counts"]):
            kind = "loss" if is_even(answer["counts"]) else "uneven"
        else:
            kind = "same" if answer["digest"] == truth["digest"] else "altered"
        counts[kind] += 1
        if kind not in ("error", "same", "altered", "uneven"):
            bad.append(f"flip {flip}: {kind} {answer}")
    return counts, bad


@pytest.mark.parametrize("name", FORMATS)
def test_some_flips(name, tmp_path, worker):
    _, bad = outcomes(name, tmp_path, worker, 30)
    assert bad == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_flips(name, tmp_path, worker):
    counts, bad = outcomes(name, tmp_path, worker, 600)
    print(f"{name}: {dict(counts)}")
    assert bad == []
