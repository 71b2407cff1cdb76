"""AnalysisObjectTransformer: a transformer that classifies LHC collision events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer._version import __version__

if TYPE_CHECKING:
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["AnalysisObjectTransformer", "__version__"]


def __getattr__(name: str) -> object:
    # torch takes seconds to import; `aot --version` and the analysis file do not need it.
    if name == "AnalysisObjectTransformer":
        from particle_transformer.model import AnalysisObjectTransformer  # noqa: PLC0415

        return AnalysisObjectTransformer
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
