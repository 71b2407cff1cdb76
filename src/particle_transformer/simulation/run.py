"""A whole sample: which chunks, on how many processes, into which files."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing
from particle_transformer.errors import OutputError, SampleError, require
from particle_transformer.simulation.analyses import HEADLINE, analysis_files
from particle_transformer.simulation.chunks import check_settings, found_chunks, has_settings
from particle_transformer.simulation.describe import sample_description, sample_settings
from particle_transformer.simulation.plan import Plan
from particle_transformer.simulation.samples import find_sample
from particle_transformer.simulation.workers import run_tasks
from particle_transformer.simulation.write import (
    joined_columns,
    write_parquet,
    write_root,
)
from particle_transformer.workers import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from particle_transformer.simulation.processes import Process
    from particle_transformer.simulation.samples import Sample
    from particle_transformer.simulation.summary import ChunkSummary, ProcessSummary

__all__ = ["CHUNK_EVENTS", "simulate"]

CHUNK_EVENTS = 1000
"""Events generated per chunk: some ten seconds on one core."""

_WORK = ".chunks"
_PIECE_EVENTS = 50_000  # events in memory while the files are written: some 30 MB


def simulate(
    out: Path,
    *,
    events: int,
    sample: str = "ttH",
    seed: int = 1,
    workers: int | None = None,
    processes: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    chunk_events: int = CHUNK_EVENTS,
) -> Path:
    """Simulate signals with missing momentum and their backgrounds in collisions at 13.6 TeV.

    Each process is generated in chunks of fixed size, from the first on, until at least `events`
    of its events have MET_pt > 180 GeV; those are written, all of them. The events depend on
    `sample`, `seed`, `events` and `chunk_events` only: any number of workers gives byte-identical
    Parquet and bit-identical ROOT columns. A simulation that was killed or interrupted goes on from
    its finished chunks when it is asked for again, and ends with the same files.

    Parameters
    ----------
    out
        A folder that does not exist, is empty, or holds an unfinished simulation with the same
        settings. It gets ``<process>.root``, ``<process>.parquet``, ``simulation.json`` and the
        sample's analysis files, all whole or, if something fails, none; finished chunks stay in
        its folder ``.chunks`` until then.
    events
        Least number of events to keep per process; a process with another of `Sample.shares` than
        1 gets that part of it.
    sample
        A name in `SAMPLES`.
    seed
        At least 0.
    workers
        Number of processes; None for one per available core. More than one needs, as always in
        Python, a calling script that does its work below ``if __name__ == "__main__":``.
    processes
        Names of the sample's processes; None for all of them.
    progress
        Called with a process, how many of its events are there, and how many are wanted.
    chunk_events
        Events generated per chunk.

    Returns
    -------
    pathlib.Path
        The headline's analysis file.

    Raises
    ------
    SampleError
        If an argument is out of range, a sample or process is unknown, or generating fails.
    OutputError
        If `out` holds something else already or cannot be written.
    MissingExtraError
        If Pythia or FastJet is not installed.
    """
    workers = available_cores() if workers is None else workers
    for name, value, least in (
        ("events", events, 1),
        ("workers", workers, 1),
        ("chunk_events", chunk_events, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            message = f"{name} is {value}; expected at least {least}"
            raise SampleError(message)
    chosen = find_sample(sample)
    selected = chosen.find(processes)
    require("pythia8mc", "sim")
    require("fastjet", "sim")
    plan = Plan(chosen, selected, events, chunk_events, seed)
    settings = sample_settings(chosen, selected, seed, chunk_events)
    created = not out.exists()
    work = _open_output(out, _file_names(chosen, selected))
    try:
        check_settings(work, settings)

        def finished(summary: ChunkSummary) -> None:
            plan.add(summary)
            if progress is not None:
                wanted = plan.wanted(summary.process)
                progress(summary.process, min(plan.kept(summary.process), wanted), wanted)

        for summary in found_chunks(work):
            finished(summary)
        run_tasks(plan.next_task, finished, work, workers)
        return _assemble(out, work, chosen, settings, plan.summaries())
    finally:
        # What is unfinished can go on, unless there is nothing to go on from.
        if (out / HEADLINE).exists() or next(found_chunks(work), None) is None:
            shutil.rmtree(work, ignore_errors=True)
        if created and not any(out.iterdir()):
            out.rmdir()


def _file_names(sample: Sample, processes: Sequence[Process]) -> set[str]:
    """Every file that a simulation may write."""
    events = {f"{process.name}.{kind}" for process in processes for kind in ("root", "parquet")}
    return events | {"simulation.json"} | {analysis.file for analysis in sample.analyses}


def _open_output(out: Path, own: set[str]) -> Path:
    """Make the output and work folders; returns the latter."""
    work = out / _WORK
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in out.iterdir()} - {_WORK}
        # Killed while its files took their names: they do so again.
        if has_settings(work) and HEADLINE not in found:
            found -= own
        if found:
            message = (
                f"{out} is not empty ({min(found)}{', …' if len(found) > 1 else ''}); "
                f"expected a new or empty folder, so that nothing is overwritten"
            )
            raise OutputError(message)
        if next(found_chunks(work), None) is None:
            shutil.rmtree(work, ignore_errors=True)  # nothing to go on from
        work.mkdir(exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{out} cannot be written: {reason}"
        raise OutputError(message) from error
    return work


def _assemble(
    out: Path,
    work: Path,
    sample: Sample,
    settings: Mapping[str, Any],
    summaries: Mapping[str, ProcessSummary],
) -> Path:
    """Join the chunks in the work folder, then move all files to their names at once."""
    files: list[Path] = []
    for name, summary in summaries.items():
        paths = [chunk.path for chunk in summary.chunks]
        runs = {
            "run": 1,
            "genEventCount": summary.generated,
            "genEventSumw": summary.sum_of_weights,
        }
        files += [work / f"{name}.root", work / f"{name}.parquet"]
        write_root(files[-2], joined_columns(paths, _PIECE_EVENTS), runs)
        write_parquet(files[-1], joined_columns(paths, _PIECE_EVENTS), runs)
    texts = {"simulation.json": sample_description(settings, summaries)}
    texts |= analysis_files(sample, summaries)
    for name in sorted(texts, key=lambda name: name == HEADLINE):
        with replacing(work / name) as temporary:
            temporary.write_text(texts[name], encoding="utf-8")
        files.append(work / name)
    # The headline's analysis file comes last: where it is, everything is.
    for path in files:
        path.replace(out / path.name)
    return out / HEADLINE
