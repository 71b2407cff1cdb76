"""The functions an expression may call: how many arguments each takes. No evaluation here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["FUNCTIONS", "Signature"]

Default: TypeAlias = Literal["none", "keyword", "required"]


@dataclass(frozen=True)
class Signature:
    """What a call must look like.

    Attributes
    ----------
    arguments
        The names of the arguments, in order.
    variadic
        Whether more arguments of the last kind may follow.
    default
        Whether the call takes a value for events without (enough) objects: ``none``;
        ``keyword``, optional, only as ``default=…``; ``required``, last argument or keyword.
    """

    arguments: tuple[str, ...]
    variadic: bool = False
    default: Default = "none"

    def __str__(self) -> str:
        shown = [*self.arguments, *(["..."] if self.variadic else [])]
        if self.default == "keyword":
            shown.append("default=...")
        elif self.default == "required":
            shown.append("default")
        return f"({', '.join(shown)})"


_ONE = Signature(("x",))

FUNCTIONS: dict[str, Signature] = {
    **dict.fromkeys(
        ("abs", "sqrt", "log", "log10", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh"), _ONE
    ),
    "arctan2": Signature(("y", "x")),
    **dict.fromkeys(("sum", "count", "any", "all"), _ONE),
    **dict.fromkeys(("min", "max"), Signature(("x",), variadic=True, default="keyword")),
    "mean": Signature(("x",), default="keyword"),
    **dict.fromkeys(("leading", "subleading"), Signature(("x",), default="required")),
    "where": Signature(("condition", "a", "b")),
    "delta_phi": Signature(("phi1", "phi2")),
    "delta_r": Signature(("eta1", "phi1", "eta2", "phi2")),
    "px": Signature(("pt", "phi")),
    "py": Signature(("pt", "phi")),
    "pz": Signature(("pt", "eta")),
    "energy": Signature(("pt", "eta", "mass")),
    "pt": Signature(("px", "py")),
    "eta": Signature(("px", "py", "pz")),
    "phi": Signature(("px", "py")),
    "mass": Signature(("px", "py", "pz", "E")),
    "transverse_mass": Signature(("pt1", "phi1", "pt2", "phi2")),
}
"""Every function by name."""
