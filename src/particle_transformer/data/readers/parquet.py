"""Parquet files through pyarrow: one row per event, lists for collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.protocol import Column, Generated
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            raise _unreadable(path, error) from error
        self.names = tuple(self._file.schema_arrow.names)
        self.entries = int(self._file.metadata.num_rows)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the columns `names` of the entries start <= i < stop."""
        metadata = self._file.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        ends = np.cumsum([0, *rows])
        groups = [
            group for group in range(len(rows)) if ends[group] < stop and ends[group + 1] > start
        ]
        try:
            table = self._file.read_row_groups(groups, columns=list(names))
            first = ends[groups[0]] if groups else 0
            table = table.slice(start - first, stop - start)
            return {
                name: to_column(ak.from_arrow(table.column(name)), name, self._path)
                for name in names
            }
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(self._path, error) from error

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


def _unreadable(path: str, error: Exception) -> InputFileError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return InputFileError(
        f"{path}: cannot be read as a Parquet file, it is empty, truncated or damaged ({reason})"
    )
