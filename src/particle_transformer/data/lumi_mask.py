"""Certified luminosity sections: which recorded events count as good data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LumiMask", "read_lumi_mask"]

MAX_SECTION = 2**32 - 1
"""The largest luminosity section: the files hold it in 32 bits."""


@dataclass(frozen=True, eq=False)
class LumiMask:
    """Ranges of certified luminosity sections.

    Attributes
    ----------
    runs
        int64 (runs,): ascending.
    starts, stops
        int64 (ranges,): the sections first <= s <= last of all runs as ``run index × span + s``;
        disjoint and ascending.
    span
        More than the largest section of any range.
    """

    runs: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    span: int

    def __call__(self, run: ArrayLike, luminosity_section: ArrayLike) -> NDArray[np.bool_]:
        """Which events lie in a certified luminosity section.

        Parameters
        ----------
        run, luminosity_section
            int64 (events,).

        Returns
        -------
        bool (events,)
        """
        runs = np.asarray(run, dtype=np.int64)
        sections = np.asarray(luminosity_section, dtype=np.int64)
        if not len(self.starts):
            return np.zeros(len(runs), dtype=np.bool_)
        index = np.minimum(np.searchsorted(self.runs, runs), len(self.runs) - 1)
        known = (self.runs[index] == runs) & (sections >= 0) & (sections < self.span)
        place = index * self.span + np.where(known, sections, 0)
        # The last range that begins at or before the section; those of earlier runs end below it.
        candidate = np.searchsorted(self.starts, place, side="right") - 1
        inside: NDArray[np.bool_] = known & (candidate >= 0) & (place <= self.stops[candidate])
        return inside


def read_lumi_mask(path: str | Path) -> LumiMask:
    """Read a file of certified luminosity sections, ``{"run": [[first, last], …], …}``.

    The ranges include both ends; they may overlap and come in any order. A run may have none.

    Raises
    ------
    InputFileError
        If the file cannot be read, or is anything else; the message names the run.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        message = f"{path}: cannot read the luminosity mask ({error.strerror})"
        raise InputFileError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: the luminosity mask is not a text file in UTF-8 (byte {error.start})"
        raise InputFileError(message) from error
    try:
        content = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        message = f"{path}: the luminosity mask is not valid JSON ({error})"
        raise InputFileError(message) from error
    if not isinstance(content, dict):
        message = (
            f"{path}: the luminosity mask holds a {type(content).__name__}, expected "
            f'{{"run": [[first, last], ...]}}'
        )
        raise InputFileError(message)
    return _mask({_run(run, path): _ranges(run, ranges, path) for run, ranges in content.items()})


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        message = f"{repeated} is given twice"
        raise ValueError(message)
    return content


def _run(run: str, path: str | Path) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,17}", run):
        message = f"{path}: run {run!r} of the luminosity mask is not a run number"
        raise InputFileError(message)
    return int(run)


def _ranges(run: str, ranges: object, path: str | Path) -> list[list[int]]:
    if not isinstance(ranges, list):
        message = (
            f"{path}: run {run} of the luminosity mask has {ranges!r}, expected a list of ranges "
            f"[first, last]"
        )
        raise InputFileError(message)
    for entry in ranges:
        fine = (
            isinstance(entry, list)
            and len(entry) == 2
            and all(type(section) is int for section in entry)
            and 0 <= entry[0] <= entry[1] <= MAX_SECTION
        )
        if not fine:
            message = (
                f"{path}: run {run} of the luminosity mask has the range {entry!r}, expected "
                f"[first, last] with integers 0 <= first <= last"
            )
            raise InputFileError(message)
    return ranges


def _mask(certified: dict[int, list[list[int]]]) -> LumiMask:
    runs = sorted(certified)
    span = 1 + max((last for ranges in certified.values() for _, last in ranges), default=0)
    starts: list[int] = []
    stops: list[int] = []
    for index, run in enumerate(runs):
        begin = len(stops)
        for first, last in sorted(certified[run]):
            if len(stops) > begin and index * span + first <= stops[-1]:
                stops[-1] = max(stops[-1], index * span + last)
            else:
                starts.append(index * span + first)
                stops.append(index * span + last)
    ascending, begins, ends = (np.array(values, dtype=np.int64) for values in (runs, starts, stops))
    return LumiMask(ascending, begins, ends, span)
