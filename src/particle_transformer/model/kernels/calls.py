"""Calls of the compiled functions on tensors."""

from __future__ import annotations

import ctypes
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


def usable(x: Tensor) -> bool:
    """Whether the kernels can work on tensors like `x`."""
    return x.device.type == "cpu" and x.dtype in _SUFFIX and load_kernels() is not None


def call_kernel(
    function: str,
    inputs: Sequence[Tensor | None],
    numbers: Sequence[Any],
    outputs: Sequence[Tensor | None],
) -> None:
    """Call a compiled function, whose dtype is that of the first input.

    Raises
    ------
    MemoryError
        If there is no memory for the function's buffers.
    """
    library = load_kernels()
    assert library is not None
    example = inputs[0]
    assert example is not None
    kernel = getattr(library, f"{function}_{_SUFFIX[example.dtype]}")
    kernel.restype = ctypes.c_bool
    enough = kernel(*map(_pointer, inputs), *numbers, *map(_pointer, outputs))
    if not enough:
        message = f"{function}: not enough memory for the buffers of the longest event"
        raise MemoryError(message)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return ctypes.c_void_p(tensor.data_ptr())
