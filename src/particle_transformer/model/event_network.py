"""What training and scoring ask of a network, whatever it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from particle_transformer.errors import ModelInputError

if TYPE_CHECKING:
    from torch import Tensor

    from particle_transformer.events.packed import PackedBatch
    from particle_transformer.model.heads import Outputs
    from particle_transformer.model.inputs import InputSpec
    from particle_transformer.model.scaling import Standardise

__all__ = ["EventNetwork"]


class EventNetwork(nn.Module):
    """A network of packed events: `AnalysisObjectTransformer`, or one that it is compared with.

    Attributes
    ----------
    collections
        Names of the collections, in the order of `object_scaling`.
    arguments
        The constructor's arguments, as JSON can hold them, with ``num_outputs`` and
        ``regression_targets`` among them.
    spec
        What the network reads.
    object_scaling, event_scaling
        Standardisation of each collection's features and of the event features; fitted to
        training events.
    target_scaling
        That of regression targets; None without any.
    has_begun
        Whether its last layer is that of a trained network, for classes of equal shares.
    """

    collections: tuple[str, ...]
    arguments: dict[str, Any]
    spec: InputSpec
    object_scaling: nn.ModuleList
    event_scaling: Standardise
    target_scaling: Standardise | None
    has_begun: bool = False

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        raise NotImplementedError

    def forward_packed(self, batch: PackedBatch) -> Tensor:
        """Logits (events, num_outputs) of a packed batch."""
        raise NotImplementedError

    def predict_packed(self, batch: PackedBatch) -> Outputs:
        """Logits and regressed quantities of a packed batch.

        Raises
        ------
        ModelInputError
            If the network regresses nothing.
        """
        del batch
        message = (
            f"regression_targets: {type(self).__name__} regresses nothing; call forward_packed"
        )
        raise ModelInputError(message)
