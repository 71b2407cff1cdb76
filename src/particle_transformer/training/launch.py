"""Start several ranks on this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from particle_transformer.errors import RankError
from particle_transformer.training.ranks import LAUNCHED

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["launch"]

_PATIENCE = 10  # seconds that the others have to end when one rank has


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
        If a rank is killed; the others are ended then.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; the ranks are ended.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):  # some have levels of their own
            logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=LAUNCHED,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        shutdown_timeout=_PATIENCE,
        # Ranks are ended by SIGTERM, also after Ctrl-C: they have nothing to say then.
        signals_to_handle="SIGTERM",
    )
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException as error:
        raise KeyboardInterrupt from error
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        # A rank that sees another one killed waits to be ended, and says nothing.
        spoken = [code for code in codes.values() if code > 0]
        if spoken:
            return spoken[0]
        rank, code = next(iter(codes.items()))  # the first to end
        message = (
            f"rank {rank} of {processes} was killed by {signal.Signals(-code).name}, the others "
            "were ended; the last checkpoint is kept: go on with aot train --resume"
        )
        raise RankError(message) from error
    return 0
