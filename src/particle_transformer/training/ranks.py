"""The processes that train one network together, each a rank.

They are started from outside, by torchrun or by SLURM's srun, or by `launch` on one machine; each
runs the same program. Rank 0 alone writes.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from particle_transformer.errors import OtherRankError, RankError
from particle_transformer.training.slurm import SLURMStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

__all__ = ["ALONE", "LAUNCHED", "Ranks", "gather_objects", "gathered", "joined", "started_as"]

Value = TypeVar("Value")

LAUNCHED = "aot"
"""What `launch` calls the job."""

_LONGEST_START = timedelta(minutes=30)  # until the last of the ranks is there
_LONGEST_WAIT = timedelta(hours=24)  # while rank 0 prepares the events
_LAUNCHER_ENDS_US = 10.0  # seconds, at the most, after it has seen that a rank is gone
_SPEAKER = "speaker"  # in the store: the rank that says what is wrong


class _GoneError(RankError):
    """Another rank is gone, and may not have said why."""


@dataclass(frozen=True)
class Ranks:
    """What this process is among those that train together.

    Attributes
    ----------
    rank, size
        Which one it is, of how many.
    nodes, per_node
        Machines they run on, and how many run on each.
    environment
        What started them; None where there is only one.
    launched
        Whether that was `launch`, which says itself what became of them.
    store
        What all of them can read and write, while they are joined.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1
    per_node: int = 1
    environment: ClusterEnvironment | None = None
    launched: bool = False
    store: Store | None = None

    def agreed(self, value: Value) -> Value:
        """Rank 0's `value`, small and pickled, in all ranks; each waits for all of them."""
        found: Value = gather_objects(value)[0]
        return found

    def check(self, gpus: int) -> None:
        """Check that the ranks can train together.

        Parameters
        ----------
        gpus
            How many this rank sees; without any it trains on CPUs.

        Raises
        ------
        RankError
            If they are not equally many on each machine, or more than the GPUs there.
        """
        if self.size != self.nodes * self.per_node:
            message = (
                f"{self.size} ranks on {self.nodes} machines, expected equally many on each; give "
                "srun --ntasks-per-node, or each torchrun the same --nproc-per-node"
            )
            raise RankError(message)
        if 0 < gpus < self.per_node:
            message = (
                f"{self.per_node} ranks on a machine, but they see {gpus} GPU, expected one for "
                "each; give fewer --devices, or ask SLURM for --gpus-per-node instead of "
                "--gpus-per-task"
            )
            raise RankError(message)

    @contextmanager
    def one_speaks(self) -> Iterator[None]:
        """Of several ranks that fail within the context, let one say why.

        The first one raises its own error, and the others `OtherRankError`.

        Raises
        ------
        RankError
            In rank 0, if another rank is gone and has not said why.
        OtherRankError
            If another rank says what is wrong.
        """
        try:
            with _others_needed():
                yield
        except _GoneError as error:
            if self.launched:
                time.sleep(_LAUNCHER_ENDS_US)  # and says why
            if self.rank or self._another_spoke(error):
                raise _told_elsewhere(error) from error
            raise
        except Exception as error:
            if self._another_spoke(error):
                raise _told_elsewhere(error) from error
            raise

    def _another_spoke(self, error: Exception) -> bool:
        """Whether another rank has said what is wrong; if not, this one does so by `error`."""
        if self.store is None or isinstance(error, OtherRankError):
            return False
        try:
            if isinstance(error, _GoneError):
                return bool(self.store.check([_SPEAKER]))
            own = str(self.rank)
            return bool(self.store.compare_set(_SPEAKER, "", own) != own.encode())
        except (distributed.DistError, RuntimeError):
            return True  # rank 0, which held the store, has ended


ALONE = Ranks()


def started_as() -> Ranks:
    """Find out from the environment variables which rank this process was started as."""
    if TorchElasticEnvironment.detect():
        elastic = TorchElasticEnvironment()
        size, local = elastic.world_size(), int(os.environ["LOCAL_WORLD_SIZE"])
        if size == 1:
            return ALONE
        launched = os.environ["TORCHELASTIC_RUN_ID"] == LAUNCHED
        return Ranks(elastic.global_rank(), size, -(-size // local), local, elastic, launched)
    if SLURMStep.detect():
        step = SLURMStep()
        size = step.world_size()
        return Ranks(step.global_rank(), size, step.nodes, size // step.nodes, step)
    return ALONE


_current: ContextVar[Ranks | None] = ContextVar("ranks", default=None)


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the other ranks, if there are any, for as long as the context lasts.

    If several ranks fail, only one raises its own error (`Ranks.one_speaks`). Such a context in
    another one is a part of it.

    Raises
    ------
    RankError
        If another rank is gone, the ranks are not equally many on each machine, or there are
        fewer GPUs than ranks.
    OtherRankError
        If another rank says what is wrong.
    """
    ranks = _current.get() or started_as()
    environment = ranks.environment
    if environment is None or distributed.is_initialized():
        yield ranks
        return
    if ranks.launched:
        _end_with_the_launcher()
    with ranks.one_speaks():
        ranks = replace(ranks, store=_meeting_place(ranks, environment))
    token = _current.set(ranks)
    try:
        with ranks.one_speaks():
            _meet(ranks, environment)
            yield ranks
    finally:
        _current.reset(token)
        if distributed.is_initialized():
            distributed.destroy_process_group()


_meetings = itertools.count()


def _meeting_place(ranks: Ranks, environment: ClusterEnvironment) -> Store:
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
    # What an earlier meeting has left there is not to be taken for this one's.
    return PrefixStore(f"aot{next(_meetings)}", _store(ranks.rank, ranks.size))


@cache
def _store(rank: int, size: int) -> Store:
    """What all ranks can read and write; it lives as long as torchrun, or rank 0 without it."""
    store: Store
    store, _, _ = next(rendezvous("env://", rank, size, timeout=_LONGEST_START))
    return store


def _meet(ranks: Ranks, environment: ClusterEnvironment) -> None:
    gpus = torch.cuda.device_count()
    ranks.check(gpus)
    device = None
    if gpus:
        device = torch.device("cuda", environment.local_rank())
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "gloo" if device is None else "nccl",
        store=ranks.store,
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=_LONGEST_WAIT,
        device_id=device,
    )


@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except (distributed.DistError, RuntimeError) as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error).lower():
            raise
        reason = str(error).partition("\n")[0]
        message = f"another rank of the training is gone ({reason}); go on with aot train --resume"
        raise _GoneError(message) from error


def _told_elsewhere(error: Exception) -> OtherRankError:
    return OtherRankError(f"another rank says what is wrong; here it was: {error}")


def _end_with_the_launcher() -> None:
    """Let nothing be left of a job whose launcher was killed."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


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
    counts = [torch.zeros(1, dtype=torch.int64, device=values.device) for _ in range(size)]
    distributed.all_gather(counts, torch.full_like(counts[rank], len(values)))
    longest = torch.zeros(
        (int(max(counts)), *values.shape[1:]), dtype=values.dtype, device=values.device
    )
    longest[: len(values)] = values.detach()
    parts = [torch.empty_like(longest) for _ in range(size)]
    distributed.all_gather(parts, longest)
    rows = [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
    # The value of the own rows, and `size` times their gradient.
    rows[rank] = size * values - (size - 1) * values.detach()
    return torch.cat(rows)
