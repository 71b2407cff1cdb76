"""The matrix products of the BLAS that PyTorch was built with, for the compiled branches."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch

from particle_transformer.model.kernels.build import load_kernels

__all__ = ["has_product"]

# Standard names; the products of bfloat16 are MKL's.
_NAMES = {
    torch.float32: "sgemm_",
    torch.bfloat16: "gemm_bf16bf16f32_",
    torch.float64: "dgemm_",
}


def _library() -> ctypes.CDLL | None:
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name))
    return None


@cache
def _connected() -> frozenset[torch.dtype]:
    """Give the kernels their matrix products, and say for which dtypes there is one."""
    kernels, library = load_kernels(), _library()
    if kernels is None or library is None:
        return frozenset()
    pointers: dict[torch.dtype, int | None] = {}
    for dtype, name in _NAMES.items():
        function = getattr(library, name, None)
        pointers[dtype] = None if function is None else ctypes.cast(function, ctypes.c_void_p).value
    kernels.use_blas.argtypes = [ctypes.c_void_p] * len(pointers)
    kernels.use_blas.restype = None
    kernels.use_blas(*pointers.values())
    return frozenset(dtype for dtype, pointer in pointers.items() if pointer)


def has_product(dtype: torch.dtype) -> bool:
    """Whether the compiled branches can multiply matrices of `dtype`.

    Where PyTorch's library does not offer its BLAS, the branches are computed by PyTorch's own
    operations, a whole batch at a time.
    """
    return dtype in _connected()
