"""The scores of chunks, kept until those of the whole file are there."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from particle_transformer.atomic import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.inference.entry_scores import EntryScores

__all__ = ["Counts", "Parts", "part_bytes"]

FOLDER = ".unfinished"
"""In the output folder, as long as some file is not finished."""

_KEY = b"counts"


@dataclass(frozen=True)
class Counts:
    """What is said of entries besides their scores; see `EntryScores`.

    Attributes
    ----------
    entries
        How many they are.
    selected, refused, truncated, non_finite
        As in `EntryScores`.
    """

    entries: int
    selected: int
    refused: int
    truncated: dict[str, int]
    non_finite: dict[str, int]

    def __add__(self, other: Counts) -> Counts:
        def added(one: dict[str, int], two: dict[str, int]) -> dict[str, int]:
            return {name: one.get(name, 0) + two.get(name, 0) for name in {**one, **two}}

        return Counts(
            self.entries + other.entries,
            self.selected + other.selected,
            self.refused + other.refused,
            added(self.truncated, other.truncated),
            added(self.non_finite, other.non_finite),
        )


def part_bytes(scores: EntryScores) -> bytes:
    """Scores of a chunk as the content of an Arrow file; equal scores give equal bytes."""
    columns = {**scores.identity, **scores.columns}
    counts = Counts(
        len(scores.nominal["fold"]),
        scores.selected,
        scores.refused,
        dict(scores.truncated),
        dict(scores.non_finite),
    )
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array(values) for name, values in columns.items()}
    ).replace_schema_metadata({_KEY: json.dumps(vars(counts))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


class Parts:
    """The parts of all unfinished files of an output folder.

    Parameters
    ----------
    out
        The output folder.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out / FOLDER

    def has(self, key: str) -> bool:
        """Whether a part is there, whole."""
        try:
            with pa.memory_map(str(self._path(key))) as source:
                return bool(pa.ipc.open_file(source).num_record_batches == 1)
        except (OSError, pa.ArrowException):
            return False

    def put(self, key: str, content: bytes) -> None:
        """Write a part, whole or not at all."""
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        with writing(self._folder.parent):
            self._folder.mkdir(exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())  # or a power cut may leave the name without the bytes
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def counts(self, keys: Sequence[str]) -> Counts:
        """The sums over parts."""
        total = Counts(0, 0, 0, {}, {})
        for key in keys:
            with pa.memory_map(str(self._path(key))) as source:
                total += Counts(**json.loads(pa.ipc.open_file(source).schema.metadata[_KEY]))
        return total

    def tables(self, keys: Iterable[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """The columns of parts, one part after the other: (entries,) by name."""
        for key in keys:
            with pa.memory_map(str(self._path(key))) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
                yield {
                    name: np.array(batch.column(name).to_numpy(zero_copy_only=False))
                    for name in batch.schema.names
                }

    def remove(self, keys: Iterable[str]) -> None:
        """Remove the parts of a file that is finished."""
        with writing(self._folder.parent):
            for key in keys:
                self._path(key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything that is left: parts of other options, or half written ones."""
        if self._folder.is_dir():
            with writing(self._folder.parent):
                for path in self._folder.iterdir():
                    path.unlink()
                self._folder.rmdir()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.arrow"
