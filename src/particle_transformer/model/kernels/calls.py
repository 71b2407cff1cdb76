"""Calls of the compiled functions on tensors."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer.model.kernels.build import load_kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["call_kernel", "usable"]

_SUFFIX = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float64: "float64",
}

_KINDS = {"q": ctypes.c_int64, "d": ctypes.c_double}


def usable(x: Tensor) -> bool:
    """Whether the kernels can work on tensors like `x`."""
    return x.device.type == "cpu" and x.dtype in _SUFFIX and _are_there()


def _are_there() -> bool:
    return load_kernels() is not None


# torch.compile shall not look into how the library is made; `torch.compiler` has a decorator for
# this, which takes a second to import.
_are_there._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _function(
    library: ctypes.CDLL, name: str, dtype: torch.dtype, inputs: int, numbers: str, outputs: int
) -> Any:
    function = library[f"{name}_{_SUFFIX[dtype]}"]
    kinds: list[Any] = [_KINDS[kind] for kind in numbers]
    pointer: list[Any] = [ctypes.c_void_p]
    function.argtypes = pointer * inputs + kinds + pointer * outputs
    function.restype = ctypes.c_bool
    return function


def call_kernel(
    name: str,
    inputs: Sequence[Tensor | None],
    numbers: Sequence[int | float],
    outputs: Sequence[Tensor | None],
    like: Tensor,
) -> None:
    """Call a compiled function, in the version for the dtype of `like`.

    Parameters
    ----------
    name
        Of the function, without the dtype.
    inputs, numbers, outputs
        Its arguments, in that order: contiguous tensors or None, int64 or float64 numbers (told
        apart by their Python type), and tensors that it fills.

    Raises
    ------
    MemoryError
        If there is no memory for the function's buffers.
    """
    kinds = "".join("d" if isinstance(number, float) else "q" for number in numbers)
    library = load_kernels()
    assert library is not None
    function = _function(library, name, like.dtype, len(inputs), kinds, len(outputs))
    if not function(*map(_pointer, inputs), *numbers, *map(_pointer, outputs)):
        message = f"{name}: not enough memory for its buffers"
        raise MemoryError(message)


def _pointer(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    if not tensor.is_contiguous():
        message = f"got a tensor {tuple(tensor.shape)} with strides {tensor.stride()}"
        raise ValueError(message)
    return tensor.data_ptr()
