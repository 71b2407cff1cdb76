"""How the quantities of a collider event behave under its symmetries, by their names.

`eta`, `phi`, `px`, `py`, `pz` are what the field calls so, in any collection; a branch
``Jet_eta`` is the field ``eta`` of ``Jet``. Another name is taken for a number without direction
(``pt``, ``mass``, ``btag``), unless a part of it speaks of a direction (``dz``, ``deltaEta``,
``ElectronPhi2``): then nothing is claimed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from particle_transformer.expressions.parity import EVEN, NEITHER, ODD
from particle_transformer.expressions.rotation import Angle, Component, Invariant
from particle_transformer.expressions.symmetry import INVARIANT, Symmetry

if TYPE_CHECKING:
    from collections.abc import Hashable

    from particle_transformer.expressions.rotation import Keys, Turn

__all__ = ["UNKNOWN", "presumed", "quantity"]

UNKNOWN = Symmetry(NEITHER, NEITHER, None)
"""Nothing is claimed."""

_SCALARS = {"pt", "et", "mass", "m", "e", "energy", "charge"}
_PREFIXED = re.compile(r"([A-Z][A-Za-z0-9]*)_([A-Za-z]+)")
# Words that make another quantity of it: AbsJet_eta, Delta_phi, SigmaJet_eta.
_QUALIFIERS = {
    "abs", "d", "delta", "diff", "cos", "sin", "tan", "sigma", "err", "error", "unc", "res", "rel",
    "min", "max", "std",
}  # fmt: skip
_DIRECTION = re.compile(r"eta|phi|theta|rapid|angle|helic|p[xyz]$|^[dlv]?[xyz]$|^[dl]?xy$|^[dz]0$")


def quantity(name: str, owner: Hashable, keys: Keys) -> Symmetry | None:
    """Recognise a quantity by its name; None for any other.

    Parameters
    ----------
    name
        Plain, or dotted (``met.phi``).
    owner
        What it is a quantity of, where the name does not say it.
    keys
        For `turn`.
    """
    head, dot, field = name.rpartition(".")
    prefixed = None if dot else _PREFIXED.fullmatch(name)
    if dot:
        owner = ("quantity", head)
    elif prefixed is not None and not _QUALIFIERS & set(_words(prefixed[1])):
        owner, field = ("branch", prefixed[1]), prefixed[2]
    kind = field.lower()
    if kind in _SCALARS:
        return INVARIANT
    if kind in ("eta", "rapidity", "pz"):
        return Symmetry(ODD, EVEN, Invariant())
    if kind == "phi":
        return Symmetry(EVEN, ODD, Angle(1, wrapped=True, key=keys("phi", owner, field)))
    if kind in ("px", "py", "cos_phi", "sin_phi"):
        # Px and py of the same owner may be of two vectors.
        vector = keys("vector", owner, field[:1] if kind[0] == "p" else field[3:])
        along_x = kind in ("px", "cos_phi")
        turned: Turn = Component("x" if along_x else "y", vector, nonzero=True)
        return Symmetry(EVEN, EVEN if along_x else ODD, turned)
    return None


def presumed(name: str) -> Symmetry:
    """What a name is taken for that is no known `quantity`."""
    return UNKNOWN if any(map(_DIRECTION.search, _words(name))) else INVARIANT


def _words(name: str) -> list[str]:
    """``MissingET_phi``: missing, et, phi."""
    return re.sub(r"([a-z0-9])(?=[A-Z])", r"\1_", name.replace(".", "_")).lower().split("_")
