"""Score events with the network of their fold, and with no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from particle_transformer.events.conditioning import Conditioning, check_parameters
from particle_transformer.events.packed import PackedBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.model import EventNetwork

__all__ = [
    "Predictions",
    "mean_logits",
    "mean_predictions",
    "predict_events",
    "score_at",
    "score_events",
    "signal_probability",
]

BATCH_EVENTS = 4096


@dataclass(frozen=True)
class Predictions:
    """What a network, or the mean of several, says of events.

    Attributes
    ----------
    logits
        Floating (events, outputs).
    regression
        Floating (events, targets), in the targets' own units; no column without a second head.
    """

    logits: NDArray[np.floating]
    regression: NDArray[np.floating]


def predict_events(
    model: EventNetwork,
    events: Events,
    *,
    progress: Callable[[int], None] | None = None,
) -> Predictions:
    """Logits and regressed quantities of events, in their order.

    Parameters
    ----------
    model
        The network; it is put into evaluation mode.
    events
        The events, with the parameters of a hypothesis behind their event features if the network
        is conditioned on some.
    progress
        Called with the number of events scored since the last call.

    Returns
    -------
    Predictions
        In float32.
    """
    model.eval()
    targets = int(model.arguments["regression_targets"])
    logits = np.empty((len(events), int(model.arguments["num_outputs"])), dtype=np.float32)
    regression = np.empty((len(events), targets), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(events), BATCH_EVENTS):
            rows = slice(start, min(start + BATCH_EVENTS, len(events)))
            batch = PackedBatch.from_events(events.slice(rows.start, rows.stop))
            if targets:
                outputs = model.predict_packed(batch)
                logits[rows] = outputs.logits.float().numpy()
                regression[rows] = outputs.regression.float().numpy()
            else:
                logits[rows] = model.forward_packed(batch).float().numpy()
            if progress is not None:
                progress(rows.stop - rows.start)
    return Predictions(logits, regression)


def score_events(
    model: EventNetwork,
    events: Events,
    *,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.floating]:
    """Logits of events, float32 (events, outputs); arguments as in `predict_events`."""
    return predict_events(model, events, progress=progress).logits


def score_at(
    model: EventNetwork,
    metadata: Mapping[str, Any],
    events: Events,
    parameters: Mapping[str, float],
) -> NDArray[np.float64]:
    """Probability of signal under one hypothesis, as ``{"mass": 900}``.

    Every event, of signal and background alike, is scored with the same parameters; between the
    points that it was trained with, the network interpolates, and beyond them it extrapolates.

    Parameters
    ----------
    model, metadata
        As `particle_transformer.artefact.load_artefact` gives them.
    events
        The events, without parameters.
    parameters
        Value of each parameter.

    Returns
    -------
    float64 (events,)

    Raises
    ------
    SampleError
        As `Conditioning.at`, or if the network is not conditioned on any parameter.
    """
    conditioning = metadata["conditioning"]
    check_parameters(parameters, () if conditioning is None else conditioning["names"])
    seen = Conditioning.from_json(conditioning).at(events, parameters)
    return signal_probability(score_events(model, seen), two_scores=bool(metadata["two_scores"]))


def mean_predictions(
    predictions: Sequence[Predictions], *, two_scores: bool = False
) -> Predictions:
    """Mean of what several networks say: `mean_logits`, and the mean of each target; float64."""
    regression = np.stack([each.regression for each in predictions]).astype(np.float64).mean(0)
    logits = mean_logits([each.logits for each in predictions], two_scores=two_scores)
    return Predictions(logits, regression)


def mean_logits(
    logits: Sequence[NDArray[np.floating]], *, two_scores: bool = False
) -> NDArray[np.float64]:
    """Logits of the mean of the probabilities of several networks (arXiv:1612.01474).

    Parameters
    ----------
    logits
        (events, outputs) of each network, at least one.
    two_scores
        Whether two outputs are two scores of signal, not those of two classes.

    Returns
    -------
    float64 (events, outputs)
        Of several classes the logarithms of the probabilities.
    """
    members = np.stack(logits).astype(np.float64)  # (networks, events, outputs)
    if len(members) == 1:
        return np.asarray(members[0])
    if members.shape[2] == 1 or two_scores:
        signal = np.logaddexp.reduce(-np.logaddexp(0, -members), axis=0)
        background = np.logaddexp.reduce(-np.logaddexp(0, members), axis=0)
        return np.asarray(signal - background)
    members -= np.logaddexp.reduce(members, axis=2, keepdims=True)
    return np.asarray(np.logaddexp.reduce(members, axis=0) - np.log(len(members)))


def signal_probability(
    logits: NDArray[np.floating], *, two_scores: bool = False
) -> NDArray[np.float64]:
    """Probability of the class signal: float64 (events,), in double precision near 0 and 1.

    One output: the sigmoid of the logit. Several: the softmax of the first class, signal. Two
    scores: the sigmoid of the sum of their logits, as in
    `particle_transformer.training.objective.Objective.score`.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_transformer.inference.score import signal_probability
    >>> signal_probability(np.log([[1.0], [3.0]])).round(6).tolist()
    [0.5, 0.75]
    """
    double = logits.astype(np.float64)
    if two_scores:
        double = double.sum(axis=1, keepdims=True)
    if double.shape[1] == 1:
        log_probability = -np.logaddexp(0, -double[:, 0])
    else:
        log_probability = double[:, 0] - np.logaddexp.reduce(double, axis=1)
    probability: NDArray[np.float64] = np.exp(log_probability)
    return probability
