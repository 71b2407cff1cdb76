"""Compile the kernels once, keep the library in the user's cache, and load it."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path

__all__ = ["KernelWarning", "compile_kernels", "load_kernels"]

_FOLDER = Path(__file__).parent
_SOURCES = (
    "kernels.c", "every_dtype.h", "memory.h", "attention.h", "class_attention.h", "products.h",
    "rows.h", "branches.h",
)  # fmt: skip

_FLAGS = (
    "-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"
)  # fmt: skip
# What not every compiler knows, from best to plainest. "-fopenmp" names the OpenMP library that
# PyTorch has loaded already, so that both share their threads.
_OPTIONAL_FLAGS = (
    ("-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-mcpu=native", "-fopenmp"),
    (),
)

_log = logging.getLogger(__name__)


class KernelWarning(UserWarning):
    """The compiled kernels cannot be used; the results are the same, training is slower."""


def _compiler() -> str | None:
    named = os.environ.get("CC")
    return (
        shutil.which(named)
        if named
        else next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    )


def _processor() -> str:
    """What decides whether a library made with -march=native runs here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))


def _library_name(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    key = hashlib.sha256()
    for part in (
        *((_FOLDER / name).read_bytes() for name in _SOURCES),
        compiler.encode(), version, platform.machine().encode(), _processor().encode(),
        repr((_FLAGS, _OPTIONAL_FLAGS)).encode(),
    ):  # fmt: skip
        key.update(len(part).to_bytes(8, "little") + part)
    return f"kernels-{key.hexdigest()[:24]}.so"


def compile_kernels(compiler: str, path: Path) -> None:
    """Compile the kernels as the shared library `path`, which appears whole or not at all.

    Raises
    ------
    OSError
        If the compiler fails with every set of flags (the message is what it printed), or the
        library cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compiling-") as folder:
        made = Path(folder) / path.name
        complaint = ""
        for optional in _OPTIONAL_FLAGS:
            command = [
                compiler,
                *_FLAGS,
                *optional,
                str(_FOLDER / _SOURCES[0]),
                "-o",
                str(made),
                "-lm",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                made.replace(path)
                return
            complaint = complaint or done.stderr.strip()
    message = f"{compiler}: {complaint or 'failed without a message'}"
    raise OSError(message)


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "particle_transformer"


@cache
def load_kernels() -> ctypes.CDLL | None:
    """The library of kernels; None, after a warning, where it cannot be made.

    It is kept in ``$XDG_CACHE_HOME/particle_transformer`` (``~/.cache`` where that is not set), for
    each processor, compiler and version of the source; ``$CC`` chooses the compiler.

    Warns
    -----
    KernelWarning
        If there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = _compiler()
    if compiler is None:
        _warn(f"no C compiler ({os.environ.get('CC') or 'cc, gcc or clang'}) was found")
        return None
    try:
        folder = _cache_folder()
        path = folder / _library_name(compiler)
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _log.info("compiling the attention kernels for this processor: %s", path)
            compile_kernels(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        _warn(str(error))
        return None


def _warn(reason: str) -> None:
    message = (
        f"the attention kernels cannot be compiled: {reason}; the results are the same, but "
        "training on this CPU is slower. Install a C compiler, or name one in the environment "
        "variable CC"
    )
    warnings.warn(message, KernelWarning, stacklevel=2)
