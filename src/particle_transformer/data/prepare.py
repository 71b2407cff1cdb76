"""Prepare a store: read every input file in chunks, select, evaluate, write."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer._version import __version__
from particle_transformer.config import DATA, analysis_fingerprint, dump_analysis
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.data.cutflow import Cutflow
from particle_transformer.data.files import InputFile, find_files
from particle_transformer.data.manifest import (
    FORMAT_VERSION,
    NAME,
    CutflowRow,
    InputRecord,
    Manifest,
)
from particle_transformer.data.normalisation import generated_sum, normalisation
from particle_transformer.data.partial import check_name, partial_beside
from particle_transformer.data.readers import open_reader
from particle_transformer.data.store import SHARDS, Store, write_shard
from particle_transformer.errors import InputFileError, OutputError, SampleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.config import Analysis

__all__ = ["CHUNK_ENTRIES", "check_inputs", "prepare"]

CHUNK_ENTRIES = 100_000
"""Entries read at once: large enough for numpy's speed, small enough for memory."""

CHECKED_ENTRIES = 100
"""Entries of each file that `check_inputs` evaluates."""


def prepare(
    analysis: Analysis,
    out: Path,
    *,
    unblind: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Prepare the events of an analysis for training and evaluation.

    The store is assembled beside `out` and moved there when it is complete. Where `out` already
    holds the store that would be made, nothing is done; an older store is replaced.

    Parameters
    ----------
    analysis
        The analysis file.
    out
        Folder of the store.
    unblind
        Read data in blind regions, too.
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
    SampleError
        If a process has no event left, a class has no positive total weight, or a feature is NaN
        or infinite (with ``source.non_finite: error``).
    OutputError
        If `out` cannot be written, or is something other than a store.
    """
    check_name(out)
    files = find_files(analysis)
    fingerprint = _fingerprint(analysis, files, unblind=unblind)
    if _is_up_to_date(out, fingerprint):
        return out
    with partial_beside(out) as partial:
        new = partial / "new"
        (new / SHARDS).mkdir(parents=True)
        manifest = _Preparation(analysis, files, new, unblind, progress).run(fingerprint)
        (new / NAME).write_text(manifest.to_json())
        _replace(new, out, fingerprint)
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
    found = []
    for file in find_files(analysis):
        with open_reader(file.path, file_format=analysis.source.format, tree=file.tree) as reader:
            chunks = ChunkReader(reader, analysis, file, process=0, era=0, unblind=False)
            chunks.read(0, min(reader.entries, CHECKED_ENTRIES))
            found.append((file, reader.entries))
    return found


def _fingerprint(analysis: Analysis, files: list[InputFile], *, unblind: bool) -> str:
    content = {
        "analysis": analysis_fingerprint(analysis),
        "momenta": analysis.model.pair_bias,
        "files": [asdict(file) for file in files],
        "unblind": unblind,
        "version": __version__,
        "format": FORMAT_VERSION,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_up_to_date(out: Path, fingerprint: str) -> bool:
    if not out.exists():
        return False
    if not out.is_dir():
        message = f"{out}: exists and is not a folder; give --out another place"
        raise OutputError(message)
    if not any(out.iterdir()):
        return False
    # Only a folder with exactly a store's content is replaced: nobody else's file is deleted.
    content = {path.name for path in out.iterdir()}
    if content != {NAME, SHARDS}:
        other = sorted(content - {NAME, SHARDS})
        found = f"it holds {other[0]}" if other else f"no {NAME}"
        message = f"{out}: exists and is not a prepared store ({found}); give --out another place"
        raise OutputError(message)
    try:
        manifest = Store(out).manifest
    except InputFileError:
        return False  # of another version or damaged: ours to replace
    return manifest.fingerprint == fingerprint


def _replace(new: Path, out: Path, fingerprint: str) -> None:
    """Put the folder `new` in the place of `out`, which stays if that fails.

    Where another program has put the same store there in the meantime, that one stays.
    """
    if _is_up_to_date(out, fingerprint):
        return
    old = new.with_name("old")
    try:
        if out.exists():
            out.replace(old)
        new.replace(out)
    except BaseException as error:
        if isinstance(error, OSError) and _is_up_to_date(out, fingerprint):
            return
        if old.exists() and not out.exists():
            old.replace(out)
        raise


class _Preparation:
    """The running sums of one preparation."""

    def __init__(
        self,
        analysis: Analysis,
        files: list[InputFile],
        folder: Path,
        unblind: bool,
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._analysis = analysis
        self._files = files
        self._folder = folder
        self._unblind = unblind
        self._progress = progress
        self._processes = list(analysis.processes)
        self._eras = list(analysis.eras)
        self._inputs: list[InputRecord] = []
        self._stated: list[bool] = []
        self._shards: list[dict[str, str | int]] = []
        self._cutflows: defaultdict[tuple[str, str], Cutflow] = defaultdict(Cutflow)
        self._truncated: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._non_finite: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def run(self, fingerprint: str) -> Manifest:
        for index, file in enumerate(self._files):
            self._read(index, file)
            if index + 1 == len(self._files) or self._files[index + 1].process != file.process:
                self._check_process(file.process)
        factors = normalisation(self._analysis, self._inputs, self._stated)
        cutflow = self._cutflow(factors)
        self._check_classes(cutflow)
        return Manifest(
            fingerprint=fingerprint,
            complete=True,
            analysis=dump_analysis(self._analysis),
            processes=self._processes,
            classes=[self._analysis.class_of(process) for process in self._processes],
            eras=self._eras,
            regions=list(self._analysis.regions),
            objects={
                name: list(settings.features) for name, settings in self._analysis.objects.items()
            },
            event=list(self._analysis.event.features),
            normalisation=factors,
            luminosity={label: era.luminosity for label, era in self._analysis.eras.items()},
            inputs=self._inputs,
            cutflow=cutflow,
            truncated={name: dict(counts) for name, counts in self._truncated.items()},
            non_finite={name: dict(counts) for name, counts in self._non_finite.items()},
            shards=self._shards,
            versions={
                "analysis-object-transformer": __version__,
                **{name: version(name) for name in ("awkward", "numpy", "pyarrow", "uproot")},
            },
        )

    def _report(self, index: int, share: float) -> None:
        if self._progress is not None:
            sizes = [file.size for file in self._files]
            done = sum(sizes[:index]) + int(share * sizes[index])
            self._progress(f"reading ({self._files[index].process})", done, sum(sizes))

    def _read(self, index: int, file: InputFile) -> None:
        kept = 0
        generator = 0.0
        with open_reader(
            file.path, file_format=self._analysis.source.format, tree=file.tree
        ) as reader:
            chunks = ChunkReader(
                reader,
                self._analysis,
                file,
                process=self._processes.index(file.process),
                era=self._eras.index(file.era),
                unblind=self._unblind,
            )
            for start in range(0, reader.entries, CHUNK_ENTRIES):
                stop = min(start + CHUNK_ENTRIES, reader.entries)
                chunk = chunks.read(start, stop)
                self._keep(index, file, chunk)
                kept += len(chunk.events)
                generator += chunk.generator_sum
                self._report(index, stop / reader.entries)
            weighted = "generator" in self._analysis.weights
            stated = reader.generated() if not self._is_data(file.process) else None
            if stated is not None and weighted and not chunks.generator_is_branch:
                message = (
                    f"{file.path}: weights.generator is {self._analysis.weights['generator']!r}, "
                    f"but the file states the sum of a branch over all generated events "
                    f"(genEventSumw); name that branch (genWeight), and put factors beside it "
                    f"under another name of weights"
                )
                raise InputFileError(message)
            total_weight, known = generated_sum(
                stated, weighted=weighted, entries=reader.entries, generator_sum=generator
            )
            self._inputs.append(
                InputRecord(
                    **asdict(file),
                    entries=reader.entries,
                    kept=kept,
                    generated=stated.count if stated is not None else float(reader.entries),
                    sum_of_weights=total_weight,
                )
            )
            self._stated.append(known)

    def _is_data(self, process: str) -> bool:
        return self._analysis.class_of(process) == DATA

    def _keep(self, index: int, file: InputFile, chunk: Chunk) -> None:
        self._cutflows[file.process, file.era].merge(chunk.cutflow)
        self._truncated[file.process].update(chunk.truncated)
        self._non_finite[file.process].update(chunk.non_finite)
        if len(chunk.events):
            name = f"{len(self._shards):05d}.arrow"
            write_shard(self._folder / SHARDS / name, chunk.events, file=index, entry=chunk.entry)
            self._shards.append({"name": name, "events": len(chunk.events)})

    def _check_process(self, process: str) -> None:
        """Non-finite features by policy, and at least one event left."""
        bad = self._non_finite[process]
        records = [record for record in self._inputs if record.process == process]
        entries = sum(record.entries for record in records)
        if bad and self._analysis.source.non_finite == "error":
            listed = ", ".join(f"{feature!r} in {count}" for feature, count in bad.items())
            message = (
                f"process {process}: NaN or infinite: {listed} of {entries} events; mend the "
                f"expression (as in log(max(x, 0.1))) or set source.non_finite: drop"
            )
            raise SampleError(message)
        if not sum(record.kept for record in records):
            regions = ", ".join(
                f"{name} ({region.select})" for name, region in self._analysis.regions.items()
            )
            blind = any(region.blind for region in self._analysis.regions.values())
            blinded = ""
            if blind and self._is_data(process) and not self._unblind:
                blinded = " without those in blind regions (--unblind reads them)"
            message = (
                f"process {process}: none of its {entries} events is left after the selections "
                f"of {regions}{blinded}; loosen them or take the process out"
            )
            raise SampleError(message)

    def _cutflow(self, factors: dict[str, dict[str, float]]) -> list[CutflowRow]:
        return [
            CutflowRow(
                process,
                era,
                cut,
                row.events,
                row.sum_of_weights * factors[process][era],
                float(np.sqrt(row.sum_of_squares)) * factors[process][era],
            )
            for (process, era), cutflow in self._cutflows.items()
            for cut, row in cutflow.rows.items()
        ]

    def _check_classes(self, cutflow: list[CutflowRow]) -> None:
        for name in self._analysis.classes:
            members = [
                process for process in self._processes if self._analysis.class_of(process) == name
            ]
            total = sum(
                row.yield_ for row in cutflow if row.process in members and row.cut == "kept"
            )
            if not total > 0:
                message = (
                    f"class {name} ({', '.join(members)}): the total weight of its selected "
                    f"events is {total:g}; expected a positive yield"
                )
                raise SampleError(message)
