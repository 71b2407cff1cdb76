"""Feature columns of the kept events, and which of their values are not finite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer import kinematics
from particle_transformer.errors import InputFileError
from particle_transformer.events import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.data.names import Names
    from particle_transformer.data.scope import Scope

__all__ = ["MOMENTUM_FIELDS", "EventTable", "Flaws", "event_tables", "object_features"]

MOMENTUM_FIELDS = ("pt", "eta", "phi", "mass")
"""The fields that the pair bias computes with."""


@dataclass
class Flaws:
    """Which of the kept events have NaN or infinity, by what has it: bool (kept events,) each."""

    columns: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def add(self, label: str, bad: NDArray[np.bool_]) -> None:
        """Note that `label` is not finite where `bad`."""
        if bad.any():
            self.columns[label] = self.columns.get(label, np.False_) | bad

    def any(self, events: int) -> NDArray[np.bool_]:
        """Which events have one: bool (events,)."""
        found = np.zeros(events, dtype=np.bool_)
        for bad in self.columns.values():
            found |= bad
        return found


def object_features(
    analysis: Analysis, scope: Scope, name: str, kept: NDArray[np.int64], flaws: Flaws
) -> tuple[Ragged, NDArray[np.int64]]:
    """Features (and momenta) of a collection's objects, at most ``max`` of each event.

    Parameters
    ----------
    analysis
        The analysis file.
    scope
        The chunk.
    name
        The collection.
    kept
        int64 (kept,): the events.
    flaws
        Gets what is not finite.

    Returns
    -------
    ragged, truncated
        The objects, and how many ``max`` has cut of each event: int64 (kept,).
    """
    settings = analysis.objects[name]
    offsets = scope.offsets(name)
    starts, counts = offsets[kept], np.diff(offsets)[kept]
    capped = counts if settings.max is None else np.minimum(counts, settings.max)
    kept_offsets = np.concatenate([[0], np.cumsum(capped)]).astype(np.int64)
    rows = np.arange(kept_offsets[-1]) + np.repeat(starts - kept_offsets[:-1], capped)
    owner = np.repeat(np.arange(len(kept)), capped)

    def check(label: str, finite: NDArray[np.bool_]) -> None:
        if not finite.all():
            flaws.add(label, np.bincount(owner[~finite], minlength=len(kept)) > 0)

    values = np.empty((len(rows), len(settings.features)), dtype=np.float32)
    for column, feature in enumerate(settings.features):
        key = f"objects.{name}.features.{column}"
        values[:, column] = scope.objects(feature, name, key)[rows]
        check(f"{name}: {feature}", np.isfinite(values[:, column]))
    momenta = None
    if analysis.model.pair_bias:
        polar = [
            scope.objects(field_name, name, "model.pair_bias")[rows].astype(np.float64)
            for field_name in MOMENTUM_FIELDS
        ]
        momenta = _cartesian(*polar)
        check(f"{name}: momentum", np.isfinite(momenta.sum(axis=1)))
    return Ragged(values, kept_offsets, momenta), counts - capped


@dataclass(frozen=True)
class EventTable:
    """A table with one number per event and column: the event features, or the spectators.

    Attributes
    ----------
    key
        Where its expressions stand in the analysis file.
    label
        What its columns are called where they are not finite.
    texts
        The expressions.
    absent
        Columns that recorded data does not have: NaN, which is no flaw there.
    """

    key: str
    label: str
    texts: tuple[str, ...]
    absent: frozenset[int] = frozenset()

    def flaw(self, column: int) -> str:
        """The name under which `Flaws` knows a column."""
        return f"{self.label}: {self.texts[column]}"

    def column(
        self, column: int, scope: Scope, kept: NDArray[np.int64], flaws: Flaws
    ) -> NDArray[np.float32]:
        """One column of the kept events: float32 (kept,)."""
        if column in self.absent:
            return np.full(len(kept), np.nan, dtype=np.float32)
        values = scope.event(self.texts[column], f"{self.key}.{column}")[kept].astype(np.float32)
        flaws.add(self.flaw(column), ~np.isfinite(values))
        return values

    def matrix(self, scope: Scope, kept: NDArray[np.int64], flaws: Flaws) -> NDArray[np.float32]:
        """All columns of the kept events: float32 (kept, columns)."""
        values = np.empty((len(kept), len(self.texts)), dtype=np.float32)
        for column in range(len(self.texts)):
            values[:, column] = self.column(column, scope, kept, flaws)
        return values


def event_tables(analysis: Analysis, names: Names, *, is_data: bool) -> dict[str, EventTable]:
    """The tables of one file, by the name that `Events` and the shards give them.

    Parameters
    ----------
    analysis
        The analysis file.
    names
        What names mean in the file.
    is_data
        Whether it holds recorded events; these have no generated quantities, so a spectator whose
        branches are not there is NaN.
    """
    texts = analysis.event.spectators
    absent = (column for column, text in enumerate(texts) if is_data and not _is_known(text, names))
    return {
        "event": EventTable("event.features", "event", analysis.event.features),
        "spectators": EventTable("event.spectators", "spectator", texts, frozenset(absent)),
    }


def _is_known(text: str, names: Names) -> bool:
    try:
        names.branches([(text, None)])
    except InputFileError:
        return False
    return True


def _cartesian(
    pt: NDArray[np.float64],
    eta: NDArray[np.float64],
    phi: NDArray[np.float64],
    mass: NDArray[np.float64],
) -> NDArray[np.float32]:
    return np.stack(
        [
            kinematics.px(pt, phi),
            kinematics.py(pt, phi),
            kinematics.pz(pt, eta),
            kinematics.energy(pt, eta, mass),
        ],
        axis=1,
    ).astype(np.float32)
