"""The weights of simulated events, before normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.config import Correction
from particle_transformer.data.corrections import CorrectionEvaluator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.data.scope import Scope

__all__ = ["GENERATOR", "EventWeights", "generator_weight"]

GENERATOR = "generator"
"""The weight whose sum over all generated events normalises a process."""


class EventWeights:
    """The product of the analysis file's weights, or its ready weight.

    Parameters
    ----------
    analysis
        The analysis file.
    replaced
        Weights that stand in for those of the same name, of the variation `variation`.
    variation
        ``pileup.up``; empty for the nominal weights.
    """

    def __init__(
        self,
        analysis: Analysis,
        replaced: Mapping[str, str | Correction] | None = None,
        variation: str = "",
    ) -> None:
        if analysis.event.weight is not None:
            self._factors: dict[str, str | CorrectionEvaluator] = {
                "event.weight": analysis.event.weight
            }
            return
        self._factors = {}
        for name, nominal in analysis.weights.items():
            weight, key = nominal, f"weights.{name}"
            if replaced is not None and name in replaced:
                weight, key = replaced[name], f"variations.{variation}.weights.{name}"
            self._factors[key] = (
                CorrectionEvaluator(weight, key) if isinstance(weight, Correction) else weight
            )

    @property
    def expressions(self) -> list[tuple[str, str | None]]:
        """Every expression they need, with its collection (None: of the event)."""
        found: list[tuple[str, str | None]] = []
        for factor in self._factors.values():
            found += [(factor, None)] if isinstance(factor, str) else factor.expressions
        return found

    def product(self, scope: Scope, events: int) -> NDArray[np.float64]:
        """The weight of each event: float64 (events,)."""
        weight = np.ones(events)
        for key, factor in self._factors.items():
            if isinstance(factor, str):
                weight = weight * scope.event(factor, key).astype(np.float64)
            else:
                weight = weight * _corrected(factor, key, scope, events)
        return weight


def generator_weight(analysis: Analysis, scope: Scope, events: int) -> NDArray[np.float64]:
    """The generator weight of each event: float64 (events,), 1 where there is none."""
    text = analysis.weights.get(GENERATOR)
    if text is None:
        return np.ones(events)
    assert isinstance(text, str), "the analysis file was validated"
    return scope.event(text, f"weights.{GENERATOR}").astype(np.float64)


def _corrected(
    factor: CorrectionEvaluator, key: str, scope: Scope, events: int
) -> NDArray[np.float64]:
    return factor(
        events,
        lambda text: scope.event(text, key),
        lambda text, collection: scope.objects(text, collection, key),
        scope.offsets,
    )
