"""The processes that train one network together, each a rank.

They are started from outside, by torchrun or by SLURM's srun, or by `launch` on one machine; each
runs the same program. Rank 0 alone writes.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from particle_transformer.errors import RankError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from torch import Tensor

__all__ = ["ALONE", "Ranks", "gather_objects", "gathered", "joined", "launch", "started_as"]

_LONGEST_WAIT = timedelta(hours=24)  # while rank 0 prepares the events


@dataclass(frozen=True)
class Ranks:
    """What this process is among those that train together.

    Attributes
    ----------
    rank, size
        Which one it is, of how many.
    nodes
        Machines they run on, with equally many each.
    environment
        What started them; None where there is only one.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1
    environment: ClusterEnvironment | None = None

    def wait(self) -> None:
        """Wait until every rank has come here.

        Raises
        ------
        RankError
            If another has gone.
        """
        if self.size > 1:
            with _others_needed():
                distributed.barrier()


ALONE = Ranks()


def started_as() -> Ranks:
    """Find out from the environment variables which rank this process was started as."""
    # SLURM_NTASKS is that of the job: a script of the job that is no step of it has it too.
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    environment: ClusterEnvironment
    if TorchElasticEnvironment.detect():
        environment = TorchElasticEnvironment()
        local = int(os.environ["LOCAL_WORLD_SIZE"])
    elif tasks > 1:
        environment = SLURMEnvironment(auto_requeue=False)
        local = tasks // int(os.environ["SLURM_STEP_NUM_NODES"])
    else:
        return ALONE
    size = environment.world_size()
    if size == 1:
        return ALONE
    return Ranks(environment.global_rank(), size, size // local, environment)


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the other ranks, if there are any, for as long as the context lasts.

    Raises
    ------
    RankError
        If one of them goes.
    """
    ranks = started_as()
    if ranks.environment is None:
        yield ranks
        return
    os.environ["MASTER_ADDR"] = ranks.environment.main_address
    os.environ["MASTER_PORT"] = str(ranks.environment.main_port)
    with _others_needed():
        distributed.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo",
            rank=ranks.rank,
            world_size=ranks.size,
            timeout=_LONGEST_WAIT,
        )
    try:
        with _others_needed():
            yield ranks
    finally:
        distributed.destroy_process_group()


@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except (distributed.DistError, RuntimeError) as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error).lower():
            raise
        reason = str(error).partition("\n")[0]
        message = (
            f"another rank of the training has gone ({reason}); see its own message, and go on "
            "with aot train --resume"
        )
        raise RankError(message) from error


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks, in their order; small ones, that can be pickled."""
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def gathered(values: Tensor) -> Tensor:
    """Rows of all ranks, in their order; the gradient reaches this rank's own.

    A rank's gradient is that of the whole, multiplied by the number of ranks, over which DDP
    takes the mean.

    Parameters
    ----------
    values
        (rows, …): as many rows as this rank has.
    """
    if not distributed.is_initialized():
        return values
    size, rank = distributed.get_world_size(), distributed.get_rank()
    counts = [int(count) for count in gather_objects(len(values))]
    longest = torch.zeros(
        (max(counts), *values.shape[1:]), dtype=values.dtype, device=values.device
    )
    longest[: len(values)] = values.detach()
    parts = [torch.empty_like(longest) for _ in range(size)]
    distributed.all_gather(parts, longest)
    rows = [part[:count] for part, count in zip(parts, counts, strict=True)]
    # The value of the own rows, and `size` times their gradient.
    rows[rank] = size * values - (size - 1) * values.detach()
    return torch.cat(rows)


def launch(command: Sequence[str], processes: int) -> int:
    """Run this Python with `command` as several ranks on this machine, until all have ended.

    Parameters
    ----------
    command
        Arguments of the Python interpreter.
    processes
        How many ranks.

    Returns
    -------
    int
        Exit status of the rank that failed first and has said why; 0 if none has.

    Raises
    ------
    RankError
        If a rank is killed; the others are stopped then.
    KeyboardInterrupt
        If the ranks were interrupted.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="aot",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException as error:
        raise KeyboardInterrupt from error
    except ChildFailedError as error:
        failures = error.failures
        for rank, failure in failures.items():
            if failure.exitcode < 0:
                killer = signal.Signals(-failure.exitcode).name
                message = (
                    f"rank {rank} of {processes} was killed by {killer}, the others were stopped; "
                    "the last checkpoint is kept: go on with aot train --resume"
                )
                raise RankError(message) from error
        _, first = error.get_first_failure()
        return int(first.exitcode)
    return 0
