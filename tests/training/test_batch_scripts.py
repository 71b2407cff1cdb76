"""The examples of batch jobs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from signal import SIGUSR1
from typing import TYPE_CHECKING

import pytest
import typer

from particle_transformer.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "slurm" / "train.sbatch"

# The first step runs until the job is requeued, as SLURM ends it then; the second one to its end.
SRUN = """#!/bin/bash
echo "$SRUN_CPUS_PER_TASK $@" >> "$CALLS/srun"
[ $(wc -l < "$CALLS/srun") -gt 1 ] && exit "${STATUS:-0}"
trap 'kill $!; exit 143' TERM
sleep 60 &
echo $$ > "$CALLS/step"
wait
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$CALLS/scontrol"
kill "$(cat "$CALLS/step")"
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where srun and scontrol note how they were called."""
    for name, script in (("srun", SRUN), ("scontrol", SCONTROL)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    return tmp_path


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", str(SCRIPT), "my analysis.yaml", "run"])


def test_a_job_whose_time_is_up_is_requeued_and_goes_on(calls: Path) -> None:
    first = start()
    deadline = time.monotonic() + 20
    while not (calls / "step").exists() or not (calls / "step").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(SIGUSR1)
    assert first.wait(timeout=20) == 143
    assert (calls / "scontrol").read_text() == "requeue 4242\n"
    assert start().wait(timeout=20) == 0
    before, again = (calls / "srun").read_text().splitlines()
    assert before == again == "4 --kill-on-bad-exit=1 aot train my analysis.yaml --out run --resume"


def test_a_training_that_fails_is_not_requeued(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (calls / "srun").write_text("before\n")
    monkeypatch.setenv("STATUS", "1")
    assert start().wait(timeout=20) == 1
    assert not (calls / "scontrol").exists()


def options_of_train() -> set[str]:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    return {name for option in command.commands["train"].params for name in option.opts}


def commands() -> Iterator[list[str]]:
    """Each ``train …`` of the examples."""
    (arguments,) = re.findall(
        r"^arguments\s*=\s*(.*)$",
        (EXAMPLES / "htcondor" / "train.sub").read_text(),
        re.MULTILINE,
    )
    yield shlex.split(arguments)
    (arguments,) = re.findall(r"^srun .* aot (.*) &$", SCRIPT.read_text(), re.MULTILINE)
    yield shlex.split(arguments)


def test_jobs_call_the_command_as_it_is() -> None:
    for name, *arguments in commands():
        assert name == "train"
        given = {word for word in arguments if word.startswith("--")}
        assert {"--out", "--resume"} <= given <= options_of_train()
