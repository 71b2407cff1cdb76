"""What a training minimises: the classification loss, and what is added to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.losses.decorrelation import DoubleDisCo
from particle_transformer.losses.signal_score import signal_score
from particle_transformer.training.ranks import gathered

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from particle_transformer.losses.decorrelation import DisCo
    from particle_transformer.losses.focal import Focal
    from particle_transformer.losses.regression import Regression
    from particle_transformer.training.batch import Batch

__all__ = ["Auxiliary", "Decorrelation", "Objective"]


@dataclass(frozen=True)
class Decorrelation:
    """DisCo against spectators.

    Attributes
    ----------
    loss
        The penalty.
    spectators
        Columns of the spectators that the score shall know nothing of.
    classes
        Whether the score is decorrelated in ``"background"`` events or in ``"all"``.
    """

    loss: DisCo
    spectators: tuple[int, ...]
    classes: Literal["background", "all"] = "background"


@dataclass(frozen=True)
class Auxiliary:
    """Regression of spectators by a second head.

    Attributes
    ----------
    loss
        The loss of the scaled targets.
    spectators
        Columns of the spectators that are regressed.
    strength
        By what the loss is multiplied.
    """

    loss: Regression
    spectators: tuple[int, ...]
    strength: float


@dataclass(frozen=True)
class Objective:
    """The terms of a loss; their sum is minimised.

    Attributes
    ----------
    classification
        Of the classes; `DoubleDisCo` is that of a network with two scores.
    disco, regression
        What is added to it, if anything.
    offsets
        Of the logits of several classes, in the classification alone
        (`particle_transformer.losses.class_prior.class_offsets`); empty: none.
    """

    classification: CrossEntropy | Focal | DoubleDisCo = field(default_factory=CrossEntropy)
    disco: Decorrelation | None = None
    regression: Auxiliary | None = None
    offsets: tuple[float, ...] = ()

    @property
    def two_scores(self) -> bool:
        """Whether the two logits are two scores of signal, and not those of two classes."""
        return isinstance(self.classification, DoubleDisCo)

    def is_signal(self, target: Tensor, outputs: int) -> Tensor:
        """Which events are of class signal, bool (events,), in a network with so many outputs."""
        return target == (1 if outputs == 1 or self.two_scores else 0)

    def score(self, logits: Tensor) -> Tensor:
        """Score of signal, (events,), in [0, 1]; higher is more like signal.

        Of two independent scores the sum of the logits, the optimal combination if each logit is
        the logarithm of a likelihood ratio.
        """
        return signal_score(logits.sum(1, keepdim=True) if self.two_scores else logits)

    def terms(
        self,
        logits: Tensor,
        regressed: Tensor | None,
        batch: Batch,
        target_scaling: Callable[[Tensor], Tensor] | None,
    ) -> dict[str, Tensor]:
        """Each term, a scalar, by name.

        Distance correlations are those of all ranks' events together; other terms are means over
        this rank's events, times the batch's share in the step.

        Parameters
        ----------
        logits
            (events, num_outputs).
        regressed
            (events, targets) in units of the target scaling; None without regression.
        batch
            The batch.
        target_scaling
            The network's; None without regression.
        """
        target, weight = batch.target, batch.weight
        if self.two_scores:
            whole = gathered(logits), gathered(target), gathered(weight)
            terms = {"classification": self.classification(*whole)}
        else:
            shifted = logits + logits.new_tensor(self.offsets) if self.offsets else logits
            terms = {"classification": self.classification(shifted, target, weight) * batch.share}
        if self.disco is not None:
            chosen = torch.ones_like(target, dtype=torch.bool)  # (events,)
            if self.disco.classes == "background":
                chosen = ~self.is_signal(target, logits.shape[1])
            quantities = batch.spectators[chosen][:, list(self.disco.spectators)]
            terms["disco"] = self.disco.loss(
                gathered(self.score(logits)[chosen]), gathered(quantities), gathered(weight[chosen])
            )
        if self.regression is not None:
            assert regressed is not None, "the network regresses"
            assert target_scaling is not None, "the network regresses"
            targets = target_scaling(batch.spectators[:, list(self.regression.spectators)])
            loss = self.regression.loss(regressed, targets, weight)
            terms["regression"] = self.regression.strength * loss * batch.share
        return terms
