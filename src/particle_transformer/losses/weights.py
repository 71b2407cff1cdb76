"""Training weights: what the loss sees of the physics weights. numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from particle_transformer.errors import SampleError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Balance", "NegativeWeights", "training_weights"]

Balance = Literal["class", "process", "none"]
NegativeWeights = Literal["keep", "abs", "drop"]


def training_weights(
    physics_weight: NDArray[np.float64],
    class_index: NDArray[np.integer[Any]],
    process: NDArray[np.integer[Any]],
    *,
    balance: Balance = "class",
    negative_weights: NegativeWeights = "keep",
    class_names: Sequence[str] | None = None,
    process_names: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """Turn the physics weights of a set of events into training weights.

    Call it on the training events alone, and once more on the validation events alone: the
    normalisation belongs to the set of events it is given.

    Parameters
    ----------
    physics_weight
        float64 (events,), signed.
    class_index, process
        Integer (events,): class and process of each event.
    balance
        ``"class"``: every class gets the same total weight, its processes share it by physics
        weight. ``"process"``: besides, the processes of a class share it equally. ``"none"``:
        the physics weights' own proportions.
    negative_weights
        ``"keep"`` the sign; take the absolute value (``"abs"``); or ``"drop"``: weight 0.
    class_names, process_names
        Names for error messages, by index.

    Returns
    -------
    float64 (events,)
        Normalised such that the mean |w| of all given events, dropped ones included, is 1.

    Raises
    ------
    SampleError
        If there is no event, a weight is NaN or infinite, or the total weight of a class (with
        ``"process"`` of a process) is zero or negative.
    """
    for option, value, known in (
        ("balance", balance, get_args(Balance)),
        ("negative_weights", negative_weights, get_args(NegativeWeights)),
    ):
        if value not in known:
            message = f"{option}: got {value!r}; {nearest(value, known)}"
            raise SampleError(message)
    weight: NDArray[np.float64] = np.array(physics_weight, dtype=np.float64)
    if not len(weight):
        message = "no event to compute training weights of; loosen the selection"
        raise SampleError(message)
    if not np.isfinite(weight).all():
        message = (
            f"{np.count_nonzero(~np.isfinite(weight))} of {len(weight)} physics weights are NaN "
            "or infinite; expected finite weights"
        )
        raise SampleError(message)
    if negative_weights == "abs":
        weight = np.abs(weight)
    elif negative_weights == "drop":
        weight = np.where(weight < 0, 0.0, weight)
    if balance != "none":
        classes = np.unique(class_index)
        for value in classes:
            of_class = class_index == value
            if balance == "process":
                for part in np.unique(process[of_class]):
                    own = of_class & (process == part)
                    weight[own] /= _total(weight[own], "process", part, process_names)
            weight[of_class] /= _total(weight[of_class], "class", value, class_names)
    mean = np.abs(weight).mean()
    if mean == 0:
        message = "the training weights are all zero; check the physics weights"
        raise SampleError(message)
    weight /= mean
    return weight


def _total(
    weight: NDArray[np.float64], kind: str, index: int, names: Sequence[str] | None
) -> float:
    total = float(weight.sum())
    if total <= 0:
        name = repr(names[index]) if names is not None else str(index)
        message = (
            f"{kind} {name} has total weight {total:g} over {len(weight)} events, expected a "
            "positive one; mend its weights, add events, or use negative_weights: abs"
        )
        raise SampleError(message)
    return total
