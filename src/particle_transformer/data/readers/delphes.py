"""Delphes' trees: branches ``Jet/Jet.PT``, offered as ``Jet_PT``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from particle_transformer.data.readers.damage import unreadable
from particle_transformer.data.readers.protocol import Column
from particle_transformer.data.readers.root import RootReader
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from particle_transformer.data.readers.rootfile import RootFile

__all__ = ["DelphesReader", "looks_like_delphes"]

# Classes of which Delphes' TreeWriter makes one object per event (classes/DelphesClasses.h,
# modules/TreeWriter.cc). Rho is none of them: it has one object per range of pseudorapidity.
_ONE_PER_EVENT = ("Event", "HepMCEvent", "LHCOEvent", "LHEFEvent", "MissingET", "ScalarHT")
_CLONES = 3  # TBranchElement::fType of a branch that holds a TClonesArray


def looks_like_delphes(tree: Any) -> bool:
    """Whether the tree has the form that Delphes writes: ``X/X.Y`` beside ``X_size``."""
    clones = _clones(tree)
    return bool(clones) and all(f"{branch.name}_size" in tree for branch in clones)


def _clones(tree: Any) -> list[Any]:
    return [
        branch
        for branch in getattr(tree, "branches", ())  # an RNTuple has none
        if branch.member("fType", none_if_missing=True) == _CLONES
        and branch.member("fClonesName", none_if_missing=True)
        and all(inner.name.startswith(f"{branch.name}.") for inner in branch.branches)
    ]


class DelphesReader(RootReader):
    """The tree of a Delphes file.

    ``Jet/Jet.PT`` is ``Jet_PT``; branches of classes with one object per event (``MissingET_MET``,
    ``Event_Weight``, ``ScalarHT_HT``) hold one number per event. Branches that hold no numbers
    (references, four-vectors, arrays per object) are not offered.

    Raises
    ------
    InputFileError
        If the tree is not Delphes'.
    """

    def __init__(self, file: RootFile, tree: Any) -> None:
        try:
            recognised = looks_like_delphes(tree)
        except Exception as error:
            raise unreadable(file.path, "ROOT", error) from error
        if not recognised:
            message = (
                f"{file.path}: tree {tree.name!r} has no branches of Delphes' form (Jet/Jet.PT "
                f"beside Jet_size); say source.format: root"
            )
            raise InputFileError(message)
        super().__init__(file, tree)

    def _offered(self) -> tuple[dict[str, Any], Mapping[str, str]]:
        found: dict[str, Any] = {}
        unusable: dict[str, str] = {}
        self._sizes: dict[str, Any] = {}
        self._single: set[str] = set()
        for branch in _clones(self._tree):
            size = self._tree[f"{branch.name}_size"]
            for inner in branch.branches:
                # Jet.Tau[5]: the array's length is not part of its name.
                name = inner.name.partition("[")[0].replace(".", "_")
                content = getattr(inner.interpretation, "content", None)
                if name.endswith(("_fBits", "_fUniqueID")):
                    # fBits of an object that is referenced is longer than its neighbours'.
                    unusable[name] = "the bookkeeping of ROOT's TObject"
                    continue
                if not isinstance(inner.interpretation, AsJagged) or not _is_number(content):
                    unusable[name] = inner.typename
                    continue
                found[name] = inner
                self._sizes[name] = size
                if branch.member("fClonesName") in _ONE_PER_EVENT:
                    self._single.add(name)
        for branch in self._tree.branches:
            if not branch.branches and _is_number(branch.interpretation):
                found.setdefault(branch.name, branch)
        return found, unusable

    def _counter(self, name: str) -> Any:
        return self._sizes.get(name)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop.

        Raises
        ------
        InputFileError
            If a class that has one object per event has none or several.
        """
        columns = super().read(names, start, stop)
        for name in self._single.intersection(columns):
            column = columns[name]
            assert column.offsets is not None
            lengths = np.diff(column.offsets)
            if (lengths != 1).any():
                entry = int(np.argmax(lengths != 1))
                message = (
                    f"{self._path}: entry {start + entry}: branch {name!r} holds {lengths[entry]} "
                    f"numbers, expected one per event"
                )
                raise InputFileError(message)
            columns[name] = Column(column.values)
        return columns


def _is_number(interpretation: Any) -> bool:
    return isinstance(interpretation, AsDtype) and interpretation.to_dtype.kind in "biuf"
