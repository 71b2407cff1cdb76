"""The tutorial, command by command in a new folder, on fewer events."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")
pytest.importorskip("pyhf")

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(console|yaml|python)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FEWER = ("--events 2000", "--events 600")


def shape(line: str) -> str:
    """A line without its numbers, and without the width of its columns."""
    return re.sub(r"[\s─━]+", " ", re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", line)).strip()


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "110", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=folder,
        env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_every_command_works_and_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [kind for kind, _ in BLOCKS].count("console") == 7
    for kind, text in BLOCKS:
        if kind == "yaml":
            Path("analysis.yaml").write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(text, {})  # noqa: S102 (our own page)
        else:
            command, *shown = text.removeprefix("$ ").splitlines()
            done = shell(command.replace(*FEWER), tmp_path)
            assert done.returncode == ("wrong.yaml" in command), done.stderr
            everything = (done.stdout + done.stderr).replace(f"{tmp_path}/", "")
            printed = {shape(line) for line in everything.splitlines()}
            for line in shown:
                # Times are on a line of their own for long work only.
                if line != "…" and not line.endswith(" s"):
                    assert shape(line) in printed, f"{command}: {line!r}"
