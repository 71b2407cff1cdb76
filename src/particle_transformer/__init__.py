"""AnalysisObjectTransformer: a transformer that classifies LHC collision events."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from particle_transformer._version import __version__

if TYPE_CHECKING:
    from particle_transformer.inference.array_scorer import ArrayScorer
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["AnalysisObjectTransformer", "ArrayScorer", "__version__"]

_PLACES = {
    "AnalysisObjectTransformer": "particle_transformer.model",
    "ArrayScorer": "particle_transformer.inference.array_scorer",
}


def __getattr__(name: str) -> object:
    # torch takes seconds to import; `aot --version` and the analysis file do not need it.
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
