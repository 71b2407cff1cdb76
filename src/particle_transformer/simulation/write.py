"""Columns to ROOT and Parquet, and chunks to the work folder; every file appears whole or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from particle_transformer.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "COLLECTIONS",
    "joined_columns",
    "load_columns",
    "save_columns",
    "write_parquet",
    "write_root",
]

COLLECTIONS = ("Jet", "Electron", "Muon")


def save_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write a chunk's columns; the file appears whole or not at all."""
    with replacing(path) as temporary:
        np.savez(temporary, **columns)  # type: ignore[arg-type]


def load_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `save_columns` wrote."""
    with np.load(path) as stored:
        return dict(stored)


def joined_columns(paths: Sequence[Path], events: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Read chunks end to end, at least `events` events at a time, so that few are in memory.

    Parameters
    ----------
    paths
        What `save_columns` wrote, at least one.
    events
        Events after which a piece ends, with the chunk that reaches it.
    """
    gathered: list[dict[str, NDArray[Any]]] = []
    for number, path in enumerate(paths, start=1):
        gathered.append(load_columns(path))
        if number == len(paths) or sum(len(part["event"]) for part in gathered) >= events:
            yield {name: np.concatenate([part[name] for part in gathered]) for name in gathered[0]}
            gathered = []


def write_parquet(
    path: Path, parts: Iterable[Mapping[str, NDArray[Any]]], runs: Mapping[str, Any]
) -> None:
    """Write the events, and `runs` as the file's metadata. Equal parts give equal bytes.

    Parameters
    ----------
    path
        Where to.
    parts
        The events piece by piece, at least one, each a row group: columns by NanoAOD name, with one
        value per event, or one per object where the name begins with a collection's, whose
        ``n<Collection>`` says how many an event has.
    runs
        ``run``, ``genEventCount`` and ``genEventSumw`` over all generated events.
    """
    # repr gives the shortest text from which the same number can be read.
    metadata = {name: repr(value) for name, value in runs.items()}
    tables = (pa.table(_parquet_arrays(columns)) for columns in parts)
    first = next(tables).replace_schema_metadata(metadata)
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer,
    ):
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.replace_schema_metadata(metadata))


def _parquet_arrays(columns: Mapping[str, NDArray[Any]]) -> dict[str, pa.Array]:
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        collection = _collection(name)
        if collection is None:
            arrays[name] = pa.array(values)
        else:
            offsets = np.concatenate([[0], np.cumsum(columns[f"n{collection}"])]).astype(np.int32)
            arrays[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    return arrays


def write_root(
    path: Path, parts: Iterable[Mapping[str, NDArray[Any]]], runs: Mapping[str, Any]
) -> None:
    """Write the events as the TTree ``Events``, and `runs` as ``Runs``; see `write_parquet`.

    Each piece is a basket of every branch. The arrays of a collection share its counter, as in
    NanoAOD.
    """
    pieces = (_root_branches(columns) for columns in parts)
    first = next(pieces)
    types: dict[str, Any] = {
        name: values.dtype if isinstance(values, np.ndarray) else values.type
        for name, values in first.items()
    }
    with replacing(path) as temporary, uproot.recreate(temporary) as file:
        tree = file.mktree("Events", types, title="Events")
        tree.extend(first)
        for branches in pieces:
            tree.extend(branches)
        run: dict[str, NDArray[Any]] = {
            "run": np.array([runs["run"]], np.uint32),
            "genEventCount": np.array([runs["genEventCount"]], np.int64),
            "genEventSumw": np.array([runs["genEventSumw"]], np.float64),
        }
        file.mktree("Runs", {name: values.dtype for name, values in run.items()}).extend(run)


def _root_branches(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    branches: dict[str, Any] = {
        name: values
        for name, values in columns.items()
        if _collection(name) is None and name.removeprefix("n") not in COLLECTIONS
    }
    for collection in COLLECTIONS:
        fields = {
            name.removeprefix(f"{collection}_"): ak.unflatten(values, columns[f"n{collection}"])
            for name, values in columns.items()
            if _collection(name) == collection
        }
        if fields:
            branches[collection] = ak.zip(fields)
    return branches


def _collection(name: str) -> str | None:
    """The collection that a column belongs to."""
    prefix, separator, _ = name.partition("_")
    return prefix if separator and prefix in COLLECTIONS else None
