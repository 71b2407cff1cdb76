"""Names of the columns of scores that depend on the analysis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["hypothesis_column", "hypothesis_suffix", "plain", "regression_columns"]


def hypothesis_column(parameters: Mapping[str, float]) -> str:
    """Name of the scores under a hypothesis: ``score_mass_1000``, ``score_mass_750_width_0.1``."""
    return "score" + hypothesis_suffix(parameters)


def hypothesis_suffix(parameters: Mapping[str, float]) -> str:
    """What a column's name ends in under a hypothesis: ``_mass_1000``."""
    return "".join(f"_{name}_{_number(value)}" for name, value in parameters.items())


def plain(name: str) -> str:
    """The name as one of C++, as ROOT wants branches called: 0.5 is ``0p5``, −1 is ``m1``."""
    numbers = re.sub(r"(?<=\d)\.(?=\d)", "p", re.sub(r"(?<=_)-(?=\d)", "m", name))
    return re.sub(r"[^A-Za-z0-9_]", "_", numbers)


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
