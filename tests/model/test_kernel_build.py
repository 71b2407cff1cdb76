"""Where the kernels come from, and what happens where they cannot be made."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import particle_transformer
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.model.kernels import blas, build

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test loads the kernels anew, from a cache of its own, and leaves nothing behind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    build.load_kernels.cache_clear()
    yield
    build.load_kernels.cache_clear()


@pytest.fixture(scope="module")
def library() -> Path:
    """The library that the other tests use; compiling takes a quarter of a minute."""
    loaded = build.load_kernels()
    assert loaded is not None
    return Path(loaded._name)


@pytest.fixture
def _quick_compiler(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that has the answer ready."""
    monkeypatch.setattr(build, "compile_kernels", lambda _, path: shutil.copy(library, path))


def _libraries(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "particle_transformer").iterdir())


@pytest.mark.usefixtures("_quick_compiler")
def test_a_library_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.load_kernels() is not None
    (name,) = _libraries(tmp_path)
    build.load_kernels.cache_clear()
    monkeypatch.setattr(build, "compile_kernels", lambda *_: pytest.fail("compiled again"))
    assert build.load_kernels() is not None
    assert _libraries(tmp_path) == [name]


@pytest.mark.usefixtures("_quick_compiler")
def test_without_a_compiler_the_results_are_the_same_after_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(3, 2, 8, 8, 8, num_heads=2)
    objects, event = torch.randn(2, 4, 3), torch.randn(2, 2)
    expected = model(objects, event)
    build.load_kernels.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.warns(build.KernelWarning, match=r"no C compiler \(no-such-compiler\) was found"):
        logits = model(objects, event)
    torch.testing.assert_close(logits, expected)
    model(objects, event)  # one warning is enough


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(
        "CC", _script(tmp_path / "broken", "echo 'kernels.c: what is this' >&2; exit 1")
    )
    with pytest.warns(build.KernelWarning, match=r"broken: kernels\.c: what is this; the results"):
        assert build.load_kernels() is None
    assert _libraries(tmp_path) == []


@pytest.mark.slow  # compiles
def test_a_compiler_without_the_best_flags_still_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picky = 'for flag in "$@"; do case "$flag" in -march=*|-mcpu=*|-fopenmp) exit 1;; esac; done; exec cc "$@"'
    monkeypatch.setenv("CC", _script(tmp_path / "picky", picky))
    assert build.load_kernels() is not None


def test_a_cache_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.warns(build.KernelWarning, match="cache"):
        assert build.load_kernels() is None


@pytest.mark.usefixtures("_quick_compiler")
def test_a_damaged_library_is_made_anew(tmp_path: Path) -> None:
    # An interrupted copy of the cache, say. (One that was loaded before would be found in memory.)
    compiler = build._compiler()
    assert compiler is not None
    path = tmp_path / "cache" / "particle_transformer" / build._library_name(compiler)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a library")
    assert build.load_kernels() is not None


@pytest.mark.usefixtures("_quick_compiler")
@pytest.mark.parametrize("what", ["folder", "library"])
def test_code_that_others_may_write_is_refused(tmp_path: Path, what: str) -> None:
    assert build.load_kernels() is not None
    (name,) = _libraries(tmp_path)
    path = tmp_path / "cache" / "particle_transformer"
    path = path if what == "folder" else path / name
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    build.load_kernels.cache_clear()
    with pytest.warns(build.KernelWarning, match=f"{path.name}: others than you may write it"):
        assert build.load_kernels() is None


@pytest.mark.slow  # compiles
def test_the_compiler_may_have_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -DUNUSED")
    assert build.load_kernels() is not None


def test_other_threads_than_pytorchs_are_refused() -> None:
    class Alone:
        def kernel_threads(self) -> int:
            return 1

    with pytest.warns(build.KernelWarning, match="they do not share PyTorch's threads"):
        assert blas._connected(Alone()) == frozenset()


@pytest.mark.slow  # compiles in four processes
def test_processes_that_start_together_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = "from particle_transformer.model.kernels.build import load_kernels as l; assert l()"
    source = str(Path(particle_transformer.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code], env=environment)
        for _ in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    (name,) = _libraries(tmp_path)
    ctypes.CDLL(str(tmp_path / "cache" / "particle_transformer" / name))
