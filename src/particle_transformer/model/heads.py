"""What stands on the network's trunk: MLP heads, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Outputs", "mlp_head"]


@dataclass(frozen=True)
class Outputs:
    """Everything a network with two heads says of a batch.

    Attributes
    ----------
    logits
        (events, num_outputs): what `AnalysisObjectTransformer.forward` returns.
    scaled_regression
        (events, regression_targets) in units of the target scaling: what a loss compares with
        ``model.target_scaling(target)``.
    regression
        (events, regression_targets) in the targets' own units: scaled × scale + mean.
    """

    logits: Tensor
    scaled_regression: Tensor
    regression: Tensor


def mlp_head(
    width: int, hidden_1: int, hidden_2: int, outputs: int, dropout: float
) -> nn.Sequential:
    """Build an MLP (events, width) → hidden_1 → hidden_2 → (events, outputs).

    GELU and dropout follow each hidden layer; nothing follows the last.
    """
    return nn.Sequential(
        nn.Linear(width, hidden_1),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_1, hidden_2),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_2, outputs),
    )
