"""Where the objects of an event are: pt, η and φ from what is stored for the network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer import kinematics
from particle_transformer.expressions import parse
from particle_transformer.expressions.nodes import Call, Name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events, Ragged
    from particle_transformer.expressions.nodes import Node

__all__ = ["Direction", "Plane", "plane_of"]


@dataclass(frozen=True)
class Direction:
    """A direction in the transverse plane, such as that of the missing transverse momentum.

    Attributes
    ----------
    name
        In the analysis file: ``"met"`` of ``met.phi``.
    phi
        In radians.
    pt
        In GeV; None where no feature tells it.
    """

    name: str
    phi: float
    pt: float | None


@dataclass(frozen=True)
class Plane:
    """An event in the η-φ plane.

    Attributes
    ----------
    objects
        float64 (objects, 3) by collection: pt in GeV, η, φ in (−π, π]. Without the collections
        of which this is not known.
    origin
        From what φ is measured where its own value is not known (``"met.phi"``), or None.
    directions
        What the features say besides.
    """

    objects: Mapping[str, NDArray[np.float64]]
    origin: str | None
    directions: tuple[Direction, ...]


def plane_of(event: Events, objects: Mapping[str, Sequence[str]], features: Sequence[str]) -> Plane:
    """The η-φ plane of an event, from four-momenta where there are some, else from features.

    Of features, ``pt`` or ``log(pt)`` (with ``max(pt, 1)``, too), ``eta``, and ``phi`` or
    ``delta_phi(phi, X)`` are understood; the latter also gives the direction X.

    Parameters
    ----------
    event
        One event.
    objects, features
        Feature expressions by collection, and those of the event.
    """
    found = {name: _Collection.of(event.objects[name], texts) for name, texts in objects.items()}
    event_columns = _columns(features)

    def value(name: str) -> float | None:
        column = _value(event_columns, event.event, name)
        return None if column is None else float(column[0])

    shown = {name: each for name, each in found.items() if each.pt_eta is not None}
    relative = Counter(key for each in shown.values() for key in each.relative)
    lost = [name for name, each in shown.items() if each.phi is None]
    origin = relative.most_common(1)[0][0] if lost and relative else None
    plane: dict[str, NDArray[np.float64]] = {}
    for name, each in shown.items():
        phi = each.phi if origin is None else each.relative.get(origin)
        if phi is not None and each.pt_eta is not None:
            plane[name] = np.column_stack([each.pt_eta, kinematics.delta_phi(phi, 0.0)])
    angles = {} if origin is None else {origin: 0.0}
    if origin is None:
        for each in shown.values():
            for key, difference in each.relative.items():
                if len(difference) and each.phi is not None:
                    first = kinematics.delta_phi(each.phi[0], difference[0])
                    angles.setdefault(key, float(first))
        for node in event_columns:
            if isinstance(node, Name) and node.name.endswith(".phi"):
                known = value(node.name)
                assert known is not None
                angles[node.name] = known
    names = {key: key.removesuffix(".phi") for key in angles}
    return Plane(
        plane,
        origin,
        tuple(Direction(names[key], phi, value(f"{names[key]}.pt")) for key, phi in angles.items()),
    )


@dataclass(frozen=True)
class _Collection:
    """pt and η (objects, 2); φ, and φ − X by X, (objects,) each."""

    pt_eta: NDArray[np.float64] | None
    phi: NDArray[np.float64] | None
    relative: Mapping[str, NDArray[np.float64]]

    @staticmethod
    def of(ragged: Ragged, features: Sequence[str]) -> _Collection:
        columns = _columns(features)
        relative = {
            node.arguments[1].name: ragged.values[:, column].astype(np.float64)
            for node, column in columns.items()
            if isinstance(node, Call)
            and node.function == "delta_phi"
            and node.arguments[0] == Name("phi")
            and isinstance(node.arguments[1], Name)
        }
        if ragged.momenta is not None:
            px, py, pz, _ = ragged.momenta.astype(np.float64).T
            pt_eta = np.column_stack([kinematics.pt(px, py), kinematics.eta(px, py, pz)])
            return _Collection(pt_eta, np.asarray(kinematics.phi(px, py)), relative)
        pt, eta, phi = (_value(columns, ragged.values, name) for name in ("pt", "eta", "phi"))
        both = None if pt is None or eta is None else np.column_stack([pt, eta])
        return _Collection(both, phi, relative)


def _columns(features: Sequence[str]) -> dict[Node, int]:
    return {parse(text).tree: column for column, text in enumerate(features)}


def _value(
    columns: Mapping[Node, int], values: NDArray[np.float32], name: str
) -> NDArray[np.float64] | None:
    """float64 (rows,): the quantity, from a feature that is it or its logarithm; None without."""
    for node, column in columns.items():
        logarithm = isinstance(node, Call) and node.function == "log"
        inner = node.arguments[0] if isinstance(node, Call) and logarithm else node
        if isinstance(inner, Call) and inner.function == "max" and len(inner.arguments) == 2:
            inner = inner.arguments[0]
        if inner == Name(name):
            own = values[:, column].astype(np.float64)
            return np.asarray(np.exp(own)) if logarithm else own
    return None
