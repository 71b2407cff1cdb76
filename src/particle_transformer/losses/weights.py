"""Training weights: what the loss sees of the physics weights. numpy only.

A training weight is the physics weight, whose sign is kept, removed or, with its event, dropped,
in units of its process. The units need a few sums over the set of events; so they are fitted in
one pass over pieces of it, and then applied to any batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from particle_transformer.errors import SampleError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["Balance", "NegativeWeights", "TrainingWeights", "training_weights"]

Balance = Literal["class", "process", "none"]
NegativeWeights = Literal["keep", "abs", "drop"]


@dataclass(frozen=True)
class TrainingWeights:
    """Training weights of a set of events: signed physics weight / unit of the process.

    Attributes
    ----------
    units
        float64 (processes,): the physics weight that counts 1 before the normalisation;
        NaN for a process without an event in the set.
    mean
        Mean |w| of the set in these units.
    events
        int64 (processes,): events of each process in the set.
    sums
        float64 (processes,): Σ of the training weights of each process.
    effective_events
        float64 (processes,): (Σw)² / Σw² of each process, with the weights that the loss sees.
    negative_weights
        What becomes of negative physics weights.
    """

    units: NDArray[np.float64]
    mean: float
    events: NDArray[np.int64]
    sums: NDArray[np.float64]
    effective_events: NDArray[np.float64]
    negative_weights: NegativeWeights

    def __call__(
        self, physics_weight: NDArray[np.float64], process: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Training weights, float64 (events,), of events by physics weight and process."""
        signed = _signed(physics_weight, self.negative_weights)
        weight: NDArray[np.float64] = signed / self.units[process] / self.mean
        return weight

    @staticmethod
    def fit(
        pieces: Iterable[tuple[NDArray[np.float64], NDArray[np.integer[Any]]]],
        process_class: NDArray[np.integer[Any]],
        *,
        balance: Balance = "class",
        negative_weights: NegativeWeights = "keep",
        class_names: Sequence[str] | None = None,
        process_names: Sequence[str] | None = None,
    ) -> TrainingWeights:
        """Fit the units to a set of events, in one pass over its pieces.

        Fit them to the training events alone, and once more to the validation events alone: the
        normalisation belongs to the set of events it is given. Then the mean |w| of all events
        of the set, dropped ones included, is 1.

        Parameters
        ----------
        pieces
            Physics weights, float64 (events,), signed, and processes, integer (events,), of the
            events piece by piece.
        process_class
            Integer (processes,): class of each process.
        balance
            ``"class"``: every class gets the same total weight, its processes share it by
            physics weight. ``"process"``: besides, the processes of a class share it equally.
            ``"none"``: the physics weights' own proportions.
        negative_weights
            ``"keep"`` the sign; take the absolute value (``"abs"``); or ``"drop"``: weight 0.
        class_names, process_names
            Names for error messages, by index.

        Raises
        ------
        SampleError
            If there is no event, a weight is NaN or infinite, or the total weight of a class
            (with ``"process"`` of a process) is zero or negative.
        """
        for option, value, known in (
            ("balance", balance, get_args(Balance)),
            ("negative_weights", negative_weights, get_args(NegativeWeights)),
        ):
            if value not in known:
                message = f"{option}: got {value!r}; {nearest(value, known)}"
                raise SampleError(message)
        events = np.zeros(len(process_class), dtype=np.int64)
        total = np.zeros(len(process_class))  # Σ w of each process, as the loss shall see it
        absolute = np.zeros(len(process_class))  # Σ |w|
        squares = np.zeros(len(process_class))  # Σ w²
        broken = 0
        for physics_weight, process in pieces:
            finite = np.isfinite(physics_weight)
            broken += int(np.count_nonzero(~finite))
            weight = _signed(np.where(finite, physics_weight, 0.0), negative_weights)
            for number in np.unique(process):
                own = weight[process == number]
                events[number] += len(own)
                total[number] += own.sum()
                absolute[number] += np.abs(own).sum()
                squares[number] += np.square(own).sum()
        if not events.any():
            message = "no event to compute training weights of; loosen the selection"
            raise SampleError(message)
        if broken:
            message = (
                f"{broken} of {events.sum()} physics weights are NaN or infinite; "
                "expected finite weights"
            )
            raise SampleError(message)
        units = np.where(events > 0, 1.0, np.nan)
        for value in np.unique(process_class[events > 0]):
            members = np.flatnonzero((process_class == value) & (events > 0))
            if balance == "process":
                for part in members:
                    _check_total(total[part], events[part], "process", int(part), process_names)
                units[members] = total[members]
            of_class = float((total[members] / units[members]).sum())
            # Whatever the balance: the loss of a class without positive weight has no minimum.
            _check_total(of_class, int(events[members].sum()), "class", int(value), class_names)
            if balance != "none":
                units[members] *= of_class
        mean = float((absolute / units)[events > 0].sum() / events.sum())
        effective = total**2 / np.where(squares > 0, squares, 1.0)
        sums = np.where(events > 0, total / units, 0.0) / mean
        return TrainingWeights(units, mean, events, sums, effective, negative_weights)


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
    """`TrainingWeights` fitted and applied to one set of events in memory.

    Parameters
    ----------
    physics_weight
        float64 (events,), signed.
    class_index, process
        Integer (events,): class and process of each event.
    balance, negative_weights, class_names, process_names
        As in `TrainingWeights.fit`.

    Returns
    -------
    float64 (events,)

    Raises
    ------
    SampleError
        As `TrainingWeights.fit`, and if events of one process are in several classes.

    Examples
    --------
    Both classes get the same total, which their events share as before; the mean is 1.

    >>> import numpy as np
    >>> from particle_transformer.losses import training_weights
    >>> label = np.array([1, 1, 0, 0])
    >>> training_weights(np.array([0.1, 0.3, 4.0, 12.0]), label, label).round(9).tolist()
    [0.5, 1.5, 0.5, 1.5]
    """
    process_class = np.zeros(int(process.max(initial=-1)) + 1, dtype=np.int64)
    process_class[process] = class_index
    mixed = process[process_class[process] != class_index]
    if mixed.size:
        name = mixed[0] if process_names is None else process_names[mixed[0]]
        message = f"process {name}: its events are in several classes, expected one"
        raise SampleError(message)
    return TrainingWeights.fit(
        [(physics_weight, process)],
        process_class,
        balance=balance,
        negative_weights=negative_weights,
        class_names=class_names,
        process_names=process_names,
    )(physics_weight, process)


def _signed(weight: NDArray[np.float64], negative: NegativeWeights) -> NDArray[np.float64]:
    if negative == "abs":
        return np.abs(weight)
    if negative == "drop":
        return np.where(weight < 0, 0.0, weight)
    return weight


def _check_total(
    total: float, events: int | np.integer[Any], kind: str, index: int, names: Sequence[str] | None
) -> None:
    if total <= 0:
        name = repr(names[index]) if names is not None else str(index)
        message = (
            f"{kind} {name} has total weight {total:g} over {events} events, expected a "
            "positive one; mend its weights, add events, or use negative_weights: abs"
        )
        raise SampleError(message)
