"""ROOT TTrees (NanoAOD and any flat or jagged tree) through uproot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from particle_transformer.data.readers.arrays import to_column
from particle_transformer.data.readers.damage import damaged, no_branch, unreadable
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from particle_transformer.data.readers.protocol import Column, Generated
    from particle_transformer.data.readers.rootfile import RootFile

__all__ = ["RootReader"]


class RootReader:
    """One TTree of a ROOT file, its branches under their own names.

    Parameters
    ----------
    file
        The open file; closed with the reader.
    tree
        uproot's TTree.

    Raises
    ------
    InputFileError
        If the tree's own counts do not agree.
    """

    def __init__(self, file: RootFile, tree: Any) -> None:
        self._root = file
        self._path = file.path
        self._tree = tree
        try:
            self._branches, self._unusable = self._offered()
            self.names = tuple(self._branches)
            self.entries = int(tree.num_entries)
        except InputFileError:
            raise
        except Exception as error:  # uproot raises whatever the damaged bytes lead it into
            raise unreadable(self._path, "ROOT", error) from error
        self._check_counts(tree.itervalues())

    def _offered(self) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Uproot's branch by the name it has here, and why others are not offered."""
        found: dict[str, Any] = {}
        for branch in self._tree.itervalues():
            found.setdefault(branch.name, branch)
        return found, {}

    def _counter(self, name: str) -> Any:
        """The branch that holds the number of objects of the branch `name`; None without one."""
        return self._branches[name].count_branch

    def _check_counts(self, branches: Iterable[Any]) -> None:
        """Refuse a tree that has fewer entries than all its branches.

        A branch of another length than the rest is refused when it is read.
        """
        longest = min((int(branch.num_entries) for branch in branches), default=self.entries)
        if self.entries < longest:
            found = f"the tree says {self.entries} entries, its branches at least {longest}"
            raise damaged(self._path, found)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read the branches `names` of the entries start <= i < stop."""
        for name in names:
            if name not in self._branches:
                raise no_branch(self._path, name, self.names, self._unusable)
        try:
            wanted = {name: self._branches[name] for name in names}
            counters = {name: self._counter(name) for name in names}
            read = {
                id(branch): branch
                for branch in (*wanted.values(), *counters.values())
                if branch is not None
            }
            for branch in read.values():
                self._check_entries(branch)
            arrays = self._arrays(read, start, stop)
            columns = {
                name: to_column(arrays[id(branch)], name, self._path)
                for name, branch in wanted.items()
            }
            for name, branch in counters.items():
                if branch is not None:
                    counts = to_column(arrays[id(branch)], branch.name, self._path)
                    self._check_lengths(name, columns[name], branch.name, counts, start)
        except InputFileError:
            raise
        except Exception as error:
            raise unreadable(self._path, "ROOT", error) from error
        for name, column in columns.items():
            length = len(column.values) if column.offsets is None else len(column.offsets) - 1
            if length != stop - start:
                found = f"branch {name!r} has {length} entries between {start} and {stop}"
                raise damaged(self._path, found)
        return columns

    def _arrays(self, branches: Mapping[int, Any], start: int, stop: int) -> dict[int, Any]:
        """All in one request: uproot coalesces what lies near in the file."""
        paths = {id(branch): path for path, branch in self._tree.iteritems()}
        arrays = self._tree.arrays(
            [paths[key] for key in branches],
            entry_start=start,
            entry_stop=stop,
            library="ak",
            how=dict,
        )
        return {key: arrays[paths[key]] for key in branches}

    def _check_entries(self, branch: Any) -> None:
        """The tree, the branch and its baskets must state the same number of entries."""
        ends = np.asarray(branch.entry_offsets)
        if (
            branch.num_entries != self.entries
            or ends[-1] != self.entries
            or (np.diff(ends) < 0).any()
        ):
            found = (
                f"branch {branch.name!r} has {branch.num_entries} entries, {ends[-1]} in its "
                f"baskets, the tree {self.entries}"
            )
            raise damaged(self._path, found)

    def _check_lengths(
        self, name: str, column: Column, counter: str, counts: Column, start: int
    ) -> None:
        if column.offsets is None or counts.offsets is not None:
            return
        lengths = np.diff(column.offsets)
        if np.array_equal(lengths, counts.values):
            return
        if len(lengths) != len(counts.values):
            raise damaged(self._path, f"branches {name!r} and {counter!r} differ in length")
        entry = int(np.argmax(lengths != counts.values))
        found = (
            f"entry {start + entry}: branch {name!r} holds {lengths[entry]} numbers, "
            f"{counter!r} says {counts.values[entry]}"
        )
        raise damaged(self._path, found)

    def generated(self) -> Generated | None:
        """Sums of the ``Runs`` tree as NanoAOD writes it; None where there is none."""
        return self._root.generated()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._root.close()
