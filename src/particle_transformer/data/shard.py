"""A shard: the events of one chunk as an Arrow file, which says itself how it came about.

Columns:

=====================  ==============================  ==========================================
``identity``           fixed_size_list<int64>          what the fold is hashed from
``event_weight``       float64                         times the manifest's normalisation: the
                                                       physics weight
``process``, ``era``   dictionary<string>              names of the analysis file
``file``, ``entry``    dictionary<string>, int64       input file, row there
``region.NAME``        uint8                           whether the event is in the region
``event``              fixed_size_list<float32>        event features
``spectators``         fixed_size_list<float32>        kept beside them (``event.spectators``)
``objects.NAME``       large_list<fixed_size_list      object features, the collection's columns
                       <float32>>                      in the manifest's order
``momenta.NAME``       large_list<fixed_size_list      px, py, pz, E in GeV, with pair_bias only
                       <float32>[4]>
``COLUMN@VARIATION``   as COLUMN                       what a side of a variation (``JES.up``)
                                                       changes; absent where it is nominal
=====================  ==============================  ==========================================

A row is an event that is in some region, nominally or in a variation; one with all ``region.NAME``
0 is in variations only. ``event`` and ``spectators`` are absent where they have no column;
``event@VARIATION`` and ``spectators@VARIATION`` hold the changed columns only, and which these are
stands in the chunk's record. The record is JSON under the key ``chunk`` of the schema's metadata.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from particle_transformer.data.cutflow import Cutflow, Row

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.data.chunk import Chunk, VariedColumns
    from particle_transformer.data.files import InputFile
    from particle_transformer.events import Ragged

__all__ = [
    "TABLES",
    "ShardRecord",
    "flat",
    "map_shard",
    "matrix",
    "record_of",
    "shard_bytes",
    "shard_name",
]

METADATA_KEY = b"chunk"

TABLES = ("event", "spectators")
"""The columns of the shard that hold one table of the events each."""


@dataclass(frozen=True)
class ShardRecord:
    """What a chunk has counted.

    Attributes
    ----------
    rows, events
        Events in the shard, and those of them in a nominal region.
    cutflow
        Raw number, Σw and Σw² by cut, not normalised.
    generator_sum
        Σ of the generator weights of all entries of the chunk.
    truncated, non_finite
        See `Chunk`.
    varied_columns
        Which columns ``event@VARIATION`` and ``spectators@VARIATION`` hold, by variation and by
        ``event`` or ``spectators``.
    """

    rows: int
    events: int
    cutflow: dict[str, list[float]]
    generator_sum: float
    truncated: dict[str, int]
    non_finite: dict[str, int]
    varied_columns: dict[str, dict[str, list[int]]]

    def sums(self) -> Cutflow:
        """The cutflow."""
        return Cutflow({cut: Row(int(row[0]), row[1], row[2]) for cut, row in self.cutflow.items()})


def shard_bytes(chunk: Chunk, file: InputFile) -> bytes:
    """The chunk as the content of an Arrow file; equal chunks give equal bytes."""
    events = chunk.events
    columns: dict[str, pa.Array] = {
        "identity": _fixed(events.identity),
        "event_weight": pa.array(events.weight),
        "process": _repeated(file.process, len(events)),
        "era": _repeated(file.era, len(events)),
        "file": _repeated(file.path, len(events)),
        "entry": pa.array(chunk.entry.astype(np.int64)),
    }
    for name, flags in events.regions.items():
        columns[f"region.{name}"] = pa.array(flags.view(np.uint8))
    for name in TABLES:
        if (values := getattr(events, name)).shape[1]:
            columns[name] = _fixed(values)
    for name, ragged in events.objects.items():
        columns |= _objects(name, ragged)
    for variation, changed in chunk.varied.items():
        columns |= _varied(variation, changed)
    inside = np.logical_or.reduce(list(events.regions.values()))
    record = ShardRecord(
        len(events),
        int(np.count_nonzero(inside)),
        {
            cut: [row.events, row.sum_of_weights, row.sum_of_squares]
            for cut, row in chunk.cutflow.rows.items()
        },
        chunk.generator_sum,
        dict(chunk.truncated),
        dict(chunk.non_finite),
        {
            variation: {
                name: sorted(columns) for name, columns in changed.tables.items() if columns
            }
            for variation, changed in chunk.varied.items()
            if any(changed.tables.values())
        },
    )
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(
        {METADATA_KEY: json.dumps(asdict(record))}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def record_of(schema: pa.Schema) -> ShardRecord:
    """The record in a shard's schema.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is no shard's.
    """
    return ShardRecord(**json.loads((schema.metadata or {})[METADATA_KEY]))


def shard_name(key: str) -> str:
    """The file name of the shard `key`."""
    return f"{key}.arrow"


def map_shard(path: Path) -> Any:
    """The rows of a shard as an Arrow record batch in mapped memory.

    Raises
    ------
    OSError, pyarrow.ArrowException
        If the file is missing, or is no whole Arrow file.
    """
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)


def flat(column: Any) -> NDArray[Any]:
    """A column of numbers: (rows,), sharing memory."""
    values: NDArray[Any] = column.to_numpy(zero_copy_only=True)
    return values


def matrix(column: Any) -> NDArray[Any]:
    """A fixed_size_list column: (rows, list size), sharing memory."""
    return flat(column.values).reshape(-1, column.type.list_size)


def _objects(name: str, ragged: Ragged, suffix: str = "") -> dict[str, pa.Array]:
    offsets = pa.array(ragged.offsets)
    lists = {f"objects.{name}{suffix}": ragged.values}
    if ragged.momenta is not None:
        lists[f"momenta.{name}{suffix}"] = ragged.momenta
    return {
        column: pa.LargeListArray.from_arrays(offsets, _fixed(values))
        for column, values in lists.items()
    }


def _varied(variation: str, changed: VariedColumns) -> dict[str, pa.Array]:
    suffix = f"@{variation}"
    columns: dict[str, pa.Array] = {}
    if changed.weight is not None:
        columns[f"event_weight{suffix}"] = pa.array(changed.weight)
    for name, flags in changed.regions.items():
        columns[f"region.{name}{suffix}"] = pa.array(flags.view(np.uint8))
    for name in TABLES:
        if table := changed.tables[name]:
            values = np.stack([table[column] for column in sorted(table)], axis=1)
            columns[f"{name}{suffix}"] = _fixed(values)
    for name, ragged in changed.objects.items():
        columns |= _objects(name, ragged, suffix)
    return columns


def _repeated(text: str, rows: int) -> pa.Array:
    # awkward reads dictionaries with indices of 32 bits, not of fewer.
    index = pa.array(np.zeros(rows, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(index, pa.array([text]))


def _fixed(matrix: NDArray[Any]) -> pa.Array:
    """(rows, width) → fixed_size_list[width] of `rows`."""
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
