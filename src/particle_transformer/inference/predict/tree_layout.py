"""What of a ROOT file uproot can write again as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["TreeLayout", "Unwritable"]

_RECORD = ":"
"""Behind a counter's name: the record of all branches that have the counter, for uproot alone."""


class Unwritable(Exception):
    """A branch that would not be the same in a copy; the message names it and says why."""


@dataclass(frozen=True)
class TreeLayout:
    """The branches of a tree, and which of them share a counter.

    Attributes
    ----------
    flat
        Type of each branch with one number (or array of one size) per entry, counters not among
        them.
    lists
        By counter: type of the numbers of each branch that has it.
    """

    flat: dict[str, np.dtype[Any]]
    lists: dict[str, dict[str, np.dtype[Any]]]

    @staticmethod
    def of(tree: Any) -> TreeLayout:
        """That of uproot's TTree.

        Raises
        ------
        Unwritable
            If a branch is neither numbers nor lists of numbers with a counter.
        """
        flat: dict[str, np.dtype[Any]] = {}
        lists: dict[str, dict[str, np.dtype[Any]]] = {}
        for branch in tree.branches:
            if (problem := _problem(branch)) is not None:
                raise Unwritable(problem)
            if isinstance(branch.interpretation, AsJagged):
                dtype = branch.interpretation.content.to_dtype
                lists.setdefault(branch.count_branch.name, {})[branch.name] = dtype
            else:
                flat[branch.name] = branch.interpretation.to_dtype
        for counter in lists:
            flat.pop(counter, None)
        return TreeLayout(flat, lists)

    @property
    def names(self) -> list[str]:
        """Every branch but the counters."""
        return [*self.flat, *(name for group in self.lists.values() for name in group)]

    def make(self, directory: Any, tree: Any, more: Mapping[str, Any], steps: int) -> Any:
        """A new tree of these branches, and of further ones with one number per entry.

        Parameters
        ----------
        directory
            Where it is written to.
        tree
            Gives its name and title.
        more
            Types of the further branches.
        steps
            How often it is extended. Where there are more than it has room for, uproot writes all
            headers anew, in a time that is quadratic in the number of branches.
        """
        types: dict[str, Any] = {}
        for counter, group in self.lists.items():
            empty = _records({field: _no_lists(dtype) for field, dtype in group.items()})
            types[counter + _RECORD] = empty.type.content
        return directory.mktree(
            tree.name,
            {**self.flat, **types, **more},
            title=tree.title,
            initial_basket_capacity=max(steps, 1),
            counter_name=lambda counted: counted.removesuffix(_RECORD),
            field_name=lambda outer, inner: inner,  # noqa: ARG005 (uproot's signature)
        )

    def extend(
        self, tree: Any, arrays: Mapping[str, ak.Array], more: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write entries, which are not none."""
        lists = {
            counter + _RECORD: _records({name: arrays[name] for name in group})
            for counter, group in self.lists.items()
        }
        flat = {name: ak.to_numpy(arrays[name]) for name in self.flat}
        tree.extend({**flat, **lists, **more})


def _problem(branch: Any) -> str | None:
    """Why a branch cannot be written as it is; None where it can."""
    how = branch.interpretation
    if branch.branches or len(branch.member("fLeaves")) != 1:
        return f"branch {branch.name!r} is a record ({branch.typename})"
    if isinstance(how, AsJagged) and _is_one_number(how.content):
        if branch.count_branch is not None:
            return None
        return f"branch {branch.name!r} is a {branch.typename} without a counter"
    if isinstance(how, AsDtype) and _is_number(how.to_dtype):
        return None
    return f"branch {branch.name!r} holds {branch.typename}"


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.names is None and dtype.base.kind in "biuf"


def _is_one_number(content: Any) -> bool:
    return isinstance(content, AsDtype) and _is_number(content.to_dtype) and not content.inner_shape


def _no_lists(dtype: np.dtype[Any]) -> ak.Array:
    offsets = ak.index.Index64(np.zeros(1, dtype=np.int64))
    return ak.Array(
        ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(np.empty(0, dtype)))
    )


def _records(arrays: Mapping[str, ak.Array]) -> ak.Array:
    """Lists of records: uproot gives all fields of one the same counter."""
    return ak.zip(dict(arrays))
