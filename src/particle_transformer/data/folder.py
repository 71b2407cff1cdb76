"""The folder of a store while it is written: shards one by one, the manifest last.

A shard's name says what it was made from, and files appear whole or not at all. So a preparation
that was killed leaves the older store as it was, beside it finished shards, and the next one goes
on from there; one that changes little makes little anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from particle_transformer.data.manifest import NAME
from particle_transformer.data.shard import ShardRecord, record_of
from particle_transformer.data.store import SHARDS
from particle_transformer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["StoreFolder", "check_place", "locked"]

LOCK = ".lock"
TEMPORARY = ".tmp"


def check_place(out: Path) -> None:
    """Refuse a place that holds something else than a store: nobody else's file is deleted.

    Raises
    ------
    OutputError
        If `out` is a file, or a folder with anything that no store has.
    """
    if not out.exists():
        return
    if not out.is_dir():
        message = f"{out}: exists and is not a folder; give --out another place"
        raise OutputError(message)
    content = {path.name for path in out.iterdir()}
    other = sorted(content - {NAME, SHARDS, LOCK})
    if other or (NAME in content and SHARDS not in content):
        found = f"it holds {other[0]}" if other else f"no {SHARDS}"
        message = f"{out}: exists and is not a prepared store ({found}); give --out another place"
        raise OutputError(message)


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
        (out / SHARDS).mkdir(parents=True, exist_ok=True)
        with _locked_file(out):
            yield StoreFolder(out)
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
    finally:
        if not (out / NAME).exists():
            for folder in (out / SHARDS, *missing):
                with contextlib.suppress(OSError):  # it holds something, or was never made
                    folder.rmdir()


@contextmanager
def _locked_file(out: Path) -> Iterator[None]:
    # The lock goes with the process that holds it, however that ends.
    path = out / LOCK
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = f"{out}: another aot prepare is writing this store; wait for it"
                raise OutputError(message) from error
            if not _is_file_at(file.fileno(), path):
                continue  # its last holder removed it between opening and locking
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


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
        self._written: list[Path] = []

    def find(self, key: str) -> tuple[ShardRecord, str] | None:
        """Record and SHA-256 of the shard `key`; None where it is not there, or not whole."""
        path = self._shards / _name(key)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                record = record_of(reader.schema)
                whole = reader.get_batch(0).num_rows == record.rows
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None  # it is made anew
        return (record, digest) if whole else None

    def put(self, key: str, content: bytes) -> tuple[ShardRecord, str]:
        """Write a shard; gives its record and SHA-256."""
        path = self._shards / _name(key)
        self._write(path, content)
        self._written.append(path)
        record = record_of(pa.ipc.open_file(pa.BufferReader(content)).schema)
        return record, hashlib.sha256(content).hexdigest()

    def commit(self, manifest: str, keep: Iterable[str] | None) -> None:
        """Write the manifest, which makes the store, and remove all shards but `keep`.

        None keeps them all.
        """
        self._write(self._path / NAME, manifest.encode())
        if keep is not None:
            wanted = {_name(key) for key in keep}
            for path in self._shards.iterdir():
                if path.name not in wanted:
                    path.unlink()

    def discard(self) -> None:
        """Remove the shards that were written here, and what a killed program has left half."""
        for path in [*self._written, *self._shards.glob(f"*{TEMPORARY}")]:
            path.unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _name(key: str) -> str:
    return f"{key}.arrow"
