"""ROOT TTrees (NanoAOD and any flat or jagged tree) through uproot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import uproot

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.damage import unreadable
from particle_transformer.data.readers.protocol import Column, Generated
from particle_transformer.errors import InputFileError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RootReader"]


class RootReader:
    """One tree of a ROOT file.

    Parameters
    ----------
    path
        Local path or a URL that uproot understands.
    tree
        Name of the tree; of several cycles the latest is read.

    Raises
    ------
    InputFileError
        If the file is not a readable ROOT file, or has no such tree.
    """

    def __init__(self, path: str, tree: str) -> None:
        self._path = path
        try:
            self._file = uproot.open(path, array_cache=None)
            self._check_size()
            self._tree = self._find(tree)
            self.names = tuple(dict.fromkeys(key.split("/")[-1] for key in self._tree.keys()))  # noqa: SIM118
            self.entries = int(self._tree.num_entries)
        except InputFileError:
            raise
        except Exception as error:  # uproot raises whatever the damaged bytes lead it into
            raise unreadable(path, "ROOT", error) from error

    def _check_size(self) -> None:
        """Refuse a file shorter than its header says, which may open all the same."""
        expected = self._file.file.fEND
        if "://" not in self._path and (found := Path(self._path).stat().st_size) < expected:
            message = (
                f"{self._path}: truncated or damaged: it has {found} bytes, its header says "
                f"{expected}; fetch it again"
            )
            raise InputFileError(message)

    def _find(self, tree: str) -> Any:
        classes = self._file.classnames(cycle=False)
        trees = sorted(name for name, kind in classes.items() if kind == "TTree")
        hint = nearest(tree, trees) if trees else "the file holds no TTree"
        if tree not in classes:
            message = f"{self._path}: no tree {tree!r} in this file; {hint}"
            raise InputFileError(message)
        if classes[tree] != "TTree":
            message = f"{self._path}: {tree!r} is a {classes[tree]}, expected a TTree; {hint}"
            raise InputFileError(message)
        return self._file[tree]

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop."""
        try:
            arrays = self._tree.arrays(
                list(names), entry_start=start, entry_stop=stop, library="ak", how=dict
            )
            columns = {name: to_column(arrays[name], name, self._path) for name in names}
        except InputFileError:
            raise
        except Exception as error:
            raise unreadable(self._path, "ROOT", error) from error
        for name, column in columns.items():
            found = len(column.values) if column.offsets is None else len(column.offsets) - 1
            if found != stop - start:
                message = (
                    f"{self._path}: branch {name!r} has {found} entries between {start} and "
                    f"{stop}; the file is damaged"
                )
                raise InputFileError(message)
        return columns

    def generated(self) -> Generated | None:
        """Sums of the ``Runs`` tree as NanoAOD writes it; None where there is none."""
        try:
            if self._file.classnames(cycle=False).get("Runs") != "TTree":
                return None
            runs = self._file["Runs"]
            # NanoAOD v6 and v7 end these names in an underscore.
            names = runs.keys()
            suffix = next((end for end in ("", "_") if f"genEventSumw{end}" in names), None)
            if suffix is None:
                return None
            wanted = [f"genEventCount{suffix}", f"genEventSumw{suffix}"]
            sums = [runs[name].array(library="np") for name in wanted if name in names]
        except Exception as error:
            raise unreadable(self._path, "ROOT", error) from error
        if len(sums) < len(wanted):
            message = (
                f"{self._path}: its Runs tree has {wanted[1]} but no {wanted[0]}; expected both"
            )
            raise InputFileError(message)
        count, total = (float(np.sum(found, dtype=np.float64)) for found in sums)
        return Generated(count, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()
