"""HDF5 files through h5py: padded arrays with masks, flat datasets, tables of events."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from particle_transformer.data.readers.damage import damaged, no_branch, unreadable
from particle_transformer.data.readers.protocol import Column
from particle_transformer.data.readers.remote import local_or_remote
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.data.readers.protocol import Generated

__all__ = ["Hdf5Reader"]

_TABLE = "events"


@dataclass(frozen=True)
class _Branch:
    dataset: h5py.Dataset
    mask: h5py.Dataset | None = None
    field: str | None = None


class Hdf5Reader:
    """One HDF5 file.

    A dataset's branch is named by its path with ``_`` for ``/`` (``INPUTS/Source/pt`` is
    ``INPUTS_Source_pt``). A dataset (events,) holds one number per event; one (events, n) holds a
    list per event: what the dataset ``MASK`` (events, n) of its group says is real, or everything
    where the group has none. The columns of a table ``events`` are branches by their own names.

    Raises
    ------
    InputFileError
        If the file cannot be read as HDF5, or does not say how many events it has.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with ExitStack() as stack:
            source = stack.enter_context(local_or_remote(path, "HDF5"))
            try:
                file = stack.enter_context(h5py.File(source, "r"))
                datasets = dict(_datasets(file))
                self._unusable: dict[str, str] = {}
                numeric = self._numeric(datasets)
                self.entries = self._count(numeric)
                self._branches = self._offered(numeric)
            except InputFileError:
                raise
            except Exception as error:  # h5py raises whatever libhdf5 reports
                raise unreadable(path, "HDF5", error) from error
            self.names = tuple(self._branches)
            self._open = stack.pop_all()

    def _numeric(self, datasets: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
        """The datasets (events,) and (events, n) of numbers, and the table."""
        numeric = {}
        for key, dataset in datasets.items():
            if key == _TABLE and dataset.dtype.names is not None and dataset.ndim == 1:
                numeric[key] = dataset
            elif dataset.dtype.kind not in "biuf":
                self._unusable[_name(key)] = _type(dataset.dtype)
            elif dataset.ndim not in (1, 2):
                self._unusable[_name(key)] = f"an array of shape {dataset.shape}"
            else:
                numeric[key] = dataset
        return numeric

    def _count(self, numeric: Mapping[str, h5py.Dataset]) -> int:
        """The number of events: the length that most datasets have."""
        lengths = Counter(int(dataset.shape[0]) for dataset in numeric.values())
        if not lengths:
            message = f"{self._path}: no dataset of numbers in this file"
            raise InputFileError(message)
        (entries, most), *others = lengths.most_common()
        if others and others[0][1] == most:
            message = (
                f"{self._path}: as many datasets have {entries} rows as have {others[0][0]}; "
                f"expected one length, the number of events, in most of them"
            )
            raise InputFileError(message)
        return entries

    def _offered(self, numeric: Mapping[str, h5py.Dataset]) -> dict[str, _Branch]:
        # Also a mask that cannot be one stands for its group: reading says what is wrong.
        masks = {
            key.rpartition("/")[0]: dataset
            for key, dataset in numeric.items()
            if key.rpartition("/")[2].lower() == "mask"
        }
        branches: dict[str, _Branch] = {}
        for key, dataset in numeric.items():
            name = _name(key)
            if dataset.shape[0] != self.entries:
                self._unusable[name] = f"{dataset.shape[0]} rows where most have {self.entries}"
                continue
            if dataset.dtype.names is not None:
                for field in dataset.dtype.names:
                    self._add(branches, field, _Branch(dataset, field=field))
                continue
            mask = masks.get(key.rpartition("/")[0])
            is_padded = dataset.ndim == 2 and mask is not None and mask != dataset
            self._add(branches, name, _Branch(dataset, mask if is_padded else None))
        return branches

    def _add(self, branches: dict[str, _Branch], name: str, branch: _Branch) -> None:
        if branch.field is not None:
            dtype = branch.dataset.dtype[branch.field]
            if dtype.kind not in "biuf":
                self._unusable[name] = _type(dtype)
                return
        if name in branches:
            message = (
                f"{self._path}: {branches[name].dataset.name} and {branch.dataset.name} would both "
                f"be the branch {name!r}; rename one"
            )
            raise InputFileError(message)
        branches[name] = branch

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop."""
        for name in names:
            if name not in self._branches:
                raise no_branch(self._path, name, self.names, self._unusable)
        tables: dict[str, NDArray[Any]] = {}
        masks: dict[str, NDArray[np.bool_]] = {}
        try:
            return {
                name: self._column(self._branches[name], start, stop, tables, masks)
                for name in names
            }
        except InputFileError:
            raise
        except Exception as error:
            raise unreadable(self._path, "HDF5", error) from error

    def _column(
        self,
        branch: _Branch,
        start: int,
        stop: int,
        tables: dict[str, NDArray[Any]],
        masks: dict[str, NDArray[np.bool_]],
    ) -> Column:
        if branch.field is not None:
            key = str(branch.dataset.name)
            if key not in tables:
                tables[key] = self._rows(branch.dataset, start, stop)
            return Column(_native(tables[key][branch.field]))
        values = _native(self._rows(branch.dataset, start, stop))
        if values.ndim == 1:
            return Column(values)
        if branch.mask is None:
            offsets = np.arange(len(values) + 1, dtype=np.int64) * values.shape[1]
            return Column(values.reshape(-1), offsets)
        key = str(branch.mask.name)
        if key not in masks:
            masks[key] = self._mask(branch.mask, start, stop)
        if branch.mask.shape != branch.dataset.shape:
            message = (
                f"{self._path}: mask {branch.mask.name} has shape {branch.mask.shape}, "
                f"{branch.dataset.name} {branch.dataset.shape}; expected the same"
            )
            raise InputFileError(message)
        offsets = np.concatenate([[0], np.cumsum(masks[key].sum(axis=1))]).astype(np.int64)
        return Column(values[masks[key]], offsets)

    def _mask(self, dataset: h5py.Dataset, start: int, stop: int) -> NDArray[np.bool_]:
        if dataset.dtype.kind not in "biu":
            message = (
                f"{self._path}: mask {dataset.name} holds {dataset.dtype}; expected bool, or 0 and "
                f"1 (1: a real object)"
            )
            raise InputFileError(message)
        values = self._rows(dataset, start, stop)
        # A bool read from a file is one byte, of any value.
        numbers = values.view(np.uint8) if values.dtype == np.bool_ else values
        wrong = (numbers != 0) & (numbers != 1)
        if wrong.any():
            message = (
                f"{self._path}: mask {dataset.name} holds {numbers[wrong][0]}; expected only 0 and "
                f"1 (1: a real object)"
            )
            raise InputFileError(message)
        return np.asarray(numbers == 1)

    def _rows(self, dataset: h5py.Dataset, start: int, stop: int) -> NDArray[Any]:
        """Rows of a dataset that is wholly stored.

        libhdf5 gives the fill value (0) for what was never written, or was lost with the index of
        chunks: that is no number of the file.
        """
        self._check_stored(dataset, start, stop)
        self._check_type(dataset)
        rows: NDArray[Any] = dataset[start:stop]
        if len(rows) != stop - start:
            found = f"{dataset.name} has {len(rows)} rows between {start} and {stop}"
            raise damaged(self._path, found)
        return rows

    def _check_stored(self, dataset: h5py.Dataset, start: int, stop: int) -> None:
        if dataset.chunks is None:
            if dataset.external is not None or dataset.is_virtual:
                return  # their bytes are in other files
            expected = prod(dataset.shape) * dataset.id.get_type().get_size()
            stored = dataset.id.get_storage_size()
            if stored != expected:
                found = f"{dataset.name} {dataset.shape} has {stored} of {expected} bytes stored"
                raise damaged(self._path, found)
            return
        rows, *others = dataset.chunks
        corners = product(
            range(start // rows * rows, stop, rows),
            *(range(0, size, chunk) for size, chunk in zip(dataset.shape[1:], others, strict=True)),
        )
        for corner in corners:
            if dataset.id.get_chunk_info_by_coord(corner).byte_offset is None:
                last = min(corner[0] + rows, dataset.shape[0])
                found = f"rows {corner[0]} to {last} of {dataset.name} are not stored"
                raise damaged(self._path, found)
            # A damaged index can list a chunk and yet not find it; reading would then give the
            # fill value without a word, where fetching the chunk's bytes is an error.
            dataset.id.read_direct_chunk(corner)

    def _check_type(self, dataset: h5py.Dataset) -> None:
        """Refuse numbers that fill only some bits of their bytes: libhdf5 would convert them."""
        kind = dataset.id.get_type()
        if isinstance(kind, h5py.h5t.TypeEnumID):
            kind = kind.get_super()
        if isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID):
            bits = (kind.get_precision(), kind.get_offset())
            plain = bits == (8 * kind.get_size(), 0)
            if plain and isinstance(kind, h5py.h5t.TypeFloatID):
                ieee = h5py.h5t.py_create(np.dtype(f"f{kind.get_size()}"))
                plain = (kind.get_fields(), kind.get_ebias(), kind.get_norm()) == (
                    ieee.get_fields(),
                    ieee.get_ebias(),
                    ieee.get_norm(),
                )
            if not plain:
                found = (
                    f"{dataset.name} holds numbers of {bits[0]} bits from bit {bits[1]} of "
                    f"{kind.get_size()} bytes, expected plain integers or IEEE floats"
                )
                raise damaged(self._path, found)

    def generated(self) -> Generated | None:
        """None: HDF5 files keep no sums before the selection."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._open.close()


def _datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset by its path, each object once however it is linked."""
    found: list[tuple[str, h5py.Dataset]] = []

    def visit(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found.append((key, item))

    group.visititems(visit)
    yield from found


def _name(key: str) -> str:
    return key.replace("/", "_")


def _type(dtype: np.dtype[Any]) -> str:
    if dtype.names is not None:
        return f"a record of {', '.join(dtype.names)}"
    return "text or objects" if dtype.kind in "OSU" else str(dtype)


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
