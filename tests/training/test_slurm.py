"""What the variables of SLURM say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.errors import RankError
from particle_transformer.training.fit import fit_network
from particle_transformer.training.ranks import ALONE, started_as
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from particle_transformer.training.slurm import SLURMStep
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

# As srun sets them for the sixth task of eight, in a step on two of the job's machines.
TASK = {
    "SLURM_JOB_ID": "4242",
    "SLURM_JOB_NAME": "interactive",
    "SLURM_NTASKS": "8",
    "SLURM_NNODES": "3",
    "SLURM_NODELIST": "gpu[01,07-08]",
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.usefixtures("task")
def test_a_task_knows_its_place_in_the_step() -> None:
    ranks = started_as()
    assert (ranks.rank, ranks.size, ranks.nodes, ranks.per_node) == (5, 8, 2, 4)
    step = ranks.environment
    assert isinstance(step, SLURMStep)
    assert step.creates_processes_externally
    assert (step.local_rank(), step.node_rank(), step.main_address) == (1, 1, "gpu07")
    assert not ranks.launched


def test_address_and_port_of_the_environment_are_obeyed(task: pytest.MonkeyPatch) -> None:
    task.setenv("MASTER_ADDR", "192.0.2.7")
    task.setenv("MASTER_PORT", "1234")
    assert (SLURMStep().main_address, SLURMStep().main_port) == ("192.0.2.7", 1234)


@given(job=st.integers(1, 2**32), steps=st.lists(st.integers(0, 999), min_size=2, max_size=2))
def test_steps_of_a_job_meet_at_ports_of_their_own(job: int, steps: list[int]) -> None:
    ports = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MASTER_PORT", raising=False)
        for step in steps:
            for name, value in {
                **TASK,
                "SLURM_JOB_ID": str(job),
                "SLURM_STEP_ID": str(step),
            }.items():
                patch.setenv(name, value)
            ports.append(SLURMStep().main_port)
    assert all(20_000 <= port < 32_000 for port in ports)
    assert (ports[0] == ports[1]) == (steps[0] == steps[1])


@pytest.mark.parametrize("changed", [{"SLURM_STEP_NUM_TASKS": None}, {"SLURM_STEP_NUM_TASKS": "1"}])
def test_the_script_of_a_job_and_a_single_task_are_alone(
    task: pytest.MonkeyPatch, changed: dict[str, str | None]
) -> None:
    for name, value in changed.items():
        if value is None:
            task.delenv(name)
        else:
            task.setenv(name, value)
    assert started_as() is ALONE


def test_a_fit_in_the_script_of_a_job_is_one_of_a_single_process(
    task: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task.delenv("SLURM_STEP_NUM_TASKS")
    events, _ = toy_events(60)
    training, validation = (
        make_sample(events, np.arange(*rows), [0, 1], balance="none") for rows in ((40,), (40, 60))
    )
    fit = fit_network(
        toy_model(), training, validation, FitSettings(epochs=1),
        checkpoint_dir=tmp_path / "checkpoints", log_dir=tmp_path / "logs",
    )  # fmt: skip
    assert len(fit.history) == 1


def test_machines_with_different_numbers_of_tasks_are_refused(task: pytest.MonkeyPatch) -> None:
    started_as().check(0)
    task.setenv("SLURM_STEP_NUM_TASKS", "7")
    with pytest.raises(RankError, match=r"^7 ranks on 2 machines, expected equally many on each"):
        started_as().check(0)


@pytest.mark.usefixtures("task")
def test_each_rank_of_a_machine_needs_a_gpu_if_there_are_any() -> None:
    started_as().check(4)
    with pytest.raises(RankError, match=r"^4 ranks on a machine, but they see 1 GPU, .*per-node"):
        started_as().check(1)
