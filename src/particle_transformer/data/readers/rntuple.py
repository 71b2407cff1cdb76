"""ROOT RNTuples through uproot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.damage import damaged, no_branch, unreadable
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.data.readers.protocol import Column, Generated
    from particle_transformer.data.readers.rootfile import RootFile

__all__ = ["RNTupleReader"]


class RNTupleReader:
    """One RNTuple of a ROOT file; the field ``Jet.pt`` is ``Jet_pt``, as in NanoAOD.

    Parameters
    ----------
    file
        The open file; closed with the reader.
    ntuple
        uproot's RNTuple.

    Raises
    ------
    InputFileError
        If the ntuple cannot be read.
    """

    def __init__(self, file: RootFile, ntuple: Any) -> None:
        self._root = file
        self._path = file.path
        try:
            self._fields: dict[str, Any] = {}
            self._unusable: dict[str, str] = {}
            for key, field in ntuple.items():
                if field.keys():
                    self._unusable[_name(key)] = f"a record of {', '.join(field.keys())}"
                else:
                    self._fields.setdefault(_name(key), field)
            self.names = tuple(self._fields)
            self.entries = int(ntuple.num_entries)
            clusters = sum(cluster.num_entries for cluster in ntuple.cluster_summaries)
        except Exception as error:  # uproot raises whatever the damaged bytes lead it into
            raise unreadable(self._path, "ROOT", error) from error
        if clusters != self.entries:
            found = f"the ntuple says {self.entries} entries, its clusters hold {clusters}"
            raise damaged(self._path, found)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the fields `names` of the entries start <= i < stop."""
        columns: dict[str, Column] = {}
        for name in names:
            if name not in self._fields:
                raise no_branch(self._path, name, self.names, self._unusable)
            try:
                array = self._fields[name].array(entry_start=start, entry_stop=stop)
                columns[name] = to_column(array, name, self._path)
            except InputFileError:
                raise
            except Exception as error:
                raise unreadable(self._path, "ROOT", error) from error
            if len(array) != stop - start:
                found = f"branch {name!r} has {len(array)} entries between {start} and {stop}"
                raise damaged(self._path, found)
        return columns

    def generated(self) -> Generated | None:
        """Sums of the ``Runs`` tree or ntuple as NanoAOD writes it; None where there is none."""
        return self._root.generated()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._root.close()


def _name(key: str) -> str:
    """The field's name without the anonymous collections that hold its lists."""
    parts = key.split(".")
    return "_".join(part for part in parts if part != "_0" and not part.startswith("_collection"))
