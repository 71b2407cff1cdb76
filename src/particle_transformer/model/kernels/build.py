"""Compile the kernels once, keep the library in the user's cache, and load it."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KernelWarning", "compile_kernels", "load_kernels", "warn"]

_FOLDER = Path(__file__).parent
_SOURCES = (
    "kernels.c", "every_dtype.h", "memory.h", "attention.h", "class_attention.h", "products.h",
    "rows.h", "branches.h",
)  # fmt: skip

_FLAGS = (
    "-std=c11", "-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC",
    "-shared",
)  # fmt: skip
# What not every compiler knows, from best to plainest. "-fopenmp" names the OpenMP library that
# PyTorch has loaded already, so that both share their threads.
_OPTIONAL_FLAGS = (
    ("-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-mcpu=native", "-fopenmp"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)

_log = logging.getLogger(__name__)


class KernelWarning(UserWarning):
    """The compiled kernels cannot be used; the results are the same, training is slower."""


def _compiler() -> list[str] | None:
    """The compiler's command, with the words that ``$CC`` may have behind it."""
    named = shlex.split(os.environ.get("CC", ""))
    for command in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        if (found := shutil.which(command[0])) is not None:
            return [found, *command[1:]]
    return None


def _processor() -> str:
    """What decides whether a library made with -march=native runs here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))


def _library_name(compiler: list[str]) -> str:
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=False).stdout
    key = hashlib.sha256()
    for part in (
        *((_FOLDER / name).read_bytes() for name in _SOURCES),
        repr(compiler).encode(), version, platform.machine().encode(), _processor().encode(),
        repr((_FLAGS, _OPTIONAL_FLAGS)).encode(),
    ):  # fmt: skip
        key.update(len(part).to_bytes(8, "little") + part)
    return f"kernels-{key.hexdigest()[:24]}.so"


def _compile(compiler: list[str], flags: Sequence[str], source: Path, made: Path) -> str | None:
    """What the compiler complains about; None if it made the library."""
    command = [*compiler, *_FLAGS, *flags, str(source), "-o", str(made), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip() or "failed without a message"


def compile_kernels(compiler: list[str], path: Path) -> None:
    """Compile the kernels as the shared library `path`, which appears whole or not at all.

    Raises
    ------
    OSError
        If the compiler fails (the message is what it printed), or the library cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compiling-") as name:
        folder = Path(name)
        nothing = folder / "nothing.c"
        nothing.write_text("int nothing(void) { return 0; }\n")
        complaint: str | None = None
        for flags in _OPTIONAL_FLAGS:  # tried on a file that takes no time
            complaint = _compile(compiler, flags, nothing, folder / "nothing.so")
            if complaint is None:
                break
        made = folder / path.name
        complaint = complaint or _compile(compiler, flags, _FOLDER / _SOURCES[0], made)
        if complaint is not None:
            message = f"{' '.join(compiler)}: {complaint}"
            raise OSError(message)
        made.replace(path)


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "particle_transformer"


def _check_owner(path: Path) -> None:
    """Refuse code that somebody else may have put there."""
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        message = f"{path}: others than you may write it; remove it, or set XDG_CACHE_HOME"
        raise OSError(message)


def _opened(compiler: list[str], path: Path) -> ctypes.CDLL:
    """The library, made anew where it is missing or damaged."""
    if path.exists():
        _check_owner(path)
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            path.unlink()
    _log.info("compiling the kernels for this processor: %s", path)
    compile_kernels(compiler, path)
    return ctypes.CDLL(str(path))


@cache
def load_kernels() -> ctypes.CDLL | None:
    """The library of kernels; None, after a warning, where it cannot be made.

    It is kept in ``$XDG_CACHE_HOME/particle_transformer`` (``~/.cache`` where that is not set), for
    each processor, compiler and version of the source; ``$CC`` chooses the compiler.

    Warns
    -----
    KernelWarning
        If there is no compiler, it fails, or the cache cannot be written or is not the user's own.
    """
    compiler = _compiler()
    if compiler is None:
        warn(
            f"no C compiler ({os.environ.get('CC') or 'cc, gcc or clang'}) was found", _NO_COMPILER
        )
        return None
    try:
        folder = _cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(folder)
        return _opened(compiler, folder / _library_name(compiler))
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        warn(str(error), _NO_COMPILER)
        return None


_NO_COMPILER = "Install a C compiler, or name one in the environment variable CC"


def warn(reason: str, mend: str) -> None:
    """Say why training will be slow."""
    message = (
        f"the compiled kernels cannot be used: {reason}; the results are the same, but training on "
        f"this CPU is slower. {mend}"
    )
    warnings.warn(message, KernelWarning, stacklevel=3)
