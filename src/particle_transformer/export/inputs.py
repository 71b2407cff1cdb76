"""The raw columns that the networks of a run need: which branches, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from particle_transformer.data.features import MOMENTUM_FIELDS
from particle_transformer.data.files import InputFile, find_files
from particle_transformer.data.names import Names
from particle_transformer.data.scan import open_input
from particle_transformer.errors import InputFileError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.data.readers import Column

__all__ = ["GraphInput", "RawColumns", "mask_name", "raw_columns"]

SAMPLE_ENTRIES = 2000
"""Entries of the input file whose objects make up the events of the check."""

_UNITS = {
    "GeV": {"pt", "et", "mass", "m", "e", "energy", "px", "py", "pz", "met", "ht", "sumet"},
    "rad": {"phi"},
    "1": {"eta", "rapidity", "charge"},
}


@dataclass(frozen=True)
class GraphInput:
    """One input of the exported graph.

    Attributes
    ----------
    name
        Of the branch; of a mask; of a parameter.
    dtype
        What the branch holds in the files.
    group
        Which objects a jagged branch or mask is of: all with the same group have the same slots.
        None: one number per event.
    kind
        What it is.
    """

    name: str
    dtype: np.dtype[Any]
    group: str | None
    kind: Literal["branch", "mask", "parameter"] = "branch"

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Its dtype in the graph: integers are int64."""
        return np.dtype(np.int64) if self.dtype.kind in "iu" else self.dtype

    @property
    def unit(self) -> str:
        """By its name; quantities that the name does not tell are in the unit of the files."""
        if self.kind == "mask":
            return ""
        word = self.name.replace(".", "_").rpartition("_")[2].lower()
        known = [unit for unit, words in _UNITS.items() if word in words]
        return known[0] if known and self.kind == "branch" else "as in the files"


@dataclass(frozen=True)
class RawColumns:
    """The branches that the graph reads.

    Attributes
    ----------
    names
        What names mean in the file.
    branches
        By the collection in whose expressions they stand (None: of the event); those of the
        identity are among the latter.
    identity
        The branches of the identity; none where the files have none.
    inputs
        Branches, sorted as they are met, then the masks.
    groups
        By collection: its group.
    sample
        Some entries of the file.
    entries
        How many.
    """

    names: Names
    branches: Mapping[str | None, tuple[str, ...]]
    identity: tuple[str, ...]
    inputs: tuple[GraphInput, ...]
    groups: Mapping[str, str]
    sample: Mapping[str, Column]
    entries: int


def mask_name(group: str) -> str:
    """Name of the mask of a group: ``Jet_mask``."""
    return f"{group}_mask"


def raw_columns(
    analysis: Analysis, era: str | None, like: Path | None, *, identity: bool
) -> RawColumns:
    """Find the raw columns, by a look at one input file.

    Parameters
    ----------
    analysis
        The analysis file of the run.
    era
        Whose names of branches; None: the first.
    like
        A file with the branches; None: the first input file.
    identity
        Whether the identity is read.

    Raises
    ------
    InputFileError
        If there is no such era or file, or it lacks a branch.
    """
    if era is None:
        era = next(iter(analysis.eras))
        differing = [
            name
            for name, each in analysis.eras.items()
            if each.aliases != analysis.eras[era].aliases
        ]
        if differing:
            message = f"--era: missing, but branches are called otherwise in {differing[0]} than in {era}; expected one of "
            raise InputFileError(message + ", ".join(analysis.eras))
    if era not in analysis.eras:
        message = f"--era {era}: no era of the analysis; {nearest(era, analysis.eras)}"
        raise InputFileError(message)
    file = _input_file(analysis, era, like)
    with open_input(analysis, file) as reader:
        names = Names(analysis, era, reader.names, file.path)
        found = dict(names.branches(_expressions(analysis)))
        numbers = (
            tuple(_branch(names, name) for name in analysis.source.identity) if identity else ()
        )
        found[None] = tuple(dict.fromkeys([*found.get(None, ()), *numbers]))
        every = tuple(dict.fromkeys(name for group in found.values() for name in group))
        entries = min(reader.entries, SAMPLE_ENTRIES)
        if not entries:
            message = f"{file.path}: has no entry; give --like a file with some events"
            raise InputFileError(message)
        columns = reader.read(every, 0, entries)
    groups = _groups(analysis, found, columns)
    inputs: list[GraphInput] = []
    for name in every:
        column = columns[name]
        dtype = column.values.dtype
        if dtype == np.float16:
            message = f"{file.path}: branch {name!r} is of float16, which the graph cannot compute as numpy does; store it in float32"
            raise InputFileError(message)
        owners = [groups[key] for key, held in found.items() if key is not None and name in held]
        inputs.append(GraphInput(name, dtype, owners[0] if column.offsets is not None else None))
    masks = [
        GraphInput(mask_name(group), np.dtype(np.bool_), group, "mask")
        for group in dict.fromkeys(groups.values())
    ]
    for mask in masks:
        if mask.name in every:
            message = f"{file.path}: branch {mask.name!r} has the name of a mask; call its collection something else"
            raise InputFileError(message)
    return RawColumns(names, found, numbers, (*inputs, *masks), groups, columns, entries)


def _branch(names: Names, name: str) -> str:
    """The branch of a part of the identity, as the preparation found it."""
    meaning = names.resolve(name, None)
    return str(getattr(meaning, "name", name))


def _input_file(analysis: Analysis, era: str, like: Path | None) -> InputFile:
    if like is not None:
        if not like.is_file():
            message = f"--like {like}: no such file"
            raise InputFileError(message)
        process = next(iter(analysis.processes))
        return InputFile(str(like), process, era, analysis.source.tree, "", 0, "")
    try:
        files = [file for file in find_files(analysis) if file.era == era and not file.variation]
    except InputFileError as error:
        message = f"{error}; the export reads from one which branches there are: give --like FILE"
        raise InputFileError(message) from error
    if not files:
        message = f"era {era}: no input file; give --like FILE"
        raise InputFileError(message)
    return files[0]


def _expressions(analysis: Analysis) -> list[tuple[str, str | None]]:
    """Everything between the branches and what the network sees; no region, no weight."""
    found: list[tuple[str, str | None]] = []
    for name, settings in analysis.objects.items():
        found += [(text, name) for text in settings.features]
        found += [(f"count({name})", None)]  # with what decides which objects there are
        if analysis.model.pair_bias:
            found += [(text, name) for text in MOMENTUM_FIELDS]
    return [*found, *((text, None) for text in analysis.event.features)]


def _groups(
    analysis: Analysis,
    branches: Mapping[str | None, tuple[str, ...]],
    columns: Mapping[str, Column],
) -> dict[str, str]:
    """Collections that share a jagged branch are of the same objects, under one name."""
    groups: dict[str, str] = {}
    owner: dict[str, str] = {}
    for name, settings in analysis.objects.items():
        jagged = [
            branch for branch in branches.get(name, ()) if columns[branch].offsets is not None
        ]
        if not jagged:
            message = f"objects.{name}: none of its branches holds a list per event"
            raise InputFileError(message)
        plain = (settings.collection or name).replace("{}", "")
        shared = next((owner[branch] for branch in jagged if branch in owner), plain)
        groups[name] = shared
        owner.update(dict.fromkeys(jagged, shared))
    return groups
