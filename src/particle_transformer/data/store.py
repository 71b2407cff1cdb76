"""The prepared store: Arrow files, memory-mapped, with a manifest.

Layout of a store::

    STORE/
      manifest.json
      shards/00000.arrow …     one per chunk of an input file: a single record batch

Columns of a shard:

=====================  ==============================  ==========================================
``identity``           fixed_size_list<int64>          what the fold is hashed from
``event_weight``       float64                         times the manifest's normalisation: the
                                                       physics weight
``process``, ``era``   int16                           indices into the manifest's lists
``file``, ``entry``    int32, int64                    index into the manifest's inputs, row there
``region.NAME``        uint8                           whether the event is in the region
``event``              fixed_size_list<float32>        event features
``objects.NAME``       large_list<fixed_size_list      object features, the collection's columns
                       <float32>>                      in the manifest's order
``momenta.NAME``       large_list<fixed_size_list      px, py, pz, E in GeV, with pair_bias only
                       <float32>[4]>
=====================  ==============================  ==========================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from particle_transformer.data.manifest import Manifest, read_manifest
from particle_transformer.errors import InputFileError
from particle_transformer.events import Events, Ragged

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SHARDS", "Store", "write_shard"]

SHARDS = "shards"
"""Folder of the Arrow files in a store."""


def write_shard(path: Path, events: Events, *, file: int, entry: NDArray[np.int64]) -> None:
    """Write the events of one chunk; `Events.weight` is stored as ``event_weight``."""
    columns: dict[str, pa.Array] = {
        "identity": _fixed(events.identity),
        "event_weight": pa.array(events.weight),
        "process": pa.array(events.process),
        "era": pa.array(events.era),
        "file": pa.array(np.full(len(events), file, dtype=np.int32)),
        "entry": pa.array(entry.astype(np.int64)),
    }
    for name, flags in events.regions.items():
        columns[f"region.{name}"] = pa.array(flags.view(np.uint8))
    if events.event.shape[1]:
        columns["event"] = _fixed(events.event)
    for name, ragged in events.objects.items():
        offsets = pa.array(ragged.offsets)
        columns[f"objects.{name}"] = pa.LargeListArray.from_arrays(offsets, _fixed(ragged.values))
        if ragged.momenta is not None:
            columns[f"momenta.{name}"] = pa.LargeListArray.from_arrays(
                offsets, _fixed(ragged.momenta)
            )
    batch = pa.RecordBatch.from_pydict(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


class Store:
    """A complete prepared store.

    Parameters
    ----------
    path
        Its folder.

    Raises
    ------
    InputFileError
        If the folder is no store, is marked incomplete, or a shard is missing, truncated or
        unreadable. (Altered bytes inside a shard are not looked for.)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        if not self.manifest.complete:
            message = f"{path}: the store is marked incomplete; run aot prepare again to finish it"
            raise InputFileError(message)
        for shard in self.manifest.shards:
            found = self._batch(str(shard["name"])).num_rows
            if found != shard["events"]:
                message = (
                    f"{path}/{SHARDS}/{shard['name']}: holds {found} events, expected "
                    f"{shard['events']}; prepare the store anew"
                )
                raise InputFileError(message)

    def events(self) -> Events:
        """All events with their physics weights, in the order of inputs and entries."""
        return Events.concatenate([self.shard(n) for n in range(len(self.manifest.shards))])

    def shard(self, index: int, rows: NDArray[np.int64] | None = None) -> Events:
        """Events of one shard, with their physics weights.

        Parameters
        ----------
        index
            Which of the manifest's shards.
        rows
            int64 (selected,): which of its events, in that order, copied. None: all; then all
            columns but the weights are memory-mapped as long as an array of them is in use.
        """
        manifest = self.manifest
        events = self._shard(str(manifest.shards[index]["name"]))
        if not len(events):
            return events
        factor = manifest.normalisation[manifest.processes[events.process[0]]][
            manifest.eras[events.era[0]]
        ]
        if rows is not None:
            events = events.take(rows)
        return replace(events, weight=events.weight * factor)

    def origin(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Input file (index into the manifest's inputs) and entry of each event of `events`."""
        batches = [self._batch(str(shard["name"])) for shard in self.manifest.shards]
        files = np.concatenate([_flat(batch, "file") for batch in batches])
        entries = np.concatenate([_flat(batch, "entry") for batch in batches])
        return files, entries

    def _batch(self, name: str) -> Any:
        path = self.path / SHARDS / name
        try:
            return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (pa.ArrowException, OSError) as error:
            message = f"{path}: missing or damaged ({error}); prepare the store anew"
            raise InputFileError(message) from error

    def _shard(self, name: str) -> Events:
        batch = self._batch(name)
        objects = {}
        for collection, features in self.manifest.objects.items():
            listed = batch.column(f"objects.{collection}")
            momenta = None
            if f"momenta.{collection}" in batch.schema.names:
                momenta = _matrix(batch.column(f"momenta.{collection}").values, 4)
            objects[collection] = Ragged(
                _matrix(listed.values, len(features)),
                listed.offsets.to_numpy(zero_copy_only=True),
                momenta,
            )
        identity = batch.column("identity")
        event = np.empty((batch.num_rows, 0), dtype=np.float32)
        if self.manifest.event:
            event = _matrix(batch.column("event"), len(self.manifest.event))
        return Events(
            objects,
            event,
            _flat(batch, "event_weight"),
            _matrix(identity, identity.type.list_size),
            _flat(batch, "process"),
            _flat(batch, "era"),
            {name: _flat(batch, f"region.{name}").view(np.bool_) for name in self.manifest.regions},
        )


def _fixed(matrix: NDArray[Any]) -> pa.Array:
    """(rows, width) → fixed_size_list[width] of `rows`."""
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _matrix(listed: Any, width: int) -> NDArray[Any]:
    """fixed_size_list[width] → (rows, width), sharing memory."""
    matrix: NDArray[Any] = listed.values.to_numpy(zero_copy_only=True).reshape(-1, width)
    return matrix


def _flat(batch: Any, name: str) -> NDArray[Any]:
    column: NDArray[Any] = batch.column(name).to_numpy(zero_copy_only=True)
    return column
