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
    integer
        Where the last argument must be written as a plain integer: the allowed ones.
    """

    arguments: tuple[str, ...]
    variadic: bool = False
    default: Default = "none"
    integer: range | None = None

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
    **dict.fromkeys(("sign", "is_finite"), _ONE),
    "bit": Signature(("x", "n"), integer=range(64)),
    "arctan2": Signature(("y", "x")),
    **dict.fromkeys(("sum", "product", "count", "any", "all", "index"), _ONE),
    **dict.fromkeys(("min", "max"), Signature(("x",), variadic=True, default="keyword")),
    "mean": Signature(("x",), default="keyword"),
    **dict.fromkeys(("leading", "subleading"), Signature(("x",), default="required")),
    "nth": Signature(("x", "n"), default="required", integer=range(10_000)),
    **dict.fromkeys(("at_max", "at_min"), Signature(("x", "key"), default="required")),
    "invariant_mass": Signature(("pt", "eta", "phi", "mass"), default="keyword"),
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
    "pair_mass": Signature(
        ("pt1", "eta1", "phi1", "mass1", "pt2", "eta2", "phi2", "mass2"),
    ),
    "transverse_mass": Signature(("pt1", "phi1", "pt2", "phi2")),
}
"""Every function by name."""
