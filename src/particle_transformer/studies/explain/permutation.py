"""Permutation importance (L. Breiman, Mach. Learn. 45 (2001) 5): what a part of the input is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import auc, effective_events, poisson_bootstrap
from particle_transformer.evaluation.figure import Figure
from particle_transformer.evaluation.roc import Ranking, weight_defect
from particle_transformer.studies.explain.inputs import permuted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events import Events
    from particle_transformer.studies.explain.inputs import Input

__all__ = ["Importances", "permutation_importances", "permuted_logits"]


@dataclass(frozen=True)
class Importances:
    """Figures of the events as they are, and what each part of the input is worth.

    Attributes
    ----------
    auc, loss
        Of the events as they are.
    inputs
        Of each part: ``auc``, by how much the AUC falls, and ``loss``, by how much the loss rises,
        where it is permuted; mean over the repeats. ``error`` is the quadratic sum of
        ``permutation_error``, of that mean, and ``event_error``, from the bootstrap of the events.
    """

    auc: Figure
    loss: Figure
    inputs: tuple[dict[str, dict[str, Any]], ...]


def permuted_logits(
    events: Events,
    inputs: Sequence[Input],
    logit: Callable[[Events], NDArray[np.float64]],
    *,
    repeats: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Logits of events with each part of the input permuted among them.

    Parameters
    ----------
    events
        Test events of one fold.
    inputs
        The parts.
    logit
        Gives the logit of the score, float64 (events,), by the networks of that fold.
    repeats
        Permutations of each part.
    generator
        Of the random numbers.

    Returns
    -------
    float64 (inputs, repeats, events)
    """
    found = np.empty((len(inputs), repeats, len(events)))
    for number, part in enumerate(inputs):
        for repeat in range(repeats):
            found[number, repeat] = logit(permuted(events, part, generator))
    return found


def permutation_importances(
    logit: NDArray[np.float64],
    changed: NDArray[np.float64],
    weight: NDArray[np.float64],
    is_signal: NDArray[np.bool_],
    *,
    replicas: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Importances:
    """What each part of the input is worth: the AUC that is lost, the loss that is gained.

    The loss is the weighted cross-entropy ½ Σ_c [Σ w ℓ / Σ w]_c of the score, signal and all
    backgrounds with the same total weight.

    Parameters
    ----------
    logit
        float64 (events,): of the events as they are.
    changed
        float64 (inputs, repeats, events): as `permuted_logits` gives them, of all folds.
    weight, is_signal
        (events,): signed physics weight; whether it is signal.
    replicas, seed
        Of the Poisson bootstrap of the events; the same multiplicities for the events as they are
        and permuted.
    progress
        Called after each replica with how many are done and how many there are.
    """
    classes = {"signal": is_signal, "background": ~is_signal}
    defects = [weight_defect(weight[chosen], name) for name, chosen in classes.items()]
    reason = next((defect for defect in defects if defect), None)
    effective = min(effective_events(weight[chosen]) for chosen in classes.values())
    rankings = [[Ranking(each, is_signal) for each in repeats] for repeats in changed]
    ranking = Ranking(logit, is_signal)
    entropy = _cross_entropy(logit, is_signal)  # (events,)
    entropies = _cross_entropy(changed, is_signal)  # (inputs, repeats, events)
    rise = entropies - entropy  # (inputs, repeats, events)
    mean_rise = rise.mean(axis=1)  # (inputs, events)

    def drops(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """AUC that is lost: float64 (inputs, repeats)."""
        nominal = ranking.auc(weights)
        return np.array([[nominal - each.auc(weights) for each in part] for part in rankings])

    def statistics(multiplicity: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64] | float]:
        weights = multiplicity * weight
        return {
            "auc": drops(weights).mean(axis=1),
            "loss": _balanced(mean_rise, weights, is_signal),
            "nominal auc": ranking.auc(weights),
            "nominal loss": _balanced(entropy, weights, is_signal),
        }

    drawn = poisson_bootstrap(
        statistics, len(logit), replicas=replicas, seed=seed, progress=progress
    )
    loss = _figure(_balanced(entropy, weight, is_signal), effective, reason)
    values = {"auc": drops(weight), "loss": _balanced(rise, weight, is_signal)}
    return Importances(
        auc(logit, weight, is_signal).with_replicas(drawn["nominal auc"]),
        loss.with_replicas(drawn["nominal loss"]),
        tuple(
            {
                name: _importance(each[number], drawn[name][:, number], effective, reason)
                for name, each in values.items()
            }
            for number in range(len(changed))
        ),
    )


def _cross_entropy(logit: NDArray[np.float64], is_signal: NDArray[np.bool_]) -> NDArray[np.float64]:
    """−ln of the probability of the true class, float64 (…, events)."""
    return np.asarray(np.logaddexp(0, np.where(is_signal, -logit, logit)))


def _balanced(
    values: NDArray[np.float64], weight: NDArray[np.float64], is_signal: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Weighted mean of `values` (…, events) in each class, then of both: float64 (…,)."""
    means = []
    for chosen in (is_signal, ~is_signal):
        own = np.where(chosen, weight, 0.0)
        total = own.sum()
        means.append(values @ own / (total if total > 0 else np.nan))
    return np.asarray((means[0] + means[1]) / 2)


def _figure(value: NDArray[np.float64] | float, effective: float, reason: str | None) -> Figure:
    if reason:
        return Figure(None, effective_events=effective, reason=reason)
    return Figure(float(value), effective_events=effective)


def _importance(
    repeats: NDArray[np.float64],
    replicas: NDArray[np.float64],
    effective: float,
    reason: str | None,
) -> dict[str, Any]:
    """Mean over the repeats (repeats,), with both errors."""
    figure = _figure(repeats.mean(), effective, reason).with_replicas(replicas)
    spread = None
    if figure.value is not None and len(repeats) > 1:
        spread = float(np.std(repeats, ddof=1) / np.sqrt(len(repeats)))
    content = figure.to_json() | {"permutation_error": spread, "event_error": figure.error}
    if figure.error is not None and spread is not None:
        content["error"] = float(np.hypot(figure.error, spread))
    return content
