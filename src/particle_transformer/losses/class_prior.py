"""What the probabilities of several classes refer to. numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.losses.weights import TrainingWeights

__all__ = ["class_offsets"]


def class_offsets(
    weights: TrainingWeights, process_class: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Offsets of the logits in the loss, so that the backgrounds are mixed as they are expected.

    Classes of equal total weight are learnt best, but a background of a thousandth of the yield
    must not count as much as the others when the signal is told from all of them. With
    logits + ln(τ/π) in the loss (logit adjustment, A. Menon et al., arXiv:2007.07314, eq. 10),
    τ the shares of the classes in the training weights, the logits themselves are those of the
    shares π: one half signal, one half background, in which every class has its share by
    physics weight. It is the prior of a network that knows one class of background.

    Parameters
    ----------
    weights
        Of the training events.
    process_class
        Integer (processes,): class of each process; 0 is signal.

    Returns
    -------
    float64 (classes,)
        ln(τ/π).
    """
    present = weights.events > 0
    own = process_class[present]
    classes = int(process_class.max()) + 1
    trained = np.bincount(own, weights.sums[present], minlength=classes)
    physics = np.bincount(
        own, (weights.sums * weights.units * weights.mean)[present], minlength=classes
    )
    prior = physics.astype(np.float64)
    prior[0] = prior[1:].sum()
    offsets: NDArray[np.float64] = np.log(trained / trained.sum()) - np.log(prior / prior.sum())
    return offsets
