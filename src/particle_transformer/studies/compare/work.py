"""Training what is missing, here or in several processes."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import SampleError
from particle_transformer.studies.compare.events import ComparedEvents
from particle_transformer.studies.compare.methods import METHODS
from particle_transformer.studies.compare.trained import Place, fingerprint
from particle_transformer.workers import available_cores, run_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from particle_transformer.studies.compare.method import Trained

__all__ = ["MARK", "train_all"]

MARK = "compare.yaml"
"""The resolved analysis, in the comparison's folder."""


@dataclass(frozen=True)
class _Job:
    """One classifier."""

    method: str
    seed: int
    fold: int

    def __str__(self) -> str:
        return f"{self.method}, seed {self.seed}, fold {self.fold}"


def train_all(
    compared: ComparedEvents,
    out: Path,
    store: Path,
    chosen: Sequence[str],
    seeds: Mapping[str, int],
    workers: int,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, list[list[Trained]]]:
    """By method: the outcome of each seed and fold; what is missing is trained.

    Parameters
    ----------
    compared, store
        The events, and the store that they are in.
    out
        The comparison's folder, with `MARK` in it.
    chosen, seeds
        Methods, and by method how many classifiers for every fold.
    workers
        Processes; 1 trains in this one. Each gets its share of this machine's cores.
    progress
        As for `particle_transformer.studies.compare.compare`.

    Raises
    ------
    SampleError
        If a process dies.
    """
    # Seed by seed: whoever stops early has something of every method.
    jobs = [
        _Job(name, seed, fold.fold)
        for seed in range(max(seeds.values()))
        for name in chosen
        if seed < seeds[name]
        for fold in compared.folds
    ]
    missing = [job for job in jobs if place_of(compared, out, job).read() is None]
    done = len(jobs) - len(missing)

    def report(state: str) -> None:
        if progress is not None:
            progress(f"training ({state})", done, len(jobs))

    def finished(job: _Job) -> None:
        nonlocal done
        done += 1
        report(f"last {job}")

    if workers == 1:
        for job in missing:
            report(f"{job}, begun")
            _train(compared, out, job, partial(_report_epoch, report, job))
            finished(job)
    elif missing:
        report(f"{workers} processes")
        rest = iter(missing)
        work = partial(_train_there, out, store, max(1, available_cores() // workers))
        try:
            run_in_processes(work, lambda: next(rest, None), finished, workers)
        except BrokenProcessPool as error:
            message = "a training process ended unexpectedly (killed, or out of memory?); what was "
            message += (
                "trained is kept: run again to go on, with fewer --workers where memory is short"
            )
            raise SampleError(message) from error
    if progress is not None:
        progress("training", len(jobs), len(jobs))
    found: dict[str, list[list[Trained]]] = {
        name: [[] for _ in range(seeds[name])] for name in chosen
    }
    for job in jobs:
        place = place_of(compared, out, job)
        kept = place.read()
        if kept is None:
            message = f"{place.file}: gone while the comparison ran; run again to train it"
            raise SampleError(message)
        found[job.method][job.seed].append(kept)
    return found


def place_of(compared: ComparedEvents, out: Path, job: _Job) -> Place:
    """Where a classifier's outcome is kept."""
    key = fingerprint(compared.analysis, compared.digest, job.method)
    return Place(out, job.method, key, job.fold, job.seed)


def _train(compared: ComparedEvents, out: Path, job: _Job, report: Callable[[str], None]) -> None:
    place = place_of(compared, out, job)
    fold = compared.folds[job.fold]
    place.scratch.mkdir(parents=True, exist_ok=True)
    outcome = METHODS[job.method].train(compared, fold, job.seed, place.scratch, report)
    place.write(outcome)


def _report_epoch(report: Callable[[str], None], job: _Job, more: str) -> None:
    report(f"{job}, {more}")


def _train_there(out: Path, store: Path, threads: int, job: _Job) -> _Job:
    """Do a job in a process of its own, which keeps the events for the next one."""
    torch.set_num_threads(threads)
    _train(_events(out, store), out, job, lambda _: None)
    return job


@cache
def _events(out: Path, store: Path) -> ComparedEvents:
    return ComparedEvents.of(load_analysis(out / MARK), Store(store))
