"""The matrix products of the BLAS that PyTorch was built with, for the compiled branches."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch

from particle_transformer.model.kernels.build import load_kernels, warn

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


def _same_threads(kernels: ctypes.CDLL) -> bool:
    """Whether the kernels' OpenMP is PyTorch's, and so has its number of threads."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        return bool(kernels.kernel_threads() == threads + 1)
    finally:
        torch.set_num_threads(threads)


@cache
def _connected(kernels: ctypes.CDLL) -> frozenset[torch.dtype]:
    """Give the kernels their matrix products, and say for which dtypes there is one."""
    if not _same_threads(kernels):
        # Two pools of threads would run beside each other, and products inside the kernels start
        # threads of their own.
        warn("they do not share PyTorch's threads", "Use GCC, or another build of PyTorch")
        return frozenset()
    library = _library()
    pointers: dict[torch.dtype, int | None] = {}
    for dtype, name in _NAMES.items():
        function = getattr(library, name, None)
        pointers[dtype] = None if function is None else ctypes.cast(function, ctypes.c_void_p).value
    if not pointers[torch.float32]:
        warn("this PyTorch does not offer its BLAS", "Use another build of PyTorch")
    kernels.use_blas.argtypes = [ctypes.c_void_p] * len(pointers)
    kernels.use_blas.restype = None
    kernels.use_blas(*pointers.values())
    return frozenset(dtype for dtype, pointer in pointers.items() if pointer)


def has_product(dtype: torch.dtype) -> bool:
    """Whether the compiled branches can multiply matrices of `dtype`.

    Where PyTorch's library does not offer its BLAS, or has other threads than the kernels, the
    branches are computed by PyTorch's own operations, a whole batch at a time.

    Warns
    -----
    KernelWarning
        Once, in that case.
    """
    kernels = load_kernels()
    return kernels is not None and dtype in _connected(kernels)
