"""Outputs with the scores alone: a friend tree, or a Parquet file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from particle_transformer.inference.predict.provenance import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FRIEND_TREE", "write_friend", "write_parquet"]

FRIEND_TREE = "scores"
"""The tree of a friend file; the input's has another name, so that ROOT tells them apart."""


def write_friend(
    path: Path,
    tables: Iterator[dict[str, NDArray[Any]]],
    provenance: dict[str, Any],
    *,
    parts: int,
) -> None:
    """Write a tree with a row for each entry of the input, in the input's order.

    Parameters
    ----------
    path
        The output.
    tables
        Its columns, part after part.
    provenance
        What the output says of itself.
    parts
        How many there are.
    """
    with uproot.recreate(path) as file:
        tree = None
        for columns in tables:
            if tree is None:
                types = {name: values.dtype for name, values in columns.items()}
                # One basket for each part; with less room the header is written anew.
                tree = file.mktree(FRIEND_TREE, types, initial_basket_capacity=max(parts, 1))
            if len(next(iter(columns.values()))):
                tree.extend(columns)
        file[KEY] = json.dumps(provenance)


def write_parquet(
    path: Path, tables: Iterator[dict[str, NDArray[Any]]], provenance: dict[str, Any]
) -> None:
    """Write a row for each entry of the input, in the input's order; equal scores, equal bytes."""
    writer = None
    try:
        for columns in tables:
            table = pa.table(columns).replace_schema_metadata({KEY: json.dumps(provenance)})
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, write_page_checksum=True)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
