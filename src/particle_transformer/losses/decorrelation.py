"""Penalties that keep scores independent: of event quantities, or of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from particle_transformer.errors import ModelInputError
from particle_transformer.losses.checks import check_classification
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.losses.distance_correlation import distance_correlation_squared
from particle_transformer.losses.signal_score import signal_score

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DisCo", "DoubleDisCo"]


@dataclass(frozen=True)
class DisCo:
    """Penalty λ Σₖ dCorr²(s, qₖ) / K on the dependence of the score s on K event quantities.

    Added to a classification loss, it makes the score independent of the quantities in the events
    that it is given, so that a cut on it does not shape their distribution (G. Kasieczka, D. Shih,
    arXiv:2001.05310, section 2: there the quantity is the mass of background jets). See
    `distance_correlation_squared` for its definition, and for its bias, which falls as
    1 / batch_size.

    Parameters
    ----------
    strength
        λ. Positive.

    Raises
    ------
    ModelInputError
        If `strength` is not a positive, finite number.
    """

    strength: float

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def __call__(self, score: Tensor, quantities: Tensor, weight: Tensor) -> Tensor:
        """Penalty of the events given: choose them, such as the background of a batch, before.

        Parameters
        ----------
        score
            (events,): probability of signal, `signal_score`.
        quantities
            (events, quantities): in any units. They get no gradient.
        weight
            (events,): signed training weights.

        Returns
        -------
        Tensor
            Scalar.

        Raises
        ------
        ModelInputError
            If a shape is another one, or there is no quantity.
        SampleError
            As `distance_correlation_squared`.
        """
        if quantities.ndim != 2 or quantities.shape[1] < 1:
            message = (
                f"quantities: got shape {tuple(quantities.shape)}, expected "
                "(events, 1 or more quantities)"
            )
            raise ModelInputError(message)
        penalties = [
            distance_correlation_squared(score, quantity, weight)
            for quantity in quantities.detach().unbind(1)
        ]
        return self.strength * torch.stack(penalties).mean()


@dataclass(frozen=True)
class DoubleDisCo:
    """Two classifiers that are independent in background: L(f) + L(g) + λ dCorr²(f, g).

    f and g are the sigmoids of the network's two logits, each a classifier of signal against
    background; L is the weighted binary `CrossEntropy`, and dCorr² is over the background of the
    batch (G. Kasieczka, B. Nachman, M. Schwartz, D. Shih, arXiv:2007.14400, section 3). Cuts on f
    and g then make the four regions of the ABCD method, in which N_A = N_B N_C / N_D predicts the
    background. See `distance_correlation_squared` for its bias, which falls as 1 / batch_size.

    Parameters
    ----------
    strength
        λ. Positive.

    Raises
    ------
    ModelInputError
        If `strength` is not a positive, finite number.
    """

    strength: float

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def __call__(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss of a batch.

        Parameters
        ----------
        logits
            (events, 2): of f and of g.
        target
            int64 (events,): 1 signal, 0 background.
        weight
            (events,): signed training weights.

        Returns
        -------
        Tensor
            Scalar.

        Raises
        ------
        ModelInputError
            If a shape or dtype is another one.
        SampleError
            As `distance_correlation_squared`, of the background events.
        """
        check_classification(logits, target, weight)
        if logits.shape[1] != 2:
            message = f"logits: got shape {tuple(logits.shape)}, expected (events, 2): f and g"
            raise ModelInputError(message)
        loss = CrossEntropy()
        background = target == 0  # (events,)
        f, g = logits[:, :1], logits[:, 1:]  # (events, 1) each
        dependence = distance_correlation_squared(
            signal_score(f[background]), signal_score(g[background]), weight[background]
        )
        return loss(f, target, weight) + loss(g, target, weight) + self.strength * dependence


def _check_strength(strength: float) -> None:
    if not (strength > 0 and math.isfinite(strength)):
        message = f"strength: got {strength!r}, expected a positive number"
        raise ModelInputError(message)
