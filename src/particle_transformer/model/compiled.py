"""The network through ``torch.compile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from particle_transformer.events.packed import PackedBatch
    from particle_transformer.model.transformer import AnalysisObjectTransformer

__all__ = ["compiled"]


def compiled(
    model: AnalysisObjectTransformer, *, regression: bool = False
) -> Callable[[PackedBatch], Any]:
    """`forward_packed`, or `predict_packed`, with ``torch.compile``.

    One graph serves batches of any size: what depends on the numbers of objects (the checks, where
    each row goes, the list of pairs) is computed before it, as ever. Results are those of the
    model to rounding; with dropout other random numbers are drawn. The model itself is left as it
    is.

    Parameters
    ----------
    model
        The network, which may go on being trained.
    regression
        Whether to give `Outputs`, and not the logits alone.

    Returns
    -------
    callable
        Takes a `PackedBatch`; compiles when it is first called.
    """
    from torch._dynamo import config  # noqa: PLC0415 (takes a second)

    trunk = torch.compile(model._trunk, dynamic=True)

    def network(batch: PackedBatch) -> Any:
        layout = model.checked_layout(batch).completed(pairs=model.pair_bias is not None)
        # The seed of a kernel's dropout is drawn within the graph.
        with config.patch(capture_scalar_outputs=True):
            read = trunk(batch.objects, batch.event, batch.momenta, layout)
        return model._outputs(read) if regression else model.head(read)

    return network
