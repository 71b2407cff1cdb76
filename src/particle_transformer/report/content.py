"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from particle_transformer.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from particle_transformer.evaluation import ScoredEvents

__all__ = ["CutflowRow", "ReportContent"]


class CutflowRow(Protocol):
    """One cut of the cutflow of one process and era."""

    @property
    def process(self) -> str:
        """Name of the process."""

    @property
    def era(self) -> str:
        """Name of the era."""

    @property
    def cut(self) -> str:
        """What was asked."""

    @property
    def events(self) -> int:
        """Simulated events that pass this cut and those before it."""

    @property
    def yield_(self) -> float:
        """Their expected yield."""

    @property
    def yield_error(self) -> float:
        """Its statistical error."""


@dataclass(frozen=True)
class ReportContent:
    """All that a report shows.

    Attributes
    ----------
    title
        Name of the analysis.
    metrics
        The content of ``metrics.json`` (`particle_transformer.evaluation.evaluate`).
    test
        All simulated events with their out-of-fold scores.
    signal_regions
        The regions that the figures are about, as given to `evaluate`; None: all events.
    luminosity
        Text of luminosity and energy, e.g. ``"59.8 fb⁻¹ (13 TeV)"``.
    cutflow
        Rows in the order of the cuts.
    history
        By fold: one mapping with ``epoch``, ``train_loss`` and ``val_loss`` per epoch.
    features
        Event features to show, by label (with the unit): float (events,), aligned with `test`;
        NaN where an event has none.
    spectators
        What the network does not see, by name as in the block ``sculpting`` of the metrics: float
        (events,), aligned with `test`.
    before
        The same events with the scores of the run that the metrics call ``before``.
    compared
        Training events of each network, scored by it, and test events to compare them with; both
        in the signal regions.
    settings
        Settings to list, in order.
    provenance
        Versions, fingerprints and times to list, in order.
    ensemble
        Networks of each fold.
    notes
        Limits of the result that a reader must know, a sentence each.
    model
        What to call the classifier.

    Raises
    ------
    SampleError
        If a feature, a spectator or `before` is not aligned with the events.
    """

    title: str
    metrics: Mapping[str, Any]
    test: ScoredEvents
    luminosity: str
    signal_regions: Sequence[str] | None = None
    cutflow: Sequence[CutflowRow] = ()
    history: Mapping[int, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    features: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    spectators: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    before: ScoredEvents | None = None
    compared: tuple[ScoredEvents, ScoredEvents] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    ensemble: int = 1
    notes: Sequence[str] = ()
    model: str = "AnalysisObjectTransformer"

    def __post_init__(self) -> None:
        columns = {
            **{f"feature {name!r}": column for name, column in self.features.items()},
            **{f"spectator {name!r}": column for name, column in self.spectators.items()},
            **({} if self.before is None else {"before": self.before.score}),
        }
        for name, column in columns.items():
            if column.shape != (len(self.test),):
                message = f"report: {name} has shape {column.shape}, expected ({len(self.test)},)"
                raise SampleError(message)
