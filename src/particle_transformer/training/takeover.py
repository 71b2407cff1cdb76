"""Weights of one network for another one, as `plan_reuse` has found.

Only weights are taken over. The scaling of the features is fitted to the new training events, so
that taken weights act on standardised features: a jet's log(pt) in units of the deviation in the new
sample, whatever the units and the spectrum of the old one were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer.training.reuse import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.reuse import MappedFeatures, Reuse

__all__ = ["initialise"]

_FIRST, _HIDDEN, _LAST = "head.0", "head.3", "head.6"


def initialise(
    model: AnalysisObjectTransformer,
    older: AnalysisObjectTransformer,
    plan: Reuse,
    offsets: Sequence[float] = (),
) -> None:
    """Give a network what it takes over; the rest of its weights stays, the scaling too.

    The columns of new features in layers that are taken over start at zero: the network begins as
    the older one, for which every feature that it had and that is not there any more is at its mean.

    Parameters
    ----------
    model
        The new network, with fresh weights; overwritten.
    older
        The older network.
    plan
        By `plan_reuse`.
    offsets
        Of the older network, as `Inputs` has them: without them its logits are those of balanced
        classes, whatever the shares of the classes are in the new training.
    """
    state, known = model.state_dict(), older.state_dict()
    for part, prefix in BLOCKS.items():
        if part in plan.reused:
            _copy(state, known, prefix, prefix)
    for column, name in enumerate(model.collections):
        mapped = plan.objects[name]
        if mapped.source is None:
            continue
        source = older.collections.index(mapped.source)
        _copy_embedding(state, known, f"embedding.{column}", f"embedding.{source}", mapped)
        state["collection_embedding"][column].copy_(known["collection_embedding"][source])
    event = plan.event
    both = model.event_embedding is not None and older.event_embedding is not None
    if both and event.source is not None:
        _copy_embedding(state, known, "event_embedding", "event_embedding", event)
    # The trunk's columns, then those of the event features, if the head sees them.
    trunk = model.arguments["linear_dims2"]
    weight, old = state[f"{_FIRST}.weight"], known[f"{_FIRST}.weight"]
    weight[:, :trunk].copy_(old[:, :trunk])
    if weight.shape[1] > trunk:
        if old.shape[1] > trunk:
            _copy_columns(weight[:, trunk:], old[:, trunk:], event)
        else:
            weight[:, trunk:] = 0.0
    state[f"{_FIRST}.bias"].copy_(known[f"{_FIRST}.bias"])
    _copy(state, known, _HIDDEN, _HIDDEN)
    for output, source in plan.outputs:
        state[f"{_LAST}.weight"][output].copy_(known[f"{_LAST}.weight"][source])
        added = offsets[source] if offsets else 0.0
        state[f"{_LAST}.bias"][output].copy_(known[f"{_LAST}.bias"][source] + added)
    model.has_begun = bool(plan.outputs)


def _copy(state: Mapping[str, Tensor], known: Mapping[str, Tensor], to: str, of: str) -> None:
    for name, value in state.items():
        if name == to or name.startswith(f"{to}."):
            value.copy_(known[of + name.removeprefix(to)])


def _copy_embedding(
    state: Mapping[str, Tensor],
    known: Mapping[str, Tensor],
    to: str,
    of: str,
    mapped: MappedFeatures,
) -> None:
    first = "layers.0.weight"
    for name in [name for name in state if name.startswith(f"{to}.")]:
        part = name.removeprefix(f"{to}.")
        value, old = state[name], known[f"{of}.{part}"]
        if part == first:
            _copy_columns(value, old, mapped)
        elif part == "encoding.frequency":  # (features, frequencies)
            for column, source in mapped.reused:
                value[column].copy_(old[source])
        else:
            value.copy_(old)


def _copy_columns(value: Tensor, old: Tensor, mapped: MappedFeatures) -> None:
    """Columns of the features that both have; the others are zero.

    Parameters
    ----------
    value, old
        (outputs, features × numbers by which each is encoded).
    """
    value.zero_()
    encoded = value.shape[1] // len(mapped.names)
    for column, source in mapped.reused:
        value[:, column * encoded : (column + 1) * encoded].copy_(
            old[:, source * encoded : (source + 1) * encoded]
        )
