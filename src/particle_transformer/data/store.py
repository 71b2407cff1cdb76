"""The prepared store: Arrow files, memory-mapped, with a manifest.

Layout of a store::

    STORE/
      manifest.json
      shards/KEY.arrow …       one per chunk of an input file; KEY says what it was made from

`particle_transformer.data.shard` describes the columns of a shard.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from particle_transformer.data.manifest import Manifest, ShardEntry, read_manifest
from particle_transformer.data.shard import TABLES, flat, map_shard, matrix, record_of
from particle_transformer.errors import InputFileError, nearest
from particle_transformer.events import Events, Ragged

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SHARDS", "Store"]

SHARDS = "shards"
"""Folder of the Arrow files in a store."""


class Store:
    """A complete prepared store.

    Parameters
    ----------
    path
        Its folder.

    Raises
    ------
    InputFileError
        If the folder is no store, is marked incomplete, or a shard is missing or truncated.
        (`verify` looks for altered bytes.)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        if not self.manifest.complete:
            failed, count = self.manifest.failed[0], len(self.manifest.failed)
            missing = "1 chunk is missing" if count == 1 else f"{count} chunks are missing"
            message = (
                f"{path}: the store is marked incomplete, {missing} (the first is {failed.path}, entries {failed.start} to {failed.stop}: "
                f"{failed.error}); mend the file and run aot prepare again, or leave the file out "
                f"with exclude under its process"
            )
            raise InputFileError(message)
        for entry in self.manifest.shards:
            found = self._batch(entry).num_rows
            if found != entry.rows:
                message = (
                    f"{self._file(entry)}: holds {found} events, expected {entry.rows}; prepare "
                    f"the store anew"
                )
                raise InputFileError(message)
        self._nominal = [entry for entry in self.manifest.shards if not self._variation(entry)]

    def verify(self) -> None:
        """Check every byte of the shards against the checksums in the manifest.

        Raises
        ------
        InputFileError
            If a shard has changed.
        """
        for entry in self.manifest.shards:
            try:
                with self._file(entry).open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                message = f"{self._file(entry)}: missing or damaged ({error}); prepare anew"
                raise InputFileError(message) from error
            if found != entry.sha256:
                message = (
                    f"{self._file(entry)}: its content has changed since it was prepared "
                    f"(checksum {found[:12]}, expected {entry.sha256[:12]}); delete it and run "
                    f"aot prepare again"
                )
                raise InputFileError(message)

    @property
    def rows(self) -> NDArray[np.int64]:
        """int64 (shards,): rows of each shard of the nominal files."""
        return np.array([entry.rows for entry in self._nominal], dtype=np.int64)

    def shard(self, index: int, rows: NDArray[np.int64] | None = None) -> Events:
        """Rows of one shard of the nominal files, with their physics weights.

        Rows that are in variations only have all region flags False.

        Parameters
        ----------
        index
            Which of the shards that `rows` counts.
        rows
            int64 (selected,): which of its rows, in that order, copied. None: all; then all
            columns but weights, processes and eras are memory-mapped as long as an array of them
            is in use.
        """
        return self._read(self._nominal[index], rows)

    def events(self, variation: str | None = None) -> Events:
        """Events with their physics weights, in the order of inputs and entries.

        Parameters
        ----------
        variation
            A side of a variation (``JES.up``): the events that are in a region then, with their
            varied columns; data is the nominal. None: the nominal events.

        Raises
        ------
        InputFileError
            If the store has no such variation.
        """
        return Events.concatenate([events for _, events in self._chosen(variation)])

    def origin(self, variation: str | None = None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Input file (index into the manifest's inputs) and entry of each event of `events`."""
        files, entries = [], []
        for entry, _ in self._chosen(variation):
            inside = self._inside(self._read(entry, None, variation))
            entries.append(flat(self._batch(entry).column("entry"))[inside])
            files.append(np.full(len(entries[-1]), entry.input, dtype=np.int32))
        return np.concatenate(files), np.concatenate(entries)

    def _chosen(self, variation: str | None) -> list[tuple[ShardEntry, Events]]:
        """The shards of a variation, and their events in a region."""
        manifest = self.manifest
        if variation is not None and variation not in manifest.variations:
            message = f"{self.path}: no variation {variation!r}; "
            raise InputFileError(message + nearest(variation, manifest.variations))
        replaced = {
            (record.process, record.era)
            for record in manifest.inputs
            if variation is not None and record.variation == variation
        }
        chosen = []
        for entry in manifest.shards:
            record = manifest.inputs[entry.input]
            own = variation or "" if (record.process, record.era) in replaced else ""
            if record.variation == own:
                events = self._read(entry, None, variation)
                inside = self._inside(events)
                whole = len(inside) == len(events)
                chosen.append((entry, events if whole else events.take(inside)))
        return chosen

    @staticmethod
    def _inside(events: Events) -> NDArray[np.int64]:
        return np.flatnonzero(np.logical_or.reduce(list(events.regions.values())))

    def _variation(self, entry: ShardEntry) -> str:
        return self.manifest.inputs[entry.input].variation

    def _file(self, entry: ShardEntry) -> Path:
        return self.path / SHARDS / entry.name

    def _batch(self, entry: ShardEntry) -> Any:
        path = self._file(entry)
        try:
            return map_shard(path)
        except (pa.ArrowException, OSError) as error:
            message = f"{path}: missing or damaged ({error}); prepare the store anew"
            raise InputFileError(message) from error

    def _read(
        self, entry: ShardEntry, rows: NDArray[np.int64] | None, variation: str | None = None
    ) -> Events:
        manifest = self.manifest
        batch = self._batch(entry)
        record = manifest.inputs[entry.input]
        suffix = "" if variation is None else f"@{variation}"
        columns = set(batch.schema.names)

        def column(name: str) -> Any:
            varied = name + suffix
            return batch.column(varied if varied in columns else name)

        objects = {}
        for collection in manifest.objects:
            listed = column(f"objects.{collection}")
            momenta = None
            if f"momenta.{collection}" in columns:
                momenta = matrix(column(f"momenta.{collection}").values)
            objects[collection] = Ragged(
                matrix(listed.values),
                flat(listed.offsets),
                momenta,
            )
        tables = {}
        for name in TABLES:
            table = np.empty((batch.num_rows, 0), dtype=np.float32)
            if name in columns:
                table = matrix(batch.column(name))
            if variation is not None and f"{name}{suffix}" in columns:
                changed = record_of(batch.schema).varied_columns[variation][name]
                table = table.copy()
                table[:, changed] = matrix(batch.column(f"{name}{suffix}"))
            tables[name] = table
        process, era = manifest.processes.index(record.process), manifest.eras.index(record.era)
        events = Events(
            objects,
            **tables,
            weight=flat(column("event_weight")),
            identity=matrix(batch.column("identity")),
            process=np.full(batch.num_rows, process, dtype=np.int16),
            era=np.full(batch.num_rows, era, dtype=np.int16),
            regions={
                name: flat(column(f"region.{name}")).view(np.bool_) for name in manifest.regions
            },
        )
        factors = manifest.normalisation
        if record.variation:
            factors = manifest.varied_normalisation[record.variation]
        if rows is not None:
            events = events.take(rows)
        return replace(events, weight=events.weight * factors[record.process][record.era])
