"""Numbers as a physicist writes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["count", "figure_text", "significant", "with_error"]


def significant(error: float) -> int:
    """Decimal places that the Particle Data Group's rule leaves an error.

    Two significant digits where the three leading ones are below 355, else one (950 and above
    are rounded up to 1000 and keep two). Review of Particle Physics, introduction, "Rounding".

    Parameters
    ----------
    error
        Positive.

    Returns
    -------
    int
        Decimal places; negative for rounding to tens, hundreds, …
    """
    exponent = math.floor(math.log10(error))
    leading = round(error / 10 ** (exponent - 2))
    if leading < 355:
        return 1 - exponent
    return -exponent


def with_error(value: float, error: float | None, digits: int = 4) -> str:
    """``value ± error`` rounded by the rule of `significant`.

    Parameters
    ----------
    value, error
        Finite; without a positive error the value alone is given.
    digits
        Significant digits of a value without error.

    Returns
    -------
    str
        With a typographic minus and thousands separated by thin spaces.
    """
    if not error:
        places = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
        return _fixed(value, places)
    places = significant(error)
    return f"{_fixed(value, places)} ± {_fixed(error, places)}"


def count(value: float) -> str:
    """A number of events, to a whole one or, below 100, to a tenth where it is no integer."""
    return _fixed(value, 0 if abs(value) >= 100 or float(value).is_integer() else 1)


def figure_text(figure: Mapping[str, Any]) -> str:
    """Text of a figure of ``metrics.json``: ``value ± error``, or ``undefined``.

    A figure whose error is undefined, because some bootstrap replicas do not define it, is known
    to a digit or two at best: ``110 ± ?``.
    """
    if figure["value"] is None:
        return "undefined"
    if figure["error"] is None and figure["reason"]:
        return f"{with_error(figure['value'], None, digits=2)} ± ?"
    return with_error(figure["value"], figure["error"])


def _fixed(value: float, places: int) -> str:
    rounded = round(value, places) + 0.0  # + 0.0 turns −0 into 0
    text = f"{rounded:,.{max(places, 0)}f}"
    return text.replace(",", "\u202f").replace("-", "−")
