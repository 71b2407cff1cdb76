"""A copy of a ROOT file with the scores as further branches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from particle_transformer.data.readers.damage import unreadable
from particle_transformer.data.readers.rootfile import TTREE
from particle_transformer.errors import InputFileError
from particle_transformer.inference.predict.provenance import KEY
from particle_transformer.inference.predict.tree_layout import TreeLayout, Unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.data.files import InputFile
    from particle_transformer.inference.predict.parts import Parts

__all__ = ["check_copy", "write_copy"]

_STRING = "TObjString"

MEMORY = "64 MB"
"""Of the input's branches at once, unpacked."""


def check_copy(file: InputFile, columns: Sequence[str]) -> None:
    """Check that a file can be copied with these further branches.

    Raises
    ------
    InputFileError
        If a branch of its tree cannot be written as it is, or has the name of a score.
    """
    with _opened(file) as root:
        tree = root[file.tree]
        if root.classnames(cycle=False)[file.tree] != TTREE:
            message = (
                f"{file.path}: {file.tree!r} is no TTree, which alone is copied; use --format "
                "parquet"
            )
            raise InputFileError(message)
        try:
            layout = TreeLayout.of(tree)
        except Unwritable as error:
            message = (
                f"{file.path}: {error}, which a copy would not hold as it is; use --format friend"
            )
            raise InputFileError(message) from error
        taken = sorted({*layout.names, *layout.lists}.intersection(columns))
        if taken:
            message = (
                f"{file.path}: branch {taken[0]!r} is there already; use --format friend, or give "
                "the file without it"
            )
            raise InputFileError(message)


def write_copy(
    path: Path,
    file: InputFile,
    columns: Sequence[str],
    parts: Parts,
    keys: Sequence[str],
    provenance: dict[str, Any],
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Write the trees of a file again, the one that was scored with the scores; then compare.

    Trees that cannot be written as they are, and other objects, are left out, and named in the
    provenance under ``left_out``. Counters become int32.

    Parameters
    ----------
    path
        The output.
    file
        The input.
    columns
        The scores among the columns of the parts.
    parts, keys
        The scores of the file's chunks.
    provenance
        What the output says of itself.
    advance
        Called with the number of entries written since the last call.

    Returns
    -------
    dict
        The provenance as it was written.

    Raises
    ------
    InputFileError
        If the input cannot be read, or what was written is not the same.
    """
    with _opened(file) as root:
        left_out = []
        with uproot.recreate(path) as copy:
            for name, kind in root.classnames(cycle=False, recursive=False).items():
                if kind == _STRING:
                    copy[name] = str(root[name])
                    continue
                layout = _layout(root[name]) if kind == TTREE else None
                if layout is None:
                    left_out.append(name)
                    continue
                scores = _scores(parts, keys, columns) if name == file.tree else None
                _write_tree(copy, root[name], layout, scores, len(keys), advance)
            whole = {**provenance, "left_out": left_out}
            copy[KEY] = json.dumps(whole)
        with uproot.open({str(path): None}) as copy:
            for name in copy.keys(cycle=False, filter_classname=TTREE):
                scores = _scores(parts, keys, columns) if name == file.tree else None
                _compare(path, root[name], copy[name], scores)
    return whole


def _layout(tree: Any) -> TreeLayout | None:
    try:
        return TreeLayout.of(tree)
    except Unwritable:
        return None


def _opened(file: InputFile) -> Any:
    try:
        return uproot.open({file.path: None}, array_cache=None, object_cache=None)
    except Exception as error:
        raise unreadable(file.path, "ROOT", error) from error


def _scores(
    parts: Parts, keys: Sequence[str], columns: Sequence[str]
) -> Iterator[dict[str, NDArray[Any]]]:
    for table in parts.tables(keys):
        yield {name: table[name] for name in columns}


def _write_tree(
    copy: Any,
    tree: Any,
    layout: TreeLayout,
    scores: Iterator[dict[str, NDArray[Any]]] | None,
    parts: int,
    advance: Callable[[int], None],
) -> None:
    made = None
    for start, stop, more in _steps(tree, scores):
        if made is None:
            types = {name: values.dtype for name, values in more.items()}
            steps = parts + int(tree.num_entries) // _step(tree) + 1
            made = layout.make(copy, tree, types, steps)
        if stop > start:
            layout.extend(made, _arrays(tree, layout.names, start, stop), more)
        if scores is not None:
            advance(stop - start)


def _steps(
    tree: Any, scores: Iterator[dict[str, NDArray[Any]]] | None
) -> Iterator[tuple[int, int, dict[str, NDArray[Any]]]]:
    """Ranges of entries that fit into memory, with their scores."""
    size = _step(tree)
    begin = 0
    for table in scores or iter([{}]):
        entries = len(next(iter(table.values()))) if table else int(tree.num_entries)
        for start in range(0, max(entries, 1), size):
            stop = min(start + size, entries)
            more = {name: values[start:stop] for name, values in table.items()}
            yield begin + start, begin + stop, more
        begin += entries


def _step(tree: Any) -> int:
    """Entries that fit into memory."""
    return max(1, int(tree.num_entries_for(MEMORY))) if tree.num_entries else 1


def _arrays(tree: Any, names: Sequence[str], start: int, stop: int) -> dict[str, ak.Array]:
    arrays: dict[str, ak.Array] = tree.arrays(
        names, entry_start=start, entry_stop=stop, library="ak", how=dict
    )
    return arrays


def _compare(
    path: Path, tree: Any, copy: Any, scores: Iterator[dict[str, NDArray[Any]]] | None
) -> None:
    """Read what was written: every branch must have the input's values, bit for bit, and its type."""
    layout = TreeLayout.of(tree)
    for name in layout.names:
        if copy[name].typename != tree[name].typename:
            _differs(path, name, f"has become {copy[name].typename}, was {tree[name].typename}")
        counter = tree[name].count_branch
        if counter is not None and copy[name].count_branch.name != counter.name:
            _differs(path, name, f"has lost its counter {counter.name}")
    if copy.num_entries != tree.num_entries:
        _differs(path, tree.name, f"has {copy.num_entries} entries, not {tree.num_entries}")
    for start, stop, more in _steps(tree, scores):
        if stop == start:
            continue
        before = _arrays(tree, [*layout.names, *layout.lists], start, stop)
        after = _arrays(copy, [*layout.names, *layout.lists, *more], start, stop)
        for name, array in before.items():
            if not _same(array, after[name]):
                _differs(path, name, f"has other values between entries {start} and {stop}")
        for name, values in more.items():
            if not _same(ak.Array(values), after[name]):
                _differs(path, name, f"has other values between entries {start} and {stop}")


def _same(one: ak.Array, other: ak.Array) -> bool:
    if one.ndim > 1 and not np.array_equal(ak.num(one), ak.num(other)):
        return False
    first, second = (np.asarray(ak.flatten(array, axis=None)) for array in (one, other))
    if first.dtype.kind == "f":
        first, second = first.view(f"u{first.itemsize}"), second.view(f"u{second.itemsize}")
    return np.array_equal(first, second)


def _differs(path: Path, branch: str, how: str) -> None:
    message = f"{path}: {branch!r} {how}; the copy is discarded, use --format friend"
    raise InputFileError(message)
