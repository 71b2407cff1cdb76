"""Parquet files through pyarrow: one row per event, lists for collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.damage import unreadable
from particle_transformer.data.readers.protocol import Column, Generated
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ParquetReader"]


class ParquetReader:
    """One Parquet file; columns such as ``Jet_pt: list<float>`` or ``MET_pt: float``.

    The sums before any selection are read from the file's key-value metadata
    (``genEventCount``, ``genEventSumw``) where it has them.

    Raises
    ------
    InputFileError
        If the file cannot be read as Parquet.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            # Verified where the writer put checksums into the file.
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(path, "Parquet", error) from error
        self._rows: _Rows | None = None
        self.names = tuple(self._file.schema_arrow.names)
        self.entries = int(self._file.metadata.num_rows)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the columns `names` of the entries start <= i < stop.

        Calls for the same columns that follow one another through the file decode each row group
        once, however large it is; any other call starts at the row group that holds `start`.
        """
        if not names:
            return {}
        wanted = tuple(names)
        # Taken out while it is in use: after an error the next call starts afresh.
        rows, self._rows = self._rows, None
        try:
            if rows is None or (rows.names, rows.position) != (wanted, start):
                rows = _Rows(self._file, wanted, start)
            table = rows.take(stop - start)
            self._rows = rows
            return {
                name: to_column(ak.from_arrow(table.column(name)), name, self._path)
                for name in names
            }
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(self._path, "Parquet", error) from error

    def generated(self) -> Generated | None:
        """Sums before any selection from the file's metadata; None where there are none."""
        metadata = self._file.schema_arrow.metadata or {}
        if b"genEventSumw" not in metadata:
            return None
        try:
            return Generated(float(metadata[b"genEventCount"]), float(metadata[b"genEventSumw"]))
        except (KeyError, ValueError) as error:
            message = (
                f"{self._path}: its metadata gives genEventSumw but no readable genEventCount; "
                f"expected both as numbers"
            )
            raise InputFileError(message) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()


class _Rows:
    """Rows of some columns, decoded in order as they are asked for.

    A batch is kept only until its last row is taken: memory holds the rows asked for and one batch.
    """

    def __init__(self, file: pq.ParquetFile, names: tuple[str, ...], start: int) -> None:
        self.names = names
        metadata = file.metadata
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        firsts = np.cumsum([0, *counts])
        group = max(int(np.searchsorted(firsts, start, side="right")) - 1, 0)
        self._schema = pa.schema([file.schema_arrow.field(name) for name in names])
        self._batches: Iterator[pa.RecordBatch] = file.iter_batches(
            row_groups=list(range(group, len(counts))), columns=list(names)
        )
        self._rest: pa.RecordBatch | None = None
        self.position = int(firsts[group])
        self._skip(start - self.position)

    def take(self, rows: int) -> pa.Table:
        """The next `rows` rows, or as many as are left."""
        batches = list(self._next(rows))
        return pa.Table.from_batches(batches) if batches else self._schema.empty_table()

    def _skip(self, rows: int) -> None:
        for _ in self._next(rows):
            pass

    def _next(self, rows: int) -> Iterator[pa.RecordBatch]:
        while rows > 0:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                return
            part = batch.slice(0, rows)
            self._rest = batch.slice(rows) if batch.num_rows > rows else None
            self.position += part.num_rows
            rows -= part.num_rows
            yield part.select(list(self.names))
