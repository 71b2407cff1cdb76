"""Gradient-boosted trees (XGBoost, arXiv:1603.02754) with the networks' signed training weights.

XGBoost refuses negative weights, and without those of the events the trees would be trained on
another sample. So the loss is given to it by its derivatives: the gradient is that of the weighted
cross-entropy, Σ w ℓ, as the networks minimise it; the curvature is that of |w|, an upper bound,
which keeps every leaf's Newton step finite and of the right sign. With positive weights alone both
are those of XGBoost's own logistic loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from particle_transformer.errors import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.config import Trees

__all__ = ["Table", "fit_trees", "loss", "loss_derivatives", "nodes_of", "predict_trees"]

_SMALLEST = 1e-16
"""Of a curvature, as in XGBoost."""


@dataclass(frozen=True)
class Table:
    """Events as trees take them.

    Attributes
    ----------
    columns
        float32 (events, columns).
    target
        int64 (events,).
    weight
        float64 (events,): signed training weight.
    offsets
        Of the logits of several classes in the loss
        (`particle_transformer.losses.class_prior.class_offsets`); empty: none.
    """

    columns: NDArray[np.float32]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]
    offsets: tuple[float, ...] = ()

    def margins(self) -> NDArray[np.float32] | None:
        """Where the logits begin, float32 (events, classes): all classes as probable as in training."""
        if not self.offsets:
            return None
        return np.tile(-np.array(self.offsets, np.float32), (len(self.target), 1))

    def shifted(self, logits: NDArray[np.floating], outputs: int) -> NDArray[np.float64]:
        """What the loss sees of logits: float64 (events, outputs)."""
        double = logits.reshape(len(self.target), outputs).astype(np.float64)
        return double + np.array(self.offsets) if self.offsets else double


def loss_derivatives(
    logits: NDArray[np.floating], target: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient and curvature of the weighted cross-entropy.

    Parameters
    ----------
    logits
        (events, outputs): one output is the logit of target 1; several are those of a softmax.
    target, weight
        As in `Table`.

    Returns
    -------
    gradient, curvature : float64 (events, outputs)
        w (p − y) and |w| p (1 − p).
    """
    double = logits.astype(np.float64)
    if double.shape[1] == 1:
        probability = np.exp(-np.logaddexp(0, -double))
        truth = (target == 1)[:, np.newaxis].astype(np.float64)
    else:
        probability = np.exp(double - np.logaddexp.reduce(double, axis=1, keepdims=True))
        truth = np.eye(double.shape[1])[target]
    column = weight[:, np.newaxis]
    curvature = np.abs(column) * np.maximum(probability * (1 - probability), _SMALLEST)
    return column * (probability - truth), curvature


def loss(
    logits: NDArray[np.floating], target: NDArray[np.int64], weight: NDArray[np.float64]
) -> float:
    """Weighted cross-entropy Σ w ℓ / N; arguments as in `loss_derivatives`."""
    double = logits.astype(np.float64)
    if double.shape[1] == 1:
        sign = np.where(target == 1, -1.0, 1.0)
        each = np.logaddexp(0, sign * double[:, 0])
    else:
        each = np.logaddexp.reduce(double, axis=1) - double[np.arange(len(target)), target]
    return float(np.mean(weight * each))


def fit_trees(
    training: Table, validation: Table, settings: Trees, *, outputs: int, seed: int
) -> Any:
    """Train trees until the validation loss has not fallen for a while.

    Parameters
    ----------
    training, validation
        The events.
    settings
        Hyperparameters.
    outputs
        Logits per event.
    seed
        Of the subsamples.

    Returns
    -------
    xgboost.Booster
        With the trees up to the lowest validation loss.

    Raises
    ------
    MissingExtraError
        Without the extra ``compare``.
    """
    xgboost = require("xgboost", "compare")
    # Here weights only decide where columns are cut; derivatives of one's own have them already.
    trained = xgboost.QuantileDMatrix(
        training.columns, label=training.target, weight=np.abs(training.weight),
        base_margin=training.margins(),
    )  # fmt: skip
    watched = xgboost.QuantileDMatrix(
        validation.columns, label=validation.target, ref=trained,
        base_margin=validation.margins(),
    )  # fmt: skip

    def objective(logits: NDArray[np.floating], matrix: Any) -> tuple[Any, Any]:
        del matrix
        shifted = training.shifted(logits, outputs)
        return loss_derivatives(shifted, training.target, training.weight)

    def metric(logits: NDArray[np.floating], matrix: Any) -> tuple[str, float]:
        del matrix  # the only one that is watched is that of the validation events
        shifted = validation.shifted(logits, outputs)
        return "loss", loss(shifted, validation.target, validation.weight)

    return xgboost.train(
        {
            "max_depth": settings.max_depth,
            "eta": settings.learning_rate,
            "subsample": settings.subsample,
            "colsample_bytree": settings.colsample,
            "min_child_weight": settings.min_child_weight,
            "tree_method": "hist",
            "nthread": torch.get_num_threads(),  # as many as the networks have
            "seed": seed,
            "base_score": 0.0,
            "disable_default_eval_metric": True,
            **({"num_class": outputs} if outputs > 1 else {}),
        },
        trained,
        num_boost_round=settings.rounds,
        evals=[(watched, "validation")],
        obj=objective,
        custom_metric=metric,
        callbacks=[xgboost.callback.EarlyStopping(rounds=settings.patience, save_best=True)],
        verbose_eval=False,
    )


def predict_trees(
    booster: Any, columns: NDArray[np.float32], *, outputs: int, offsets: tuple[float, ...] = ()
) -> NDArray[np.float64]:
    """Logits float64 (events, outputs) of events float32 (events, columns).

    `offsets` are those of the training events' `Table`.
    """
    logits = booster.inplace_predict(columns, predict_type="margin")
    shaped = np.asarray(logits, dtype=np.float64).reshape(len(columns), outputs)
    return shaped - np.array(offsets) if offsets else shaped


def nodes_of(booster: Any) -> int:
    """Splits and leaves of all trees: what a network's parameters are to it."""
    return sum(tree.count("\n") for tree in booster.get_dump())
