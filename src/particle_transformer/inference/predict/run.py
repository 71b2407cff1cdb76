"""Score files: every entry of each, into an output folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.atomic import check_name, writing
from particle_transformer.config import load_analysis
from particle_transformer.data.belonging import Belonging
from particle_transformer.data.tasks import CHUNK_ENTRIES, ChunkTask, in_order
from particle_transformer.errors import InputFileError
from particle_transformer.inference.predict.copying import check_copy
from particle_transformer.inference.predict.jobs import Job, check_outputs, format_of, output_of
from particle_transformer.inference.predict.outputs import Outputs
from particle_transformer.inference.predict.parts import Parts
from particle_transformer.inference.predict.provenance import Recipe, read_provenance
from particle_transformer.inference.predict.work import ChunkScorer, FileLooker, ScoreOptions
from particle_transformer.locks import held

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from particle_transformer.data import Runner
    from particle_transformer.inference.entries import RunScorer
    from particle_transformer.inference.predict.jobs import Format

__all__ = ["Predicted", "predict"]


@dataclass(frozen=True)
class Predicted:
    """An output.

    Attributes
    ----------
    path
        The file.
    provenance
        What it says of itself; ``counts`` are those of `EntryScores`.
    made
        Whether it was made now; else it was there.
    """

    path: Path
    provenance: dict[str, Any]
    made: bool


def predict(
    run: Path,
    files: Sequence[str],
    out: Path,
    *,
    output_format: Format | None = None,
    process: str | None = None,
    era: str | None = None,
    options: ScoreOptions | None = None,
    runner: Runner = in_order,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Predicted]:
    """Score every entry of input files by the networks of a run, and write an output for each.

    An output that is there already, of the same input and run, is not made again. The chunks that
    were scored by a command that was interrupted or killed are taken up by the next.

    Parameters
    ----------
    run
        The run directory.
    files
        Paths or URLs of files of any format that the analysis can read.
    out
        Folder of the outputs, which have the names of the inputs.
    output_format
        ``friend``: a ROOT file with a tree `scores`, a row for each entry of the input;
        ``copy``: the input's trees with the scores as further branches; ``parquet``. None: a
        friend of ROOT files, Parquet of others.
    process, era
        What files are that the analysis file does not name.
    options
        How they are scored.
    runner
        Does the work: `in_order` in this process, or a cluster. It changes no score.
    progress
        Called with (what is being done, entries done, entries in all).

    Returns
    -------
    list of Predicted
        In the order of the files.

    Raises
    ------
    InputFileError
        If the run or an artefact is damaged, or a file is missing, damaged or lacks a branch.
        Where single chunks cannot be read, all other files are finished before.
    OutputError
        If an output cannot be written, something else is in its place, or another program is
        writing into the folder.
    """
    options = options or ScoreOptions()
    check_name(out)
    scorer = options.scorer(run)  # its own mistakes first
    jobs = _jobs(run, scorer, files, out, output_format, process, era, options)
    check_outputs(jobs)
    known = [read_provenance(job.output) for job in jobs]
    found = {
        number: there
        for number, (job, there) in enumerate(zip(jobs, known, strict=True))
        if there is not None and there["fingerprint"] == job.fingerprint
    }
    todo = [number for number in range(len(jobs)) if number not in found]
    if todo:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        with held(out, f"{out}: another aot predict is writing into it; wait for it"):
            made = _made(
                [jobs[number] for number in todo], FileLooker(run, options, scorer),
                ChunkScorer(run, options, scorer), Parts(out), runner, progress,
            )  # fmt: skip
        found |= dict(zip(todo, made, strict=True))
    return [Predicted(job.output, found[number], number in todo) for number, job in enumerate(jobs)]


def _jobs(
    run: Path,
    scorer: RunScorer,
    files: Sequence[str],
    out: Path,
    output_format: Format | None,
    process: str | None,
    era: str | None,
    options: ScoreOptions,
) -> list[Job]:
    folder = RunFolder(run)
    analysis = load_analysis(folder.analysis)
    belonging = Belonging(analysis, process, era)
    recipe = Recipe.of(folder, scorer.analysis, options)
    jobs = []
    for path in files:
        file = belonging(path)
        chosen = format_of(analysis, file, output_format)
        output, columns = output_of(out, file, chosen), scorer.columns(file)
        jobs.append(Job(file, output, chosen, columns, scorer.blinded(file), recipe))
    return jobs


def _made(
    jobs: list[Job],
    looker: FileLooker,
    chunks: ChunkScorer,
    parts: Parts,
    runner: Runner,
    progress: Callable[[str, int, int], None] | None,
) -> list[dict[str, Any]]:
    """Score files that are not finished, and write their outputs; what these say of themselves."""
    entries = _looked(jobs, looker, runner)
    for job in jobs:
        if job.output_format == "copy":
            check_copy(job.file, job.columns)
    tasks = [_tasks(job, number) for job, number in zip(jobs, entries, strict=True)]
    outputs = Outputs(jobs, tasks, parts, progress)
    outputs.write_complete()
    failed: list[InputFileError] = []
    try:
        for index, result in runner(chunks, [task for _, task in outputs.missing]):
            if isinstance(result, InputFileError):
                failed.append(result)
            else:
                outputs.put(*outputs.missing[index], result)
    finally:
        chunks.close()
    if failed:
        message = (
            f"{failed[0]} [{len(failed)} of {sum(map(len, tasks))} chunks could not be read; "
            f"{len(outputs.made)} of {len(jobs)} files are finished, and the scores of other "
            "chunks are kept: mend the file, and run again]"
        )
        raise InputFileError(message) from failed[0]
    parts.clear()
    return [outputs.made[number] for number in range(len(jobs))]


def _looked(jobs: list[Job], looker: FileLooker, runner: Runner) -> list[int]:
    """Look at every file first, for its entries: a mistake shows before hours of scoring."""
    found: dict[int, int] = {}
    errors: dict[int, InputFileError] = {}
    for index, result in runner(looker, [job.file for job in jobs]):
        if isinstance(result, InputFileError):
            errors[index] = result
        else:
            found[index] = result
    if errors:
        raise errors[min(errors)]
    return [found[number] for number in range(len(jobs))]


def _tasks(job: Job, entries: int) -> list[ChunkTask]:
    """The chunks of a file; one without entries has an empty one, of which the columns are known."""
    tasks = []
    for start in range(0, max(entries, 1), CHUNK_ENTRIES):
        stop = min(start + CHUNK_ENTRIES, entries)
        key = job.recipe.key(job.file, start, stop)
        tasks.append(ChunkTask(job.file, start, stop, entries, key))
    return tasks
