"""Commands of several ranks that are killed, interrupted, resumed, or have nothing to train."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import yaml

from helpers.runs import small_analysis
from particle_transformer.artefact.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

psutil = pytest.importorskip("psutil")

pytestmark = pytest.mark.slow

AOT = "-m", "particle_transformer.cli", "train", "--no-plots"


class Program:
    """A Python program in a session of its own, as those of a terminal are."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        self.tree = psutil.Process(self.process.pid)

    def ranks(self) -> dict[int, Any]:
        """The ranks that it has started."""
        found = {child.environ().get("RANK"): child for child in self.tree.children()}
        return {int(rank): child for rank, child in found.items() if rank is not None}

    def wait(self) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        output, errors = self.process.communicate(timeout=600)
        return self.process.returncode, output, errors

    def end(self) -> None:
        """Let nothing be left, whatever has happened."""
        if self.process.poll() is None:
            for child in self.tree.children(recursive=True):
                child.kill()
            self.process.kill()
        self.process.communicate()


class Programs:
    """Programs none of which outlives the test."""

    def __init__(self) -> None:
        self.started: list[Program] = []

    def start(self, *arguments: object, **environment: str) -> Program:
        self.started.append(Program(*arguments, **environment))
        return self.started[-1]

    def aot(self, *arguments: object) -> Program:
        return self.start(*AOT, *arguments)

    def torchrun(self, *arguments: object) -> Program:
        return self.start("-m", "torch.distributed.run", "--nproc-per-node", 2, *AOT, *arguments)

    def srun(self, *arguments: object) -> list[Program]:
        """The two tasks of a step."""
        step = {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NAME": "train",
            "SLURM_NTASKS": "2",
            "SLURM_NNODES": "1",
            "SLURM_NODELIST": "localhost",
            "SLURM_STEP_ID": str(len(self.started)),
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NUM_NODES": "1",
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NODEID": "0",
        }
        return [
            self.start(*AOT, *arguments, **step, SLURM_PROCID=task, SLURM_LOCALID=task)
            for task in "01"
        ]


@pytest.fixture
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    for program in programs.started:
        program.end()


def analysis(folder: Path) -> Path:
    """A training of some seconds, with dropout."""
    file = small_analysis(folder)
    content = yaml.safe_load(file.read_text())
    content["training"].update(epochs=12, patience=12, batch_size=61)
    content["model"]["dropout"] = 0.1
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def wait_for_checkpoint(program: Program, run: Path, after: float = 0.0) -> None:
    """Wait until one is written after a time."""
    while not any(path.stat().st_mtime > after for path in run.glob("checkpoints/**/last.ckpt")):
        assert program.process.poll() is None, program.wait()
        time.sleep(0.05)


def assert_all_gone(ranks: dict[int, Any]) -> None:
    _, alive = psutil.wait_procs(list(ranks.values()), timeout=20)
    assert not alive


def trained(run: Path) -> list[tuple[bytes, Any]]:
    """Weights and history of each network."""
    folder = RunFolder(run)
    return [
        (
            (folder.network(network["fold"]) / "model.safetensors").read_bytes(),
            network["history"],
        )
        for network in json.loads(folder.record.read_text())["networks"]
    ]


def test_a_training_that_is_killed_and_interrupted_ends_like_another(
    programs: Programs, tmp_path: Path
) -> None:
    file = analysis(tmp_path)
    whole, run = tmp_path / "whole", tmp_path / "run"
    tasks = programs.srun(file, "--out", whole)
    (status, output, errors), second = (task.wait() for task in tasks)
    assert (status, errors) == (0, "")
    assert f"trained {whole}" in output
    assert second == (0, "", "")

    program = programs.aot(file, "--out", run, "--devices", 2)
    wait_for_checkpoint(program, run)
    ranks = program.ranks()
    ranks[1].kill()
    status, output, errors = program.wait()
    assert (status, output.count("trained")) == (1, 0)
    assert errors == (
        "aot: rank 1 of 2 was killed by SIGKILL, the others were ended; the last checkpoint is "
        "kept: go on with aot train --resume\n"
    )
    assert_all_gone(ranks)

    written = time.time()
    program = programs.aot(file, "--out", run, "--devices", 2, "--resume")
    wait_for_checkpoint(program, run, written)
    ranks = program.ranks()
    program.process.send_signal(signal.SIGINT)  # a terminal's does not reach the ranks either
    status, _, errors = program.wait()
    assert status == 130
    assert errors == (f"{run}: what was done is kept; give --resume to go on\naot: interrupted\n")
    assert_all_gone(ranks)
    assert not RunFolder(run).record.exists()

    status, output, errors = programs.torchrun(file, "--out", run, "--resume").wait()
    assert (status, output.count(f"trained {run}"), errors) == (0, 1, "")
    assert trained(run) == trained(whole)


def test_a_mistake_is_told_once(programs: Programs, tmp_path: Path) -> None:
    file = analysis(tmp_path)
    path = tmp_path / "signal.parquet"
    events = ak.from_parquet(path)
    events["event"] = np.ones(len(events), dtype=np.int64)  # all in one fold, as every rank finds
    ak.to_parquet(events, path)
    status, _, errors = programs.aot(file, "--out", tmp_path / "run", "--devices", 2).wait()
    assert (status, errors.count("\n")) == (1, 1), errors
    assert errors.startswith("aot: fold ")
    assert " event of class signal among " in errors
    assert not (tmp_path / "run").exists()

    path.unlink()  # as rank 0 alone finds
    tasks = programs.srun(file, "--out", tmp_path / "run")
    (status, output, errors), second = (task.wait() for task in tasks)
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("aot: processes.signal.files: no file matches ")
    assert second == (1, "", "")
    assert not (tmp_path / "run").exists()
