"""The methods that are compared, each behind one call on the same events."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from particle_transformer.errors import AnalysisFileError, MissingExtraError, nearest, require
from particle_transformer.studies.compare.boosted import BOOSTED
from particle_transformer.studies.compare.networks import NETWORKS, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.studies.compare.method import Method

__all__ = ["METHODS", "REFERENCE", "choose_methods", "is_installed"]

_EVERY: dict[str, Method] = {**NETWORKS, **BOOSTED}

METHODS: dict[str, Method] = {
    name: _EVERY[name]
    for name in (REFERENCE, "trees", "trees_raw", "dense", "deep_sets", "published", "part")
}
"""By name, in the order of tables."""


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported."""
    return importlib.util.find_spec(module) is not None


def choose_methods(wanted: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Decide which methods are compared, and check that what they need is installed.

    Parameters
    ----------
    wanted
        Names; empty: all, ParT only where weaver-core is installed.

    Returns
    -------
    chosen : tuple of str
        In the order of `METHODS`; the network is always among them.
    absent : dict
        By name of what was left out: why.

    Raises
    ------
    AnalysisFileError
        If a name is unknown.
    MissingExtraError
        If a library of a wanted method is not installed.
    """
    for name in wanted:
        if name not in METHODS:
            message = f"--method: got {name!r}; {nearest(name, METHODS)}"
            raise AnalysisFileError(message)
    chosen = {REFERENCE, *(wanted or METHODS)}
    absent = {}
    if "part" in chosen and not is_installed("weaver"):
        reason = "weaver is not installed; it comes with pip install weaver-core"
        if wanted:
            message = f"part: {reason}"
            raise MissingExtraError(message)
        chosen.remove("part")
        absent["part"] = reason
    if chosen & {"trees", "trees_raw"}:
        require("xgboost", "compare")
    return tuple(name for name in METHODS if name in chosen), absent
