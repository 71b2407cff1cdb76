"""Score files: every entry of each, into an output folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.atomic import check_name, replacing, writing
from particle_transformer.config import load_analysis
from particle_transformer.data.belonging import Belonging
from particle_transformer.data.readers import guess_format
from particle_transformer.data.readers.remote import is_url
from particle_transformer.data.tasks import CHUNK_ENTRIES, ChunkTask, in_order
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.inference.predict.copying import check_copy, write_copy
from particle_transformer.inference.predict.parts import Parts
from particle_transformer.inference.predict.provenance import Recipe, read_provenance
from particle_transformer.inference.predict.work import ChunkScorer, FileLooker, ScoreOptions
from particle_transformer.inference.predict.writers import write_friend, write_parquet
from particle_transformer.locks import held

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.data import Runner
    from particle_transformer.data.files import InputFile
    from particle_transformer.inference.entries import RunScorer

__all__ = ["Predicted", "predict"]

FORMATS = ("friend", "copy", "parquet")


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


@dataclass(frozen=True)
class _Job:
    """One file to score."""

    file: InputFile
    output: Path
    fingerprint: str
    columns: list[str]


def predict(
    run: Path,
    files: Sequence[str],
    out: Path,
    *,
    output_format: str | None = None,
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
    whole = load_analysis(RunFolder(run).analysis)
    belonging = Belonging(whole, process, era)
    inputs = [belonging(path) for path in files]
    recipes = {name: Recipe.of(RunFolder(run), scorer.analysis, options, name) for name in FORMATS}
    chosen = [_format(whole, file, output_format) for file in inputs]
    jobs = [
        _Job(
            file,
            _output(out, file, name),
            recipes[name].fingerprint_of(file),
            scorer.columns(file),
        )
        for file, name in zip(inputs, chosen, strict=True)
    ]
    _check_outputs(jobs)
    found = [read_provenance(job.output) for job in jobs]
    todo = [
        index
        for index, (job, there) in enumerate(zip(jobs, found, strict=True))
        if there is None or there["fingerprint"] != job.fingerprint
    ]
    if todo:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        with held(out, f"{out}: another aot predict is writing into it; wait for it"):
            work = _Work(
                run, options, scorer, [jobs[n] for n in todo], [recipes[chosen[n]] for n in todo],
                Parts(out), runner, progress,
            )  # fmt: skip
            for index, provenance in zip(todo, work(), strict=True):
                found[index] = provenance
    return [
        Predicted(job.output, provenance or {}, index in todo)
        for index, (job, provenance) in enumerate(zip(jobs, found, strict=True))
    ]


class _Work:
    """Scores the files that are not finished; writes each when its last chunk is there."""

    def __init__(
        self,
        run: Path,
        options: ScoreOptions,
        scorer: RunScorer,
        jobs: list[_Job],
        recipes: list[Recipe],
        parts: Parts,
        runner: Runner,
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._for = run, options, scorer
        self._jobs, self._recipes = jobs, recipes
        self._parts, self._runner = parts, runner
        self._progress = progress

    def __call__(self) -> list[dict[str, Any]]:
        entries = self._looked()
        for job, recipe in zip(self._jobs, self._recipes, strict=True):
            if recipe.output_format == "copy":
                check_copy(job.file, job.columns)
        tasks = [
            (number, task)
            for number, (job, recipe) in enumerate(zip(self._jobs, self._recipes, strict=True))
            for task in _tasks(job.file, entries[number], recipe)
        ]
        missing = [pair for pair in tasks if not self._parts.has(pair[1].key)]
        self._keys = [
            [task.key for owner, task in tasks if owner == number]
            for number in range(len(self._jobs))
        ]
        waiting = Counter(owner for owner, _ in missing)
        self._total = 2 * sum(entries)  # scored, and written
        self._done = sum(entries) - sum(task.stop - task.start for _, task in missing)
        made = {n: self._written(n) for n in range(len(self._jobs)) if not waiting[n]}
        failed: list[InputFileError] = []
        scorer = ChunkScorer(*self._for)
        try:
            for index, result in self._runner(scorer, [task for _, task in missing]):
                owner, task = missing[index]
                if isinstance(result, InputFileError):
                    failed.append(result)
                    continue
                self._parts.put(task.key, result)
                self._advance("scoring", owner, task.stop - task.start)
                waiting[owner] -= 1
                if not waiting[owner]:
                    made[owner] = self._written(owner)
        finally:
            scorer.close()
        if failed:
            message = (
                f"{failed[0]} [{len(failed)} of {len(tasks)} chunks could not be read; "
                f"{len(made)} of {len(self._jobs)} files are finished, and the scores of other "
                "chunks are kept: mend the file, and run again]"
            )
            raise InputFileError(message) from failed[0]
        self._parts.clear()
        return [made[number] for number in range(len(self._jobs))]

    def _looked(self) -> list[int]:
        """Look at every file first: a mistake shows before hours of scoring."""
        found: dict[int, int] = {}
        looker = FileLooker(*self._for)
        errors: dict[int, InputFileError] = {}
        for index, result in self._runner(looker, [job.file for job in self._jobs]):
            if isinstance(result, InputFileError):
                errors[index] = result
            else:
                found[index] = result
        if errors:
            raise errors[min(errors)]
        return [found[number] for number in range(len(self._jobs))]

    def _written(self, number: int) -> dict[str, Any]:
        """Write the output of a file whose parts are all there."""
        job, recipe, keys = self._jobs[number], self._recipes[number], self._keys[number]
        counts = self._parts.counts(keys)
        columns = list(next(self._parts.tables(keys[:1])))
        provenance = recipe.provenance(job.file, counts, columns)
        provenance["blinded"] = self._for[2].blinded(job.file)

        def advance(rows: int) -> None:
            self._advance("writing", number, rows)

        with replacing(job.output) as partial:
            if recipe.output_format == "copy":
                provenance = write_copy(
                    partial, job.file, job.columns, self._parts, keys, provenance, advance
                )
            elif recipe.output_format == "friend":
                write_friend(partial, self._parts.tables(keys), provenance, parts=len(keys))
                advance(counts.entries)
            else:
                write_parquet(partial, self._parts.tables(keys), provenance)
                advance(counts.entries)
        self._parts.remove(keys)
        return provenance

    def _advance(self, what: str, number: int, entries: int) -> None:
        self._done += entries
        name = PurePath(self._jobs[number].file.path).name
        if self._progress is not None:
            self._progress(f"scoring ({what} {name})", self._done, self._total)


def _tasks(file: InputFile, entries: int, recipe: Recipe) -> list[ChunkTask]:
    """The chunks of a file; one without entries has an empty one, of which the columns are known."""
    tasks = []
    for start in range(0, max(entries, 1), CHUNK_ENTRIES):
        stop = min(start + CHUNK_ENTRIES, entries)
        tasks.append(ChunkTask(file, start, stop, entries, recipe.key(file, start, stop)))
    return tasks


def _format(analysis: Analysis, file: InputFile, wanted: str | None) -> str:
    """The format of a file's output."""
    is_root = (analysis.source.format or guess_format(file.path)) not in ("parquet", "hdf5")
    if wanted is None:
        return "friend" if is_root else "parquet"
    if wanted != "parquet" and not is_root:
        message = f"{file.path}: no ROOT file; --format {wanted} is for those, expected parquet"
        raise InputFileError(message)
    return wanted


def _output(out: Path, file: InputFile, output_format: str) -> Path:
    name = PurePath(urlsplit(file.path).path if is_url(file.path) else file.path).name
    if output_format == "parquet":
        return out / f"{PurePath(name).stem}.parquet"
    return out / name


def _check_outputs(jobs: list[_Job]) -> None:
    """Refuse two inputs with one output, and what must not be replaced."""
    owners: dict[Path, _Job] = {}
    for job in jobs:
        other = owners.setdefault(job.output, job)
        if other is not job:
            message = (
                f"{job.file.path} and {other.file.path} would both be written to {job.output}; "
                "score them into different folders"
            )
            raise OutputError(message)
        if str(job.output.resolve()) == job.file.path:
            message = f"{job.output}: is the input itself; give --out another folder"
            raise OutputError(message)
        if job.output.exists() and read_provenance(job.output) is None:
            message = (
                f"{job.output}: exists and was not written by aot predict; remove it, or give "
                "--out another folder"
            )
            raise OutputError(message)
