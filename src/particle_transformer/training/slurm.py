"""A step of a SLURM job: what srun starts."""

from __future__ import annotations

import os

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

__all__ = ["SLURMStep"]

_PORTS = 20_000, 12_000  # first, and how many; those above are handed out by the system


class SLURMStep(ClusterEnvironment):
    """The tasks of this step, one of which this process is.

    Lightning's own environment goes by the variables of the job, of which the step may be a part,
    and refuses tasks whose number per machine is not given on the command line.

    ``MASTER_ADDR`` and ``MASTER_PORT`` are obeyed where they are set.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """True: srun has started all of them."""
        return True

    @property
    def main_address(self) -> str:
        """The machine of rank 0."""
        machines = os.environ["SLURM_STEP_NODELIST"]
        return os.environ.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(machines)

    @property
    def main_port(self) -> int:
        """A port that depends on job and step, so that those beside each other do not meet."""
        first, number = _PORTS
        step = 37 * int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.get("MASTER_PORT") or first + step % number)

    @staticmethod
    def detect() -> bool:
        """Whether this process is one of several tasks of a step."""
        # A job's own script has SLURM_NTASKS, too, but is no step.
        return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1

    @property
    def nodes(self) -> int:
        """Machines of the step."""
        return int(os.environ["SLURM_STEP_NUM_NODES"])

    def world_size(self) -> int:
        """Tasks of the step."""
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def set_world_size(self, size: int) -> None:
        """Do nothing: srun has set it."""

    def global_rank(self) -> int:
        """Which of all tasks this is."""
        return int(os.environ["SLURM_PROCID"])

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: srun has set it."""

    def local_rank(self) -> int:
        """Which of this machine's tasks this is."""
        return int(os.environ["SLURM_LOCALID"])

    def node_rank(self) -> int:
        """Which of the step's machines this is."""
        return int(os.environ["SLURM_NODEID"])
