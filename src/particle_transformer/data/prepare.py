"""Prepare a store: read every input file in chunks, select, evaluate, write."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from particle_transformer._version import __version__
from particle_transformer.atomic import check_name
from particle_transformer.config import analysis_fingerprint
from particle_transformer.data.chunk import ChunkReader
from particle_transformer.data.duplicates import check_duplicates
from particle_transformer.data.files import InputFile, find_files, sha256_of
from particle_transformer.data.folder import StoreFolder, check_place, has_leftovers, locked
from particle_transformer.data.manifest import FORMAT_VERSION, FailedChunk
from particle_transformer.data.normalisation import check_stated
from particle_transformer.data.open_files import OpenFiles
from particle_transformer.data.scan import ScannedFile, Scanner
from particle_transformer.data.shard import shard_bytes
from particle_transformer.data.store import Store
from particle_transformer.data.summary import ReadChunk, make_manifest
from particle_transformer.data.tasks import CHUNK_ENTRIES, ChunkTask, Runner, in_order
from particle_transformer.errors import IncompleteStoreError, InputFileError
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.data.readers import Reader

__all__ = ["check_inputs", "prepare"]

CHECKED_ENTRIES = 100
"""Entries of each file that are evaluated before any file is read whole."""

CHUNK_SECTIONS = ("source", "objects", "event", "regions")
"""The sections that decide the content of every shard; more decide those of simulation."""


def prepare(
    analysis: Analysis,
    out: Path,
    *,
    unblind: bool = False,
    runner: Runner = in_order,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Prepare the events of an analysis for training and evaluation.

    Where `out` already holds the store that would be made, nothing is done. Else only the chunks
    whose input, selection or software has changed are read; the older store stays as it is until
    the new one is whole. The chunks finished by a preparation that was interrupted or killed are
    taken up by the next.

    Parameters
    ----------
    analysis
        The analysis file.
    out
        Folder of the store.
    unblind
        Read data in blind regions, too.
    runner
        Does the work: `in_order` in this process, or a cluster. It changes no byte of the store.
    progress
        Called with (what is being read, bytes of the input files read, bytes in all).

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputFileError
        If a file is missing, damaged, or lacks what the analysis file names.
    IncompleteStoreError
        If single chunks cannot be read: the others are kept, and the store, also where an older
        one was, is marked incomplete.
    SampleError
        If a process has no event left, a class has no positive total weight, a feature is NaN or
        infinite (with ``source.non_finite: error``), or an event is there twice.
    OutputError
        If `out` cannot be written, is something other than a store, or another program is
        writing it.
    """
    check_name(out)
    check_place(out)
    files = find_files(analysis)
    side_files = _side_files(analysis)
    fingerprint = _fingerprint(analysis, files, side_files, unblind=unblind)
    if _is_up_to_date(out, fingerprint):
        if has_leftovers(out):
            with locked(out) as folder:
                folder.remove_unused()
        return out
    with locked(out) as folder:
        scanned = _scan(analysis, files, runner, unblind=unblind)
        tasks = _tasks(analysis, scanned, side_files, unblind=unblind)
        chunks, failed = _read(analysis, tasks, folder, runner, unblind, progress)
        check_duplicates(analysis, chunks, folder.rows)
        manifest = make_manifest(
            analysis, scanned, chunks, failed, fingerprint=fingerprint, unblind=unblind
        )
        folder.commit(manifest.to_json(), None if failed else [task.key for task in tasks])
    if failed:
        raise _incomplete(out, failed, len(tasks))
    return out


def check_inputs(analysis: Analysis) -> list[tuple[InputFile, int]]:
    """Open every input file and evaluate the analysis file on its first entries.

    Every name is resolved and every expression, weight and identity evaluated, as `prepare` would,
    on at most `CHECKED_ENTRIES` entries of each file; nothing is written.

    Returns
    -------
    list of (file, entries)

    Raises
    ------
    InputFileError
        If a file is missing, damaged, or lacks what the analysis file names.
    AOTError
        If an expression cannot be evaluated.
    """
    _side_files(analysis)
    found = _scan(analysis, find_files(analysis), in_order, unblind=False)
    return [(scanned.file, scanned.entries) for scanned in found]


class ChunkMaker:
    """Makes the content of a chunk's shard, here or on another machine: a function that pickles.

    Chunks of one file that follow one another are read from one open file; each thread of a worker
    that has several opens its own.

    Parameters
    ----------
    analysis
        The analysis file.
    unblind
        Whether data in blind regions may be read.
    """

    def __init__(self, analysis: Analysis, *, unblind: bool) -> None:
        self._analysis = analysis
        self._unblind = unblind
        self._files: OpenFiles[ChunkReader] = OpenFiles(analysis)

    def __call__(self, task: ChunkTask) -> bytes:
        """The shard of one chunk.

        Raises
        ------
        InputFileError
            If the file cannot be read, or is no longer the one that was found.
        """
        with self._files.opened(task, self._reader) as chunks:
            return shard_bytes(chunks.read(task.start, task.stop), task.file)

    def close(self) -> None:
        """Close the files that are open."""
        self._files.close()

    def _reader(self, reader: Reader, file: InputFile) -> ChunkReader:
        return ChunkReader(reader, self._analysis, file, unblind=self._unblind)


def _side_files(analysis: Analysis) -> dict[str, str]:
    """SHA-256 of the luminosity masks and correction files."""
    return {path: sha256_of(Path(path)) for path in analysis.files_read}


def _fingerprint(
    analysis: Analysis, files: list[InputFile], side_files: dict[str, str], *, unblind: bool
) -> str:
    return _digest(
        analysis=analysis_fingerprint(analysis),
        momenta=analysis.model.pair_bias,
        files=[asdict(file) for file in files],
        side_files=side_files,
        unblind=unblind,
        version=__version__,
        format=FORMAT_VERSION,
        chunk=CHUNK_ENTRIES,
    )


def _digest(**content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_up_to_date(out: Path, fingerprint: str) -> bool:
    try:
        return Store(out).manifest.fingerprint == fingerprint
    except InputFileError:
        return False  # none, of another version, damaged or incomplete: to be made


def _scan(
    analysis: Analysis, files: list[InputFile], runner: Runner, *, unblind: bool
) -> list[ScannedFile]:
    """Look at every file first: a mistake shows before hours of reading."""
    scan = Scanner(analysis, unblind=unblind, first_entries=CHECKED_ENTRIES)
    found: dict[int, ScannedFile] = {}
    errors: dict[int, InputFileError] = {}
    for index, result in runner(scan, files):
        if isinstance(result, InputFileError):
            errors[index] = result
        else:
            found[index] = result
    if errors:
        first = errors[min(errors)]
        # Where every file lacks it, the mistake is in the analysis file.
        if len(errors) in (1, len(files)):
            raise first
        others = [files[index].path for index in sorted(errors)[1:]]
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        message = f"{first} (nor can these be read: {', '.join(others[:5])}{more})"
        raise InputFileError(message) from first
    check_stated(analysis, list(found.values()))
    return [found[index] for index in range(len(files))]


def _tasks(
    analysis: Analysis,
    scanned: list[ScannedFile],
    side_files: dict[str, str],
    *,
    unblind: bool,
) -> list[ChunkTask]:
    common = analysis_fingerprint(analysis, sections=CHUNK_SECTIONS)
    simulated = _digest(
        weights=analysis_fingerprint(analysis, sections=("weights",)),
        # Alternative samples have shards of their own.
        variations=[repr(varied) for varied in analysis.varied if not varied.files],
        corrections={path: side_files[path] for path in analysis.correction_files},
    )
    tasks = []
    for found in scanned:
        file, era = found.file, analysis.eras[found.file.era]
        is_data = analysis.class_of(file.process) == DATA
        mask = era.lumi_mask if is_data else None
        made_from = _digest(
            common=common,
            simulated=None if is_data else simulated,
            momenta=analysis.model.pair_bias,
            aliases=era.aliases,
            trigger=era.trigger,
            lumi_mask=None if mask is None else side_files[mask],
            file=asdict(file),
            unblind=is_data and unblind,
            version=__version__,
            format=FORMAT_VERSION,
        )
        # A file without entries still has a chunk: its columns and cuts are checked like others'.
        for start in range(0, max(found.entries, 1), CHUNK_ENTRIES):
            stop = min(start + CHUNK_ENTRIES, found.entries)
            key = _digest(made_from=made_from, start=start, stop=stop)[:32]
            tasks.append(ChunkTask(file, start, stop, found.entries, key))
    return tasks


def _read(
    analysis: Analysis,
    tasks: list[ChunkTask],
    folder: StoreFolder,
    runner: Runner,
    unblind: bool,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[list[ReadChunk], list[FailedChunk]]:
    """All chunks: those whose shards are there already, and those that are read now."""
    read: dict[int, ReadChunk] = {}
    for index, task in enumerate(tasks):
        if (found := folder.find(task.key)) is not None:
            read[index] = ReadChunk(task, *found)
    sizes = [_size(task) for task in tasks]
    total = sum(sizes)
    done = sum(sizes[index] for index in read)
    missing = [index for index in range(len(tasks)) if index not in read]
    failed: dict[int, FailedChunk] = {}
    maker = ChunkMaker(analysis, unblind=unblind)
    try:
        for number, result in runner(maker, [tasks[index] for index in missing]):
            index = missing[number]
            task = tasks[index]
            if isinstance(result, InputFileError):
                failed[index] = FailedChunk(task.file.path, task.start, task.stop, str(result))
            else:
                read[index] = ReadChunk(task, *folder.put(task.key, result))
            done += sizes[index]
            if progress is not None:
                progress(f"reading ({task.file.process})", done, total)
    finally:
        maker.close()
    return [read[index] for index in sorted(read)], [failed[index] for index in sorted(failed)]


def _size(task: ChunkTask) -> int:
    """The chunk's share of its file's bytes; the shares of all chunks add up."""
    if not task.entries:
        return task.file.size
    before, after = (task.file.size * entry // task.entries for entry in (task.start, task.stop))
    return after - before


def _incomplete(out: Path, failed: Sequence[FailedChunk], chunks: int) -> IncompleteStoreError:
    first = failed[0]
    message = (
        f"{first.error} [entries {first.start} to {first.stop}; {len(failed)} of {chunks} chunks "
        f"could not be read, the others are kept in {out}, which is marked incomplete; mend the "
        f"file and prepare again, or leave it out with exclude under its process]"
    )
    return IncompleteStoreError(message)
