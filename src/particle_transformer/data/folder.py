"""The folder of a store while it is written: shards one by one, the manifest last.

A shard's name says what it was made from, and files appear whole or not at all. So a preparation
that was killed leaves the older store as it was, beside it finished shards, and the next one goes
on from there; one that changes little makes little anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from particle_transformer.atomic import writing
from particle_transformer.data.manifest import NAME, read_manifest
from particle_transformer.data.shard import ShardRecord, map_shard, record_of, shard_name
from particle_transformer.data.store import SHARDS
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.locks import LOCK, held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["StoreFolder", "check_place", "has_leftovers", "locked"]

_TEMPORARY = r"\.[0-9a-f]{8}\.tmp"
_SHARD = re.compile(rf"[0-9a-f]{{32}}\.arrow({_TEMPORARY})?")
_UNFINISHED = re.compile(rf".+{_TEMPORARY}")


def check_place(out: Path) -> None:
    """Refuse a place that holds something else than a store: nobody else's file is deleted.

    Raises
    ------
    OutputError
        If `out` is a folder with anything that no store has.
    """
    if not out.exists():
        return
    content = set(os.listdir(out))  # noqa: PTH208 (names alone)
    own = {NAME, SHARDS, LOCK} | {name for name in content if _is_unfinished_manifest(name)}
    other = sorted(content - own)
    if not other and (out / SHARDS).is_dir():
        other = [f"{SHARDS}/{name}" for name in _names(out / SHARDS) if not _SHARD.fullmatch(name)]
    if other or (NAME in content and SHARDS not in content):
        found = f"it holds {other[0]}" if other else f"no {SHARDS}"
        message = f"{out}: exists and is not a prepared store ({found}); give --out another place"
        raise OutputError(message)


def has_leftovers(out: Path) -> bool:
    """Whether the whole store `out` holds what a killed program had no time to remove.

    Not where this program may not write: then it is not its own to clean.
    """
    wanted = {entry.name for entry in read_manifest(out).shards}
    left = {*_names(out)} - {NAME, SHARDS} or {*_names(out / SHARDS)} - wanted
    return bool(left) and os.access(out, os.W_OK) and os.access(out / SHARDS, os.W_OK)


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208 (names alone)


def _is_unfinished_manifest(name: str) -> bool:
    return name.startswith(NAME) and _UNFINISHED.fullmatch(name) is not None


@contextmanager
def locked(out: Path) -> Iterator[StoreFolder]:
    """Make the folder of a store, and keep other programs from writing it meanwhile.

    At the end of a failure, folders that were made for it and are still empty go.

    Raises
    ------
    OutputError
        If another program is writing it, or it cannot be written.
    """
    missing = [path for path in (out, *out.parents) if not path.exists()]
    try:
        with writing(out):
            (out / SHARDS).mkdir(parents=True, exist_ok=True)
        with held(out, f"{out}: another aot prepare is writing this store; wait for it"):
            store = StoreFolder(out)
            store.remove_unfinished()
            yield store
    finally:
        if not (out / NAME).exists():
            for folder in (out / SHARDS, *missing):
                with contextlib.suppress(OSError):  # it holds something, or was never made
                    folder.rmdir()


class StoreFolder:
    """A store being written.

    Parameters
    ----------
    path
        Its folder, with the folder of shards in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shards = path / SHARDS
        try:
            known = read_manifest(path).shards
        except InputFileError:
            known = []  # the first preparation of this store, or none that can be used
        self._checksums = {entry.name: entry.sha256 for entry in known}

    def find(self, key: str) -> tuple[ShardRecord, str] | None:
        """Record and SHA-256 of the shard `key`.

        None where it is not there, not whole, or altered since the manifest was written.
        """
        path = self._shards / shard_name(key)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                record = record_of(reader.schema)
                whole = reader.get_batch(0).num_rows == record.rows
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None  # it is made anew
        unaltered = self._checksums.get(path.name, digest) == digest
        return (record, digest) if whole and unaltered else None

    def put(self, key: str, content: bytes) -> tuple[ShardRecord, str]:
        """Write a shard; gives its record and SHA-256."""
        path = self._shards / shard_name(key)
        self._write(path, content)
        record = record_of(pa.ipc.open_file(pa.BufferReader(content)).schema)
        return record, hashlib.sha256(content).hexdigest()

    def rows(self, key: str) -> Any:
        """The rows of a shard that is there, as an Arrow record batch."""
        return map_shard(self._shards / shard_name(key))

    def commit(self, manifest: str, keep: Iterable[str] | None) -> None:
        """Write the manifest, which makes the store, and remove all shards but `keep`.

        None keeps them all.
        """
        self._write(self._path / NAME, manifest.encode())
        if keep is not None:
            self._keep({shard_name(key) for key in keep})

    def remove_unused(self) -> None:
        """Remove all shards that the manifest does not name."""
        self._keep({entry.name for entry in read_manifest(self._path).shards})

    def remove_unfinished(self) -> None:
        """Remove what a killed program has left half written."""
        with writing(self._path):
            for folder in (self._path, self._shards):
                for path in folder.iterdir():
                    if _UNFINISHED.fullmatch(path.name):
                        path.unlink(missing_ok=True)

    def _keep(self, wanted: set[str]) -> None:
        with writing(self._path):
            for path in self._shards.iterdir():
                if path.name not in wanted:
                    path.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        with writing(self._path):
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())  # or a power cut may leave the name without the bytes
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
