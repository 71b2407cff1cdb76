"""A whole sample: which chunks, on how many processes, into which files."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.atomic import replacing
from particle_transformer.errors import OutputError, SampleError, require
from particle_transformer.simulation.describe import analysis_file, sample_description
from particle_transformer.simulation.plan import Plan
from particle_transformer.simulation.processes import find_processes
from particle_transformer.simulation.workers import run_tasks
from particle_transformer.simulation.write import (
    load_columns,
    write_parquet,
    write_root,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from particle_transformer.simulation.generate import ChunkTask
    from particle_transformer.simulation.summary import ChunkSummary, ProcessSummary

__all__ = ["CHUNK_EVENTS", "simulate"]

CHUNK_EVENTS = 1000
"""Events generated per chunk: some ten seconds on one core."""

_WORK = ".chunks"


def simulate(
    out: Path,
    *,
    events: int,
    seed: int = 1,
    workers: int | None = None,
    processes: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    chunk_events: int = CHUNK_EVENTS,
) -> Path:
    """Simulate tt̄H(→invisible) and its backgrounds in proton collisions at 13.6 TeV.

    Each process is generated in chunks of fixed size, from the first on, until at least `events`
    of its events have MET_pt > 180 GeV; those are written, all of them. The events depend on
    `seed`, `events` and `chunk_events` only: any number of workers gives byte-identical Parquet
    and bit-identical ROOT columns.

    Parameters
    ----------
    out
        A folder that does not exist or is empty. It gets ``<process>.root``,
        ``<process>.parquet``, ``simulation.json`` and ``analysis.yaml``, all whole or, if
        something fails, none.
    events
        Least number of events to keep per process.
    seed
        At least 0.
    workers
        Number of processes; None for one per available core. More than one needs, as always in
        Python, a calling script that does its work below ``if __name__ == "__main__":``.
    processes
        Names in `PROCESSES`; None for all of them.
    progress
        Called with a process, how many of its events are there, and how many are wanted.
    chunk_events
        Events generated per chunk.

    Returns
    -------
    pathlib.Path
        The analysis file.

    Raises
    ------
    SampleError
        If an argument is out of range, a process is unknown, or generating fails.
    OutputError
        If `out` holds something already or cannot be written.
    MissingExtraError
        If Pythia or FastJet is not installed.
    """
    workers = _available_cores() if workers is None else workers
    for name, value, least in (
        ("events", events, 1),
        ("workers", workers, 1),
        ("chunk_events", chunk_events, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            message = f"{name} is {value}; expected at least {least}"
            raise SampleError(message)
    chosen = find_processes(None if processes is None else list(processes))
    require("pythia8mc", "sim")
    require("fastjet", "sim")
    plan = Plan(chosen, events, chunk_events, seed)
    created = not out.exists()
    work = _open_output(out)
    try:

        def finished(summary: ChunkSummary) -> None:
            plan.add(summary)
            if progress is not None:
                progress(summary.process, min(plan.kept(summary.process), events), events)

        run_tasks(plan.next_task, finished, work, workers)
        return _assemble(out, work, plan.task(chosen[0].name, 0), plan.summaries())
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if created and not any(out.iterdir()):
            out.rmdir()


def _open_output(out: Path) -> Path:
    """Make the output and work folders; returns the latter."""
    work = out / _WORK
    try:
        out.mkdir(parents=True, exist_ok=True)
        # A work folder is what a killed run leaves: it holds nothing that anybody asked for.
        found = sorted(path.name for path in out.iterdir() if path.name != _WORK)
        if found:
            message = (
                f"{out} is not empty ({found[0]}{', …' if len(found) > 1 else ''}); "
                f"expected a new or empty folder, so that nothing is overwritten"
            )
            raise OutputError(message)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{out} cannot be written: {reason}"
        raise OutputError(message) from error
    return work


def _assemble(out: Path, work: Path, task: ChunkTask, summaries: dict[str, ProcessSummary]) -> Path:
    """Join the chunks in the work folder, then move all files to their names at once."""
    files: list[Path] = []
    for name, summary in summaries.items():
        parts = [load_columns(chunk.path) for chunk in summary.chunks]
        columns = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
        runs = {
            "run": 1,
            "genEventCount": summary.generated,
            "genEventSumw": summary.sum_of_weights,
        }
        files += [work / f"{name}.root", work / f"{name}.parquet"]
        write_root(files[-2], columns, runs)
        write_parquet(files[-1], columns, runs)
    texts = {
        "simulation.json": sample_description(task, task.events, summaries),
        "analysis.yaml": analysis_file(summaries),
    }
    for name, text in texts.items():
        with replacing(work / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        files.append(work / name)
    # The analysis file comes last: where it is, everything is.
    for path in files:
        path.replace(out / path.name)
    return out / "analysis.yaml"


def _available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
