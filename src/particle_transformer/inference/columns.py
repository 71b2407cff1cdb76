"""Names of the columns of ``scores.parquet`` that depend on the analysis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["hypothesis_column", "regression_columns"]


def hypothesis_column(parameters: Mapping[str, float]) -> str:
    """Name of the scores under a hypothesis: ``score_mass_1000``, ``score_mass_750_width_0.1``."""
    parts = [f"{name}_{_number(value)}" for name, value in parameters.items()]
    return "_".join(["score", *parts])


def regression_columns(targets: Sequence[str]) -> list[str]:
    """Names of regressed quantities: ``regression_gen_met`` of ``gen_met``.

    Whatever is neither letter nor digit in an expression becomes an underscore; of names that are
    then equal, the second ends in ``_2``.
    """
    names: list[str] = []
    for target in targets:
        plain = "regression_" + re.sub(r"[^A-Za-z0-9]+", "_", target).strip("_")
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names


def _number(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
