"""The errors a user can cause, the nearest existing names, and optional libraries."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = [
    "AOTError",
    "AnalysisFileError",
    "ClusterError",
    "ExpressionError",
    "IncompleteStoreError",
    "InputFileError",
    "MissingExtraError",
    "ModelInputError",
    "OtherRankError",
    "OutputError",
    "RankError",
    "SampleError",
    "nearest",
    "require",
]


class AOTError(Exception):
    """Something the user can mend: the message is one line that says what and how."""


class AnalysisFileError(AOTError):
    """The analysis file has a wrong key or value."""


class ExpressionError(AOTError):
    """An expression of the analysis file cannot be parsed or evaluated."""


class InputFileError(AOTError):
    """An input file is missing, damaged, or lacks a tree or branch."""


class IncompleteStoreError(InputFileError):
    """Some chunks of the input cannot be read; the others are kept."""


class SampleError(AOTError):
    """The events themselves do not allow what was asked (no event left, no weight, NaN)."""


class ModelInputError(AOTError, ValueError):
    """A tensor or constructor argument of the model has the wrong shape, dtype or value."""


class OutputError(AOTError):
    """The output cannot be written."""


class ClusterError(AOTError):
    """The Dask cluster cannot be reached, does not fit this installation, or has gone."""


class RankError(AOTError):
    """The processes that train together do not fit together, or one of them is gone."""


class OtherRankError(RankError):
    """Another of the processes that train together says what is wrong: this one says nothing."""


class MissingExtraError(AOTError, ImportError):
    """An optional library is not installed."""


def nearest(name: str, known: Iterable[str], count: int = 6) -> str:
    """Say which known names come nearest to `name`.

    Parameters
    ----------
    name
        What the user wrote.
    known
        The names that exist.
    count
        How many names to give at most.

    Returns
    -------
    str
        ``"nearest: a, b"``, or ``"known: …"`` where nothing resembles `name`.

    Examples
    --------
    >>> nearest("Jet_Pt", ["Jet_pt", "Jet_phi", "MET_sumEt"], count=1)
    'nearest: Jet_pt'
    """
    names = sorted(set(known))
    if not names:
        return "nothing is known here"
    folded: dict[str, list[str]] = {}
    for candidate in names:
        folded.setdefault(candidate.lower(), []).append(candidate)
    close = difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.5)
    # A part of the name in common helps where spelling distance does not (MET_pt, PuppiMET_pt).
    parts = [part for part in name.lower().replace(".", "_").split("_") if len(part) > 2]
    containing = [low for low in folded if parts and all(part in low for part in parts)]
    ending = [low for low in folded if low.endswith(name.lower())]
    ranked = list(dict.fromkeys([*sorted(ending, key=len), *close, *sorted(containing, key=len)]))
    found = [original for low in ranked for original in folded[low]][:count]
    if found:
        return f"nearest: {', '.join(found)}"
    shown = ", ".join(names[:count])
    return f"known: {shown}{', …' if len(names) > count else ''}"


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Parameters
    ----------
    module
        The module's import name.
    extra
        The extra of this distribution that installs it.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message says the install command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = (
            f"{package} is not installed ({error}); it comes with "
            f"pip install 'analysis-object-transformer[{extra}]'"
        )
        raise MissingExtraError(message) from error
