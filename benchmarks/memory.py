"""Peak memory of preparing and of training on a sample that is larger than the memory it may take.

Writes uncompressed ROOT files of `--gigabytes` in all, piece by piece; then `prepare` and `train`
run, each in a process of its own. Printed is the largest resident size after the imports, less the
resident size right after them (`VmHWM`, `VmRSS` of Linux), and the part of it that is no mapped file
(`RssAnon`, looked at every 20 ms): pages of the mapped store count as resident, but the system takes
them back when it needs them.

Training is the whole of `train` with two folds: every pass over the store, both networks, one epoch
each. Only its steps are limited, to `--steps` per network and as many of validation; an epoch's order
and its batches are those of the whole sample.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from lightning.pytorch import Trainer
from sample import write_sample

from particle_transformer.config import load_analysis
from particle_transformer.data import prepare
from particle_transformer.training import fit
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = Path("/proc/self/status")
GOAL = 1e9  # bytes


@dataclass(frozen=True)
class Peak:
    """Bytes above those after the imports, and seconds."""

    resident: int
    anonymous: int
    imports: int
    seconds: float


def prepare_sample(folder: Path) -> None:
    """Prepare the store."""
    prepare(load_analysis(folder / "analysis.yaml"), folder / "store")


def train_sample(folder: Path, steps: int) -> None:
    """Train on the store."""
    limited = partial(Trainer, limit_train_batches=steps, limit_val_batches=steps)
    with mock.patch.object(fit, "Trainer", limited):
        train(load_analysis(folder / "training.yaml"), folder / "run", store=folder / "store")


def peak_of(work: Callable[[], None]) -> Peak:
    """Do the work and say how much memory it took; for a process that did nothing else."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = _status()
    anonymous = [before["RssAnon"]]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            anonymous.append(_status()["RssAnon"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return Peak(
        resident=_status()["VmHWM"] - before["VmRSS"],
        anonymous=max(anonymous) - before["RssAnon"],
        imports=before["VmRSS"],
        seconds=time.perf_counter() - started,
    )


def _status() -> dict[str, int]:
    """The process's memory in bytes, by the kernel's names."""
    fields = (line.split() for line in STATUS.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in fields if words[-1] == "kB"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=10, help="of ROOT files")
    parser.add_argument("--steps", type=int, default=200, help="training steps per network")
    parser.add_argument("--folder", type=Path, help="where the files go for the time being")
    options = parser.parse_args()
    if not STATUS.exists():
        sys.exit("this benchmark reads /proc/self/status, which only Linux has")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        started = time.perf_counter()
        sample = write_sample(folder, compression="none", size=options.gigabytes * 1e9)
        training = "training: {folds: 2, epochs: 1}\n"
        (folder / "training.yaml").write_text(sample.analysis.read_text() + training)
        print(
            f"{sample.bytes / 1e9:.2f} GB of ROOT files, written in "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
        stages = {
            "prepare": partial(prepare_sample, folder),
            "train": partial(train_sample, folder, options.steps),
        }
        for stage, work in stages.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                peak = process.submit(peak_of, work).result()
            print(
                f"  {stage:8s} {peak.resident / 1e6:7,.0f} MB above the {peak.imports / 1e6:,.0f} MB "
                f"after the imports, {peak.anonymous / 1e6:,.0f} MB of it anonymous; "
                f"{peak.seconds:.0f} s; goal of {GOAL / 1e6:,.0f} MB "
                f"{'met' if peak.resident <= GOAL else 'missed'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
