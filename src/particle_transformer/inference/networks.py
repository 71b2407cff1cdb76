"""The trained networks of a run, by the fold that they never read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particle_transformer.artefact import load_artefact
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.inference.score import (
    Predictions,
    mean_predictions,
    predict_events,
    signal_probability,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.events import Events

__all__ = ["FoldNetworks", "RunNetworks"]


class FoldNetworks:
    """The networks of one fold, which differ by their seeds.

    Attributes
    ----------
    models
        The networks, in evaluation mode.
    two_scores
        Whether two logits are two scores of signal.

    Parameters
    ----------
    run
        The run.
    fold
        The fold that they never read.
    number
        How many they are.
    """

    def __init__(self, run: RunFolder, fold: int, number: int) -> None:
        loaded = [load_artefact(run.network(fold, n)) for n in range(number)]
        self.models = tuple(model for model, _ in loaded)
        metadata = loaded[0][1]
        self.two_scores = bool(metadata["two_scores"])
        # All of them have the same: it is made of the fold's training events.
        conditioning = metadata["conditioning"]
        self._conditioning = conditioning and Conditioning.from_json(conditioning)

    def predict(
        self,
        events: Events,
        parameters: Mapping[str, float] | None,
        report: Callable[[int], None],
    ) -> Predictions:
        """Mean of the networks' predictions, in float64.

        Parameters
        ----------
        events
            The events, without parameters.
        parameters
            Those of the hypothesis under which every event is scored; None: signal has its own,
            and background its fixed draw, where the networks have parameters at all.
        report
            Called with the number of events scored since the last call, by each network.
        """
        seen = self.as_seen(events, parameters)
        return mean_predictions(
            [predict_events(model, seen, progress=report) for model in self.models],
            two_scores=self.two_scores,
        )

    def as_seen(self, events: Events, parameters: Mapping[str, float] | None = None) -> Events:
        """The events with what the networks are told besides: the parameters, where they have some.

        Arguments are those of `predict`.
        """
        if self._conditioning is None:
            return events
        if parameters is not None:
            return self._conditioning.at(events, parameters)
        return self._conditioning.apply(events, self._conditioning.fixed_draws(events.identity))


class RunNetworks:
    """All networks of a run, and what they have in common.

    Attributes
    ----------
    outputs
        Number of logits.
    two_scores
        Whether two logits are two scores of signal.
    targets
        Spectators that a second head regresses.
    parameters
        Names of the parameters that the networks are conditioned on.
    hypotheses
        Points of the parameters that the networks are conditioned on; none without parameters.
    per_fold
        Networks of each fold.
    features
        Feature expressions by collection, and those of the event, in column order.

    Parameters
    ----------
    run, record
        The run, and the content of its ``run.json``.
    """

    def __init__(self, run: RunFolder, record: Mapping[str, Any]) -> None:
        self._run = run
        self._loaded: dict[int, FoldNetworks] = {}
        self.per_fold = int(record["ensemble"])
        model, metadata = load_artefact(run.network(0))
        self.outputs = int(model.arguments["num_outputs"])
        self.two_scores = bool(metadata["two_scores"])
        self.targets: tuple[str, ...] = tuple(metadata["regression"])
        conditioning = metadata["conditioning"]
        self.parameters: tuple[str, ...] = ()
        self.hypotheses: list[dict[str, float]] = []
        self._process_point: tuple[int, ...] = ()
        event = list(metadata["event"])
        if conditioning is not None:
            known = Conditioning.from_json(conditioning)
            self.parameters = known.names
            event = event[: len(event) - len(known.names)]
            self.hypotheses = known.hypotheses()
            self._process_point = known.process_point
        self.features: tuple[dict[str, list[str]], list[str]] = metadata["objects"], event

    def of_fold(self, fold: int) -> FoldNetworks:
        """The networks that never read `fold`, loaded once."""
        if fold not in self._loaded:
            self._loaded[fold] = FoldNetworks(self._run, fold, self.per_fold)
        return self._loaded[fold]

    def signals(self, point: int) -> list[int]:
        """The processes of a hypothesis, as the store numbers them."""
        return [number for number, own in enumerate(self._process_point) if own == point]

    def mean(self, predictions: Sequence[Predictions]) -> Predictions:
        """Mean of the predictions of several folds."""
        return mean_predictions(predictions, two_scores=self.two_scores)

    def score(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability of signal, float64 (events,), of logits (events, outputs)."""
        return signal_probability(logits, two_scores=self.two_scores)
