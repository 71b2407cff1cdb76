"""Which process and era a file belongs to that the user names."""

from __future__ import annotations

import glob
from collections import defaultdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from particle_transformer.data.files import InputFile, input_file, patterns_of
from particle_transformer.data.readers.remote import is_url
from particle_transformer.errors import InputFileError, nearest
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from particle_transformer.config import Analysis

__all__ = ["Belonging"]


class Owner(NamedTuple):
    """Process, era and (for a file that replaces nominal ones) the side of a variation."""

    process: str
    era: str
    variation: str = ""


class Belonging:
    """Finds the process and era of files.

    A file that the analysis file names belongs there, also where only its name is the same: samples
    are copied and skimmed. For any other the options say it, as far as it changes how the file is
    read: whether it is recorded data, its tree, and the era's aliases, trigger and luminosity mask.

    Parameters
    ----------
    analysis
        The analysis.
    process, era
        What the user says; None: nothing.

    Raises
    ------
    InputFileError
        If the analysis has no such process or era.
    """

    def __init__(self, analysis: Analysis, process: str | None, era: str | None) -> None:
        for option, value, known in (
            ("--process", process, analysis.processes),
            ("--era", era, analysis.eras),
        ):
            if value is not None and value not in known:
                message = f"{option} {value}: not in the analysis file; {nearest(value, known)}"
                raise InputFileError(message)
        self._analysis = analysis
        self._process = process
        self._era = era
        self._paths: defaultdict[str, set[Owner]] = defaultdict(set)
        self._names: defaultdict[str, set[Owner]] = defaultdict(set)
        for name, label, variation, patterns, _ in patterns_of(analysis):
            for pattern in patterns:
                for path in _matched(pattern):
                    self._paths[path].add(owner := Owner(name, label, variation))
                    self._names[PurePath(path).name].add(owner)

    def __call__(self, path: str) -> InputFile:
        """The file with the process and era it belongs to.

        Raises
        ------
        InputFileError
            If it is not there, or nothing says what it is.
        """
        owner = self._owner(path)
        tree = self._analysis.processes[owner.process].tree or self._analysis.source.tree
        return input_file(path, owner.process, owner.era, tree, owner.variation)

    def _owner(self, path: str) -> Owner:
        own = self._paths.get(path if is_url(path) else str(Path(path).resolve()), set())
        if own and not self._allowed(own):
            there = _listed(own)
            message = (
                f"{path}: belongs to {there} in the analysis file; leave --process and --era out"
            )
            raise InputFileError(message)
        known = self._allowed(own) or self._allowed(self._names.get(PurePath(path).name, set()))
        if len(known) == 1:
            return known[0]
        if len(known) > 1:
            message = (
                f"{path}: the analysis file has it in {_listed(known)}; say which with --process "
                "and --era"
            )
            raise InputFileError(message)
        return self._other(path)

    def _other(self, path: str) -> Owner:
        """The owner of a file that the analysis does not know."""
        eras = self._analysis.eras
        every = self._allowed(Owner(name, era) for name in self._analysis.processes for era in eras)
        if len({self._kind(owner) for owner in every}) == 1:
            return every[0]
        wanted = []
        if len({self._kind(Owner(owner.process, every[0].era)) for owner in every}) > 1:
            wanted.append(f"--process ({', '.join(self._analysis.processes)})")
        if len({self._kind(Owner(every[0].process, owner.era)) for owner in every}) > 1:
            wanted.append(f"--era ({', '.join(eras)})")
        message = (
            f"{path}: no file of the analysis has this path or name, and how it is read depends on "
            f"what it is; say {' and '.join(wanted)}"
        )
        raise InputFileError(message)

    def _allowed(self, owners: Iterable[Owner]) -> list[Owner]:
        return sorted(
            owner
            for owner in owners
            if self._process in (None, owner.process) and self._era in (None, owner.era)
        )

    def _kind(self, owner: Owner) -> str:
        """All that decides how a file is read."""
        analysis, era = self._analysis, self._analysis.eras[owner.era]
        is_data = analysis.class_of(owner.process) == DATA
        mask = era.lumi_mask if is_data else None
        return repr(
            (is_data, analysis.processes[owner.process].tree, era.aliases, era.trigger, mask)
        )


def _matched(pattern: str) -> set[str]:
    """Files of a pattern that are there, and the path itself where it is none."""
    if is_url(pattern):
        return {pattern}
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 (absolute pattern)
    return {str(Path(path).resolve()) for path in (found or [pattern])}


def _listed(owners: Iterable[Owner]) -> str:
    return ", ".join(
        f"processes.{owner.process} (era {owner.era})" for owner in sorted(set(owners))
    )
