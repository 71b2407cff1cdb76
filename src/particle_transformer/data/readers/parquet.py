"""Parquet files through pyarrow: one row per event, lists for collections."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.damage import damaged, no_branch, unreadable
from particle_transformer.data.readers.protocol import Column, Generated
from particle_transformer.data.readers.remote import local_or_remote
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ParquetReader"]


class ParquetReader:
    """One Parquet file; columns such as ``Jet_pt: list<float>`` or ``MET_pt: float``.

    A column ``Jet: list<struct<pt, eta>>`` gives ``Jet_pt`` and ``Jet_eta``, a column
    ``MET: struct<pt, phi>`` ``MET_pt`` and ``MET_phi``; only the leaves asked for are decoded.

    The sums before any selection are read from the file's key-value metadata
    (``genEventCount``, ``genEventSumw``) where it has them.

    Raises
    ------
    InputFileError
        If the file cannot be read as Parquet, or its counts of rows do not agree.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with ExitStack() as stack:
            source = stack.enter_context(local_or_remote(path, "Parquet"))
            try:
                # Verified where the writer put checksums into the file.
                self._file = pq.ParquetFile(source, page_checksum_verification=True)
                stack.callback(self._file.close)
                self._leaves = _leaves(self._file)
                self._check_counts()
            except InputFileError:
                raise
            except Exception as error:  # damaged metadata need not be what pyarrow expects
                raise unreadable(path, "Parquet", error) from error
            self._rows: _Rows | None = None
            self.names = tuple(self._leaves)
            self.entries = int(self._file.metadata.num_rows)
            self._open = stack.pop_all()

    def _check_counts(self) -> None:
        """The file and its row groups must state the same number of rows.

        The columns' own counts are left to the decoder: pyarrow ends the process where the
        metadata of a column is damaged and Python asks for it.
        """
        metadata = self._file.metadata
        groups = range(metadata.num_row_groups)
        total = sum(metadata.row_group(group).num_rows for group in groups)
        if (
            total != metadata.num_rows
            or min((metadata.row_group(group).num_rows for group in groups), default=0) < 0
        ):
            found = f"the file says {metadata.num_rows} rows, its row groups hold {total}"
            raise damaged(self._path, found)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the columns `names` of the entries start <= i < stop.

        Calls for the same columns that follow one another through the file decode each row group
        once, however large it is; any other call starts at the row group that holds `start`.
        """
        if not names:
            return {}
        for name in names:
            if name not in self._leaves:
                raise no_branch(self._path, name, self.names, {})
        wanted = tuple(names)
        # Taken out while it is in use: after an error the next call starts afresh.
        rows, self._rows = self._rows, None
        try:
            if rows is None or (rows.names, rows.position) != (wanted, start):
                paths = [path for name in wanted for path in self._leaves[name][1]]
                rows = _Rows(self._file, wanted, paths, start)
            table = rows.take(stop - start)
            # Offsets and lengths of every buffer, before anything follows them.
            table.validate(full=True)
            self._rows = rows
            columns = {
                name: to_column(
                    ak.from_arrow(_leaf(table, self._leaves[name][0])), name, self._path
                )
                for name in names
            }
        except InputFileError:
            raise
        except Exception as error:
            raise unreadable(self._path, "Parquet", error) from error
        if table.num_rows != stop - start:
            found = f"it has {table.num_rows} rows between {start} and {stop}"
            raise damaged(self._path, found)
        return columns

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
        self._open.close()


def _leaves(file: pq.ParquetFile) -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """By branch: its column and, if it is in a record, field, and the leaves to decode."""
    paths = [file.schema.column(leaf).path for leaf in range(len(file.schema))]
    found: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    position = 0
    for column in file.schema_arrow:
        for steps, leaves in _branches(column):
            found.setdefault("_".join(steps), (steps, paths[position : position + leaves]))
            position += leaves
    return found


def _branches(column: pa.Field) -> list[tuple[tuple[str, ...], int]]:
    kind = column.type
    if _is_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return [((column.name, field.name), _count(field.type)) for field in kind]
    return [((column.name,), _count(column.type))]


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _count(kind: pa.DataType) -> int:
    """How many leaves a type has."""
    if kind.num_fields == 0 or pa.types.is_dictionary(kind):
        return 1
    return sum(_count(kind.field(index).type) for index in range(kind.num_fields))


def _leaf(table: pa.Table, steps: tuple[str, ...]) -> Any:
    column = table.column(steps[0])
    if len(steps) == 1:
        return column
    parts = [_field(chunk, steps[1]) for chunk in column.chunks]
    kind = parts[0].type if parts else _field(pa.array([], column.type), steps[1]).type
    return pa.chunked_array(parts, type=kind)


def _field(array: pa.Array, field: str) -> pa.Array:
    """One field of a record, or of a list of records; a missing record stays missing."""
    if pa.types.is_struct(array.type):
        return pc.struct_field(array, field)
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_field))
    kind = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    mask = array.is_null() if array.null_count else None
    offsets = array.offsets
    if mask is not None and array.offset:
        offsets, mask = pa.concat_arrays([offsets]), pa.concat_arrays([mask])
    return kind.from_arrays(offsets, pc.struct_field(array.values, field), mask=mask)


class _Rows:
    """Rows of some columns, decoded in order as they are asked for.

    A batch is kept only until its last row is taken: memory holds the rows asked for and one batch.
    """

    def __init__(
        self, file: pq.ParquetFile, names: tuple[str, ...], paths: list[str], start: int
    ) -> None:
        self.names = names
        metadata = file.metadata
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        firsts = np.cumsum([0, *counts])
        group = max(int(np.searchsorted(firsts, start, side="right")) - 1, 0)
        self._file, self._paths = file, paths
        self._batches: Iterator[pa.RecordBatch] = file.iter_batches(
            row_groups=list(range(group, len(counts))), columns=paths
        )
        self._rest: pa.RecordBatch | None = None
        self.position = int(firsts[group])
        self._skip(start - self.position)

    def take(self, rows: int) -> pa.Table:
        """The next `rows` rows, or as many as are left."""
        batches = list(self._next(rows))
        if batches:
            return pa.Table.from_batches(batches)
        # No row group at all: the empty table with the types of the leaves.
        return self._file.read_row_groups([], columns=self._paths)

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
            yield part
