"""Kinematic variations of one chunk: which quantities change, and what depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer import kinematics
from particle_transformer.data.met import recoiled
from particle_transformer.data.names import Definition, Field
from particle_transformer.errors import InputFileError
from particle_transformer.expressions.reductions import total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis, Varied
    from particle_transformer.data.names import Names
    from particle_transformer.data.scope import Scope

__all__ = ["Side"]

MET_PT, MET_PHI = "met.pt", "met.phi"


class Side:
    """One side of a variation (``JES.up``) for the files in which names mean the same.

    Parameters
    ----------
    analysis
        The analysis file.
    varied
        What the side changes.
    names
        What names mean in the file.

    Raises
    ------
    InputFileError
        If the file lacks a branch that the variation needs, or the field that it varies.
    """

    def __init__(self, analysis: Analysis, varied: Varied, names: Names) -> None:
        self.name = varied.name
        self._analysis = analysis
        self._varied = varied
        self._names = names
        self._key = f"variations.{varied.name}"
        self._changed: set[Field | Definition] = {
            *(Field(collection, field) for collection, field in varied.fields),
            *(Definition(name) for name in varied.quantities),
        }
        if varied.propagate_to_met is not False:
            self._changed |= {Definition(MET_PT), Definition(MET_PHI)}
        for collection, field in varied.fields:
            self._check(collection, field)
        self.unchanged = [
            name for name in analysis.objects if not self.touches([(f"count({name})", None)])
        ]

    def _check(self, collection: str, field: str) -> None:
        """A misspelt field would be varied in vain."""
        try:
            self._names.check_field(field, collection)
        except InputFileError as error:
            message = f"{self._key}.{collection}.{field}: {error}"
            raise InputFileError(message) from error

    @property
    def expressions(self) -> list[tuple[str, str | None]]:
        """Every expression the side needs, with its collection (None: of the event)."""
        varied = self._varied
        found: list[tuple[str, str | None]] = []
        for (collection, _), text in varied.fields.items():
            found.append((text, collection))
        found += [(text, None) for text in varied.quantities.values()]
        if varied.propagate_to_met is not False:
            found += [(MET_PT, None), (MET_PHI, None)]
            for collection in self._recoiling:
                found += [("pt", collection), ("phi", collection)]
                if isinstance(varied.propagate_to_met, str):
                    found.append((varied.propagate_to_met, collection))
        return found

    @property
    def _recoiling(self) -> list[str]:
        """The varied collections; of several views of the same objects in the files one."""
        found: dict[str, str] = {}
        for name, _ in self._varied.fields:
            found.setdefault(self._analysis.objects[name].collection or name, name)
        return list(dict.fromkeys(found.values()))

    def touches(self, expressions: Iterable[tuple[str, str | None]]) -> bool:
        """Whether any of the expressions depends on what the side changes."""
        return not self._changed.isdisjoint(self._names.reach(expressions).quantities)

    def scope(self, nominal: Scope) -> Scope:
        """The chunk with the side's values in place of the nominal ones."""
        values: dict[Field | Definition, NDArray[Any]] = {
            Field(collection, field): nominal.all_objects(
                text, collection, f"{self._key}.{collection}.{field}"
            )
            for (collection, field), text in self._varied.fields.items()
        }
        for name, text in self._varied.quantities.items():
            values[Definition(name)] = nominal.event(text, f"{self._key}.{name}")
        if self._varied.propagate_to_met is not False:
            pt, phi = self._recoil(nominal, values)
            values[Definition(MET_PT)], values[Definition(MET_PHI)] = pt, phi
        return nominal.varied(values, self.unchanged)

    def _recoil(
        self, nominal: Scope, values: dict[Field | Definition, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        key = f"{self._key}.propagate_to_met"
        met_pt, met_phi = nominal.event(MET_PT, key), nominal.event(MET_PHI, key)
        shift = np.zeros((2, len(met_pt)))
        for collection in self._recoiling:
            before = [nominal.all_objects(name, collection, key) for name in ("pt", "phi")]
            after = [
                values.get(Field(collection, name), old)
                for name, old in zip(("pt", "phi"), before, strict=True)
            ]
            chosen = np.ones(len(before[0]), dtype=np.bool_)
            if isinstance(self._varied.propagate_to_met, str):
                chosen = nominal.all_objects(
                    self._varied.propagate_to_met, collection, key, condition=True
                )
            offsets = nominal.all_offsets(collection)
            old, new = ([part.astype(np.float64) for part in pair] for pair in (before, after))
            for axis, component in enumerate((kinematics.px, kinematics.py)):
                moved = np.where(chosen, component(*new) - component(*old), 0.0)
                shift[axis] += total(moved, offsets)
        return recoiled(met_pt, met_phi, shift[0], shift[1])
