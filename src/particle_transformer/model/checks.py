"""What the model refuses, each in one line: the argument, what it got, what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from particle_transformer.errors import ModelInputError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = [
    "check_arguments",
    "check_collections",
    "check_mask",
    "check_offsets",
    "check_positive",
    "check_tensor",
]

T = TypeVar("T")


def check_positive(name: str, value: object, least: int = 1) -> None:
    """Refuse anything but an int of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        message = f"{name}: got {value!r}, expected an integer of at least {least}"
        raise ModelInputError(message)


def check_collections(
    argument: str, given: Mapping[str, T] | Tensor, expected: Sequence[str]
) -> Mapping[str, T]:
    """Refuse what is no mapping, and missing and unknown collections; return `given`."""
    if not isinstance(given, Mapping):
        message = (
            f"{argument}: got {type(given).__name__}, expected a mapping with the collections "
            f"{', '.join(expected)}"
        )
        raise ModelInputError(message)
    names = list(given)
    for name in names:
        if name not in expected:
            message = f"{argument}: unknown collection {name!r}; {nearest(name, expected)}"
            raise ModelInputError(message)
    for name in expected:
        if name not in names:
            message = (
                f"{argument}: collection {name!r} is missing; got {', '.join(names) or 'none'}"
            )
            raise ModelInputError(message)
    return given


def check_tensor(
    argument: str, tensor: object, shape: Mapping[str, int | None], like: Tensor
) -> None:
    """Refuse a tensor of another rank, size, dtype or device.

    Parameters
    ----------
    argument
        Its name in the message.
    tensor
        What the user gave.
    shape
        Size by name of each axis, in order; None where any size will do.
    like
        A tensor of the dtype and on the device that are expected.
    """
    expected = ", ".join(axis if size is None else f"{axis}={size}" for axis, size in shape.items())
    if not isinstance(tensor, torch.Tensor):
        message = f"{argument}: got {type(tensor).__name__}, expected a tensor ({expected})"
        raise ModelInputError(message)
    fits = tensor.ndim == len(shape) and all(
        size is None or size == found
        for size, found in zip(shape.values(), tensor.shape, strict=True)
    )
    if not fits:
        message = f"{argument}: got shape {tuple(tensor.shape)}, expected ({expected})"
        raise ModelInputError(message)
    if tensor.dtype != like.dtype:
        message = f"{argument}: got dtype {tensor.dtype}, expected {like.dtype}"
        raise ModelInputError(message)
    _check_device(argument, tensor, like)


def _check_device(argument: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.device != like.device:
        message = f"{argument}: got a tensor on {tensor.device}, expected {like.device}"
        raise ModelInputError(message)


def check_mask(argument: str, mask: object, shape: tuple[int, int], like: Tensor) -> None:
    """Refuse a padding mask that is not bool (batch, n), or not on the device of `like`."""
    if not isinstance(mask, torch.Tensor):
        message = f"{argument}: got {type(mask).__name__}, expected a bool tensor {shape}"
        raise ModelInputError(message)
    if mask.dtype != torch.bool:
        message = f"{argument}: got dtype {mask.dtype}, expected torch.bool (True = padded)"
        raise ModelInputError(message)
    if tuple(mask.shape) != shape:
        message = f"{argument}: got shape {tuple(mask.shape)}, expected {shape}"
        raise ModelInputError(message)
    _check_device(argument, mask, like)


def check_offsets(argument: str, offsets: object, events: int, rows: int, like: Tensor) -> None:
    """Refuse offsets that do not cut `rows` packed rows, on `like`'s device, into `events` events."""
    if not isinstance(offsets, torch.Tensor):
        message = (
            f"{argument}: got {type(offsets).__name__}, expected a tensor torch.int64 "
            f"({events + 1},) for {events} events"
        )
        raise ModelInputError(message)
    if offsets.dtype != torch.int64 or tuple(offsets.shape) != (events + 1,):
        message = (
            f"{argument}: got {offsets.dtype} {tuple(offsets.shape)}, expected torch.int64 "
            f"({events + 1},) for {events} events"
        )
        raise ModelInputError(message)
    _check_device(argument, offsets, like)
    first, last = int(offsets[0]), int(offsets[-1])
    if first != 0 or last != rows or bool((offsets.diff() < 0).any()):
        message = (
            f"{argument}: got offsets from {first} to {last}, expected them to rise from 0 to the "
            f"{rows} packed rows"
        )
        raise ModelInputError(message)


_COUNTS = (
    "embed_dims", "linear_dims1", "linear_dims2", "mlp_hidden_1", "mlp_hidden_2", "num_heads",
    "feedforward_factor", "num_att_blocks", "num_class_blocks", "num_outputs",
)  # fmt: skip

OPTIONS = {
    "event_features": ("concatenated", "token", "both"),
    "feedforward": ("gelu", "swiglu"),
    "feature_embedding": ("linear", "periodic", "piecewise_linear"),
}
"""Arguments that choose among names."""


def check_arguments(features: Mapping[str, int], arguments: Mapping[str, Any]) -> None:
    """Refuse constructor arguments of which no network can be built.

    Parameters
    ----------
    features
        Features of an object by collection.
    arguments
        The constructor's arguments by name.
    """
    if not features:
        message = "input_dim_obj: got no collection, expected at least one"
        raise ModelInputError(message)
    named = isinstance(arguments["input_dim_obj"], dict)
    for name, width in features.items():
        check_positive(f"input_dim_obj[{name!r}]" if named else "input_dim_obj", width)
    check_positive("input_dim_event", arguments["input_dim_event"], least=0)
    check_positive("regression_targets", arguments["regression_targets"], least=0)
    for name in _COUNTS:
        check_positive(name, arguments[name])
    if arguments["class_feedforward_factor"] is not None:
        check_positive("class_feedforward_factor", arguments["class_feedforward_factor"])
    for width in arguments["pair_dims"]:
        check_positive("pair_dims", width)
    for name, known in OPTIONS.items():
        if arguments[name] not in known:
            message = f"{name}: got {arguments[name]!r}; {nearest(str(arguments[name]), known)}"
            raise ModelInputError(message)
    if arguments["event_features"] != "concatenated" and not arguments["input_dim_event"]:
        message = (
            f"event_features: got {arguments['event_features']!r} for input_dim_event=0, expected "
            "'concatenated' where there are no event features"
        )
        raise ModelInputError(message)
    heads = arguments["num_heads"]
    # A single attention block never has the width linear_dims1.
    attended = ("linear_dims1", "linear_dims2")[int(arguments["num_att_blocks"] == 1) :]
    for name in attended:
        if arguments[name] % heads:
            message = f"num_heads: got {heads}, expected a divisor of {name}={arguments[name]}"
            raise ModelInputError(message)
    if not 0.0 <= arguments["dropout"] < 1.0:
        message = f"dropout: got {arguments['dropout']}, expected a probability in [0, 1)"
        raise ModelInputError(message)
    if not arguments["layer_scale"] > 0.0:
        message = f"layer_scale: got {arguments['layer_scale']}, expected a positive number"
        raise ModelInputError(message)
