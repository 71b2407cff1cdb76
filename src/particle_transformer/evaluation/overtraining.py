"""Do training and test events have the same scores? Weighted Kolmogorov-Smirnov test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation.figure import effective_events
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["KolmogorovSmirnov", "evaluate_overtraining", "kolmogorov_smirnov"]


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Comparison of two weighted samples.

    Attributes
    ----------
    distance
        Greatest difference of the two cumulative distributions, or None where undefined.
    p_value
        Probability of a greater one if both come from the same distribution; approximate.
    effective_events
        (Σw)²/Σw² of the first and the second sample.
    reason
        Why it is undefined.
    """

    distance: float | None
    p_value: float | None
    effective_events: tuple[float, float]
    reason: str | None = None


def kolmogorov_smirnov(
    first: NDArray[np.float64],
    first_weight: NDArray[np.float64],
    second: NDArray[np.float64],
    second_weight: NDArray[np.float64],
    names: tuple[str, str] = ("training", "test"),
) -> KolmogorovSmirnov:
    """Two-sample Kolmogorov-Smirnov test with signed weights.

    D = max |F₁ − F₂| with F the weighted cumulative distributions. The p-value is that of the
    asymptotic Kolmogorov distribution with effective numbers of events,

        p = Q[(√n + 0.12 + 0.11/√n) D],  n = n₁ n₂/(n₁ + n₂),  n_i = (Σw)²/Σw²,
        Q(λ) = 2 Σ_k (−1)^(k−1) exp(−2 k² λ²)

    (M. Stephens, J. R. Stat. Soc. B 32 (1970) 115; W. Press et al., Numerical Recipes, 14.3). The
    effective numbers are exact for unweighted samples and a good approximation where the weights
    do not depend on the value (J. Monahan, Numerical Methods of Statistics, 2nd ed., 2011, sect. 12.4); weights that
    vary with the score make p too small or too large by a little. It is meant for one process or
    one class at a time.

    Parameters
    ----------
    first, second
        float64 (events,): scores of either sample.
    first_weight, second_weight
        float64 (events,): their signed weights.
    names
        What to call the samples in a reason.

    Returns
    -------
    KolmogorovSmirnov
        Undefined if a sample has no event or no positive total weight.
    """
    effective = effective_events(first_weight), effective_events(second_weight)
    for weight, name in zip((first_weight, second_weight), names, strict=True):
        defect = weight_defect(weight, name)
        if defect:
            return KolmogorovSmirnov(None, None, effective, defect)
    values = np.concatenate([first, second])
    shares = np.concatenate(
        [first_weight / first_weight.sum(), -second_weight / second_weight.sum()]
    )
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    difference = np.cumsum(shares[order])
    # Only behind the last of equal values is the difference one of distributions.
    last = np.append(ranked[1:] != ranked[:-1], True)
    distance = float(np.max(np.abs(difference[last])))
    root = np.sqrt(effective[0] * effective[1] / sum(effective))
    p_value = _kolmogorov(float((root + 0.12 + 0.11 / root) * distance))
    return KolmogorovSmirnov(distance, p_value, effective)


def evaluate_overtraining(
    test: ScoredEvents, training: ScoredEvents, *, folds: int
) -> dict[str, Any]:
    """Compare the scores of training and test events for every network and class.

    Parameters
    ----------
    test
        Test events, each scored by the network that never saw it.
    training
        Training events; ``training.fold`` is the network that was trained with the event and
        scored it.
    folds
        How many networks there are.

    Returns
    -------
    dict
        ``classes``: by class and fold the ``distance``, the ``p_value``, the ``effective_events``
        of both samples and the ``reason``. ``p_value``: the least of them times their number
        (Bonferroni), at most 1, which holds however the comparisons depend on each other; None
        where there is none. ``comparisons``: their number.
    """
    classes: dict[str, dict[str, Any]] = {}
    p_values = []
    for name in dict.fromkeys(test.process_class):
        own = [number for number, kind in enumerate(test.process_class) if kind == name]
        classes[name] = {}
        for fold in range(folds):
            first, second = (
                events.select(np.isin(events.process, own) & (events.fold == fold))
                for events in (training, test)
            )
            found = kolmogorov_smirnov(first.score, first.weight, second.score, second.weight)
            if found.p_value is not None:
                p_values.append(found.p_value)
            classes[name][str(fold)] = {
                "distance": found.distance,
                "p_value": found.p_value,
                "effective_events": list(found.effective_events),
                "reason": found.reason,
            }
    return {
        "p_value": min(1.0, len(p_values) * min(p_values)) if p_values else None,
        "comparisons": len(p_values),
        "classes": classes,
    }


def _kolmogorov(x: float) -> float:
    """Survival function of the Kolmogorov distribution."""
    if x < 0.2:  # the series converges slowly, but its value is 1 to 12 digits
        return 1.0
    k = np.arange(1, 101)
    terms = (-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)
    return float(np.clip(2 * np.sum(terms), 0.0, 1.0))
