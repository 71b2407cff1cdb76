"""Columns of arrays in memory, under the names that a file would give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import awkward as ak

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.protocol import Column
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ArrayReader"]


class ArrayReader:
    """Arrays of events as a `Reader`.

    The field ``pt`` of records ``Jet``, be it a list of them or one per event, is the branch
    ``Jet_pt`` as in NanoAOD; ``nJet`` is the number of them. Whatever is no record goes by its own
    name. An array is touched only when its branch is read, so that of virtual arrays nothing else
    is loaded.

    Parameters
    ----------
    arrays
        An awkward array of records, such as coffea's NanoEvents, or awkward or numpy arrays by
        name; one entry per event.
    label
        What messages call it.

    Raises
    ------
    InputFileError
        If it is something else, has no field, or its arrays differ in length.
    """

    def __init__(self, arrays: ak.Array | Mapping[str, Any], label: str) -> None:
        self._label = label
        if not isinstance(arrays, ak.Array | Mapping):
            message = (
                f"{label}: got {type(arrays).__name__}; expected an awkward array of records (as "
                "NanoEvents), or arrays by name; aot predict reads files"
            )
            raise InputFileError(message)
        if isinstance(arrays, ak.Array):
            # Without behaviours: coffea's ask for fields (a muon's charge) that nobody needs here.
            arrays = ak.Array(ak.to_layout(arrays), behavior={})
        fields = ak.fields(arrays) if isinstance(arrays, ak.Array) else list(arrays)
        if not fields:
            message = (
                f"{label}: no branches; expected an awkward array of records (as NanoEvents), or "
                "arrays by name"
            )
            raise InputFileError(message)
        self._arrays = arrays
        # Where each branch is: its array, and the field of its records.
        self._places: dict[str, tuple[str, str | None]] = {}
        for field in fields:
            array = arrays[field]
            inner = ak.fields(array) if isinstance(array, ak.Array) else []
            self._places.update({f"{field}_{each}": (field, each) for each in inner})
            if not inner:
                self._places[field] = (field, None)
            elif ak.to_layout(array).is_list:
                self._places.setdefault(f"n{field}", (field, None))
        if isinstance(arrays, ak.Array):
            self._entries = len(arrays)
        else:
            lengths = {field: len(arrays[field]) for field in fields}
            self._entries = lengths[fields[0]]
            for field, length in lengths.items():
                if length != self._entries:
                    message = (
                        f"{label}: {field} has {length} events, {fields[0]} has {self._entries}; "
                        "expected one entry per event in each"
                    )
                    raise InputFileError(message)

    @property
    def names(self) -> tuple[str, ...]:
        """Every branch."""
        return tuple(self._places)

    @property
    def entries(self) -> int:
        """How many events there are."""
        return self._entries

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop.

        Raises
        ------
        InputFileError
            If a branch holds anything but one number, or a list of numbers, per event.
        """
        return {name: self._column(name, slice(start, stop)) for name in names}

    def _column(self, name: str, rows: slice) -> Column:
        field, inner = self._places[name]
        array = self._arrays[field]
        if not isinstance(array, ak.Array):
            return to_column(ak.Array(array)[rows], name, self._label)
        if inner is None and ak.fields(array):
            return Column(ak.to_numpy(ak.num(array, axis=1))[rows])
        numbers = array if inner is None else array[inner]
        # Names of records and the like say nothing of the numbers.
        plain = ak.materialize(ak.without_parameters(numbers, behavior={}))
        return to_column(plain[rows], name, self._label)

    def generated(self) -> None:
        """Arrays in memory say nothing of events before a selection."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
