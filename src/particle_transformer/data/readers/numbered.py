"""Numbered flat branches (``jet1_pt``, ``jet2_pt``, …) as one collection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

import numpy as np

from particle_transformer.data.readers.protocol import Column
from particle_transformer.errors import AnalysisFileError, InputFileError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.data.readers.protocol import Generated, Reader

__all__ = ["NumberedReader"]


class NumberedReader:
    """A reader that offers numbered branches as jagged ones as well.

    ``jet{}`` offers ``jet{}_pt`` from ``jet1_pt``, ``jet2_pt``, …: in every event as many objects
    as there are numbers, in the order of the numbers. Slots without an object hold what the file
    holds there (-999, 0, …): the selection of the collection takes them out.

    Parameters
    ----------
    reader
        The file; closed with this reader.
    prefixes
        Each with one ``{}`` in the place of the number.
    path
        The file, for messages.

    Raises
    ------
    InputFileError
        If a prefix matches no branch, or its numbers have a gap or start at another than 0 or 1.
    AnalysisFileError
        If a prefix has not exactly one ``{}``.
    """

    def __init__(self, reader: Reader, prefixes: Sequence[str], path: str) -> None:
        self._reader = reader
        self._path = path
        self._numbers: dict[str, range] = {}
        self._members: dict[str, dict[int, str]] = {}
        for prefix in dict.fromkeys(prefixes):
            self._add(prefix)
        self.names = (*reader.names, *self._members)
        self.entries = reader.entries

    def _add(self, prefix: str) -> None:
        if prefix.count("{}") != 1:
            message = f"collection {prefix!r}: expected one {{}} in the place of the number"
            raise AnalysisFileError(message)
        before, after = map(re.escape, prefix.split("{}"))
        form = re.compile(f"{before}([0-9]+){after}_(.+)")
        fields: dict[str, dict[int, str]] = {}
        for name in self._reader.names:
            if (found := form.fullmatch(name)) is None:
                continue
            number, field = int(found[1]), found[2]
            other = fields.setdefault(field, {}).setdefault(number, name)
            if other != name:
                message = (
                    f"{self._path}: {other!r} and {name!r} are both number {number} of {prefix!r}"
                )
                raise InputFileError(message)
        numbers = sorted({number for members in fields.values() for number in members})
        if not numbers:
            example = prefix.replace("{}", "1") + "_pt"
            message = (
                f"{self._path}: no branch is numbered as {prefix!r} asks (such as {example!r}); "
                f"{nearest(example, self._reader.names)}"
            )
            raise InputFileError(message)
        expected = range(numbers[0], numbers[0] + len(numbers))
        if numbers[0] > 1 or numbers != list(expected):
            message = (
                f"{self._path}: the branches of {prefix!r} are numbered "
                f"{', '.join(map(str, numbers))}; expected 0, 1, … or 1, 2, … without a gap"
            )
            raise InputFileError(message)
        for field, members in fields.items():
            self._members[f"{prefix}_{field}"] = members
            self._numbers[f"{prefix}_{field}"] = expected

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop."""
        wanted = [member for name in names for member in self._in_order(name)]
        columns = self._reader.read(tuple(dict.fromkeys(wanted)), start, stop)
        return {
            name: self._joined(name, columns) if name in self._members else columns[name]
            for name in names
        }

    def _in_order(self, name: str) -> list[str]:
        if name not in self._members:
            return [name]
        members = self._members[name]
        lacking = [number for number in self._numbers[name] if number not in members]
        if lacking:
            message = (
                f"{self._path}: {name!r}: number {', '.join(map(str, lacking))} has no such branch "
                f"({', '.join(members[number] for number in sorted(members))} have)"
            )
            raise InputFileError(message)
        return [members[number] for number in self._numbers[name]]

    def _joined(self, name: str, columns: dict[str, Column]) -> Column:
        members = self._in_order(name)
        for member in members:
            if columns[member].offsets is not None:
                message = (
                    f"{self._path}: branch {member!r} of {name!r} holds a list per event; expected "
                    f"one number"
                )
                raise InputFileError(message)
        kinds = {columns[member].values.dtype for member in members}
        dtype = np.result_type(*kinds)
        if dtype.kind == "f" and any(kind.kind != "f" for kind in kinds):
            message = (
                f"{self._path}: the branches of {name!r} hold {', '.join(sorted(map(str, kinds)))}; "
                f"expected one kind of number"
            )
            raise InputFileError(message)
        values = np.stack([columns[member].values for member in members], axis=1).astype(dtype)
        offsets = np.arange(len(values) + 1, dtype=np.int64) * len(members)
        return Column(values.reshape(-1), offsets)

    def generated(self) -> Generated | None:
        """Sums before any selection, as the file has them."""
        return self._reader.generated()

    def __enter__(self) -> Self:
        self._reader.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._reader.__exit__(*details)
