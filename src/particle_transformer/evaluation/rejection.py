"""Background rejection at fixed signal efficiency, with thresholds from validation events.

A threshold chosen on the events it is then applied to would flatter the network. The threshold
of a working point is therefore, for each fold, the weighted signal quantile of the scores that
this fold's network gave its *validation* events; it is applied to the fold's test events, and
the signal efficiency measured there is reported beside the rejection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.evaluation.figure import Figure, effective_events
from particle_transformer.evaluation.roc import weight_defect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from particle_transformer.evaluation.scored import ScoredEvents

__all__ = ["efficiency", "fold_thresholds", "passing", "rejection", "signal_threshold"]


def signal_threshold(
    score: NDArray[np.float64], weight: NDArray[np.float64], efficiency: float
) -> float:
    """Highest threshold t at which the cut ``score >= t`` keeps `efficiency` of the events.

    Parameters
    ----------
    score, weight
        float64 (events,): scores and signed weights of one class; their sum is positive.
    efficiency
        In (0, 1).

    Returns
    -------
    float
        The score of one of the events. With negative weights the efficiency need not rise with
        every looser cut; the tightest cut that reaches the target is taken.
    """
    order = np.argsort(score, kind="stable")[::-1]
    falling = score[order]
    passed = np.cumsum(weight[order])
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    reached = passed[last] / passed[-1] >= efficiency
    return float(falling[last[np.argmax(reached)]])


def fold_thresholds(
    validation: ScoredEvents,
    efficiency: float,
    folds: int,
    *,
    of: Literal["signal", "background"] = "signal",
) -> tuple[dict[int, float], str | None]:
    """Threshold of one working point for the network of each fold.

    Parameters
    ----------
    validation
        Validation events; ``validation.fold`` is the network that scored them.
    efficiency
        Target efficiency in (0, 1).
    folds
        How many networks there are.
    of
        Of which events it is the efficiency.

    Returns
    -------
    thresholds : dict
        By fold, where the validation events define it.
    reason : str or None
        Why a fold has none.

    Raises
    ------
    SampleError
        If `efficiency` is not between 0 and 1.
    """
    if not 0 < efficiency < 1:
        message = f"working point {efficiency:g}: expected a {of} efficiency between 0 and 1"
        raise SampleError(message)
    thresholds: dict[int, float] = {}
    reason: str | None = None
    for fold in range(folds):
        chosen = (validation.is_signal == (of == "signal")) & (validation.fold == fold)
        weight = validation.weight[chosen]
        defect = weight_defect(weight, of)
        if defect:
            reason = reason or f"fold {fold}, validation events: {defect}"
        else:
            thresholds[fold] = signal_threshold(validation.score[chosen], weight, efficiency)
    return thresholds, reason


def passing(events: ScoredEvents, thresholds: Mapping[int, float]) -> NDArray[np.bool_]:
    """Whether each event passes the cut ``score >= threshold`` of its own fold; bool (events,).

    Events of a fold without threshold do not pass.
    """
    highest = max([*thresholds, int(events.fold.max(initial=0))])
    cut = np.full(highest + 1, np.inf)
    for fold, threshold in thresholds.items():
        cut[fold] = threshold
    return events.score >= cut[events.fold]


def efficiency(
    weight: NDArray[np.float64], passes: NDArray[np.bool_], name: str = "signal"
) -> Figure:
    """Weighted efficiency ε = Σ_passing w / Σ w of a cut.

    Parameters
    ----------
    weight
        float64 (events,): signed weights of one class.
    passes
        bool (events,).
    name
        What to call the events in a reason.

    Returns
    -------
    Figure
        Without error; `effective_events` is that of the passing events. Undefined where the
        total weight is not positive; negative where that of the passing events is.
    """
    defect = weight_defect(weight, name)
    if defect:
        return Figure(None, reason=defect)
    kept = weight[passes]
    return Figure(float(kept.sum() / weight.sum()), effective_events=effective_events(kept))


def rejection(
    weight: NDArray[np.float64], passes: NDArray[np.bool_], name: str = "background"
) -> Figure:
    """Background rejection 1/ε_b of a cut, with ε_b = Σ_passing w / Σ w.

    Parameters
    ----------
    weight
        float64 (background events,): signed weights.
    passes
        bool (background events,).
    name
        What to call the events in a reason.

    Returns
    -------
    Figure
        Without error; `effective_events` is that of the passing events. Undefined where ε_b is
        not positive: "no event left" is a limit of the simulation, not an infinite rejection.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_transformer.evaluation import rejection
    >>> weight = np.array([1.0, 1.0, 1.0, 1.0])
    >>> rejection(weight, np.array([True, False, False, False])).value
    4.0
    >>> rejection(weight, np.zeros(4, bool)).value is None  # and `reason` says why
    True
    """
    kept = efficiency(weight, passes, name)
    if kept.value is None:
        return kept
    defect = weight_defect(weight[passes], f"passing {name}")
    if defect:
        return Figure(None, effective_events=kept.effective_events, reason=defect)
    return Figure(1 / kept.value, effective_events=kept.effective_events)
