"""Shell completion: installed as the page says, bash completes commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

AOT = Path(sys.executable).parent / "aot"

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not AOT.exists(), reason="needs bash and the installed command"
)

COMPLETE = """
source "$HOME/.bashrc"
COMP_WORDS=({words}); COMP_CWORD={position}
eval "$(complete -p aot | sed 's/.*-F \\([^ ]*\\) .*/\\1/') aot"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def bash(code: str, home: Path) -> str:
    environment = {**os.environ, "HOME": str(home), "PATH": f"{AOT.parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which ``aot --install-completion`` was run."""
    folder = tmp_path_factory.mktemp("home")
    said = bash("aot --install-completion; true", folder)
    assert "bash completion installed" in said
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [("aot tr", {"train"}), ("aot e", {"evaluate", "explain"}), ("aot train --res", {"--resume"})],
)
def test_bash_completes(home: Path, line: str, expected: set[str]) -> None:
    words = line.split()
    code = COMPLETE.format(words=line, position=len(words) - 1)
    assert set(bash(code, home).split()) >= expected
    assert all(word.startswith(words[-1]) for word in bash(code, home).split())


def test_show_completion_prints_what_is_installed(home: Path) -> None:
    shown = bash("aot --show-completion; true", home)
    assert "complete -o default -F" in shown
