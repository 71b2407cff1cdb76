"""From what the chunks have counted to the manifest: yields, and what must hold of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer._version import __version__
from particle_transformer.config import dump_analysis
from particle_transformer.data.cutflow import LUMI_MASK, TRIGGER, Cutflow
from particle_transformer.data.manifest import CutflowRow, InputRecord, Manifest, ShardEntry
from particle_transformer.data.normalisation import generated_sum, normalisation
from particle_transformer.data.shard import shard_name
from particle_transformer.errors import SampleError
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.data.files import InputFile
    from particle_transformer.data.manifest import FailedChunk
    from particle_transformer.data.scan import ScannedFile
    from particle_transformer.data.shard import ShardRecord
    from particle_transformer.data.tasks import ChunkTask

__all__ = ["ReadChunk", "make_manifest"]


@dataclass(frozen=True)
class ReadChunk:
    """A chunk whose shard is in the store."""

    task: ChunkTask
    record: ShardRecord
    sha256: str


def make_manifest(
    analysis: Analysis,
    scanned: Sequence[ScannedFile],
    chunks: Sequence[ReadChunk],
    failed: Sequence[FailedChunk],
    *,
    fingerprint: str,
    unblind: bool,
) -> Manifest:
    """Sum up the chunks, in their order, whoever has read them.

    Parameters
    ----------
    analysis
        The analysis file.
    scanned
        All input files.
    chunks
        Those that were read, in the order of files and entries.
    failed
        Those that were not; then nothing is normalised, and the manifest is incomplete.
    fingerprint
        Of the store.
    unblind
        Whether data in blind regions was read.

    Raises
    ------
    SampleError
        If a process has no event left, a class has no positive total weight, or a feature is NaN
        or infinite (with ``source.non_finite: error``).
    """
    by_file: defaultdict[InputFile, list[ReadChunk]] = defaultdict(list)
    for chunk in chunks:
        by_file[chunk.task.file].append(chunk)
    cutflows: defaultdict[tuple[str, str], Cutflow] = defaultdict(Cutflow)
    truncated: defaultdict[str, Counter[str]] = defaultdict(Counter)
    non_finite: defaultdict[str, Counter[str]] = defaultdict(Counter)
    inputs, shards = [], []
    for index, found in enumerate(scanned):
        file = found.file
        read = by_file[file]
        for chunk in read:
            record = chunk.record
            if not file.variation:
                cutflows[file.process, file.era].merge(record.sums())
                truncated[file.process].update(record.truncated)
            where = f" ({file.variation})" if file.variation else ""
            non_finite[file.process].update(
                {f"{label}{where}": count for label, count in record.non_finite.items()}
            )
            task = chunk.task
            shards.append(
                ShardEntry(
                    shard_name(task.key),
                    index,
                    task.start,
                    task.stop,
                    record.rows,
                    record.events,
                    chunk.sha256,
                )
            )
        total = generated_sum(
            found.stated,
            weighted="generator" in analysis.weights,
            entries=found.entries,
            generator_sum=sum(chunk.record.generator_sum for chunk in read),
        )
        inputs.append(
            InputRecord(
                **asdict(file),
                entries=found.entries,
                kept=sum(chunk.record.events for chunk in read),
                stated=found.stated is not None,
                generated=float(found.entries if found.stated is None else found.stated.count),
                sum_of_weights=total,
            )
        )
    factors: dict[str, dict[str, dict[str, float]]] = {"": {}}
    cutflow: list[CutflowRow] = []
    if not failed:
        _check_processes(analysis, inputs, cutflows, non_finite, unblind=unblind)
        for name in ("", *dict.fromkeys(file.variation for file in inputs if file.variation)):
            chosen = [n for n, file in enumerate(inputs) if file.variation == name]
            factors[name] = normalisation(analysis, [inputs[n] for n in chosen])
        cutflow = _yields(cutflows, factors[""])
        _check_classes(analysis, cutflow)
    return Manifest(
        fingerprint=fingerprint,
        complete=not failed,
        analysis=dump_analysis(analysis),
        processes=list(analysis.processes),
        classes=[analysis.class_of(process) for process in analysis.processes],
        eras=list(analysis.eras),
        regions=list(analysis.regions),
        objects={name: list(settings.features) for name, settings in analysis.objects.items()},
        event=list(analysis.event.features),
        spectators=list(analysis.event.spectators),
        variations=[varied.name for varied in analysis.varied],
        normalisation=factors.pop(""),
        varied_normalisation=factors,
        luminosity={label: era.luminosity for label, era in analysis.eras.items()},
        inputs=inputs,
        cutflow=cutflow,
        truncated={name: dict(counts) for name, counts in truncated.items()},
        non_finite={name: dict(counts) for name, counts in non_finite.items()},
        shards=shards,
        versions={
            "analysis-object-transformer": __version__,
            **{name: version(name) for name in ("awkward", "h5py", "numpy", "pyarrow", "uproot")},
        },
        failed=list(failed),
    )


def _yields(
    cutflows: dict[tuple[str, str], Cutflow], factors: dict[str, dict[str, float]]
) -> list[CutflowRow]:
    return [
        CutflowRow(
            process,
            era,
            cut,
            row.events,
            row.sum_of_weights * factors[process][era],
            float(np.sqrt(row.sum_of_squares)) * factors[process][era],
        )
        for (process, era), cutflow in cutflows.items()
        for cut, row in cutflow.rows.items()
    ]


def _check_processes(
    analysis: Analysis,
    inputs: Sequence[InputRecord],
    cutflows: dict[tuple[str, str], Cutflow],
    non_finite: dict[str, Counter[str]],
    *,
    unblind: bool,
) -> None:
    """Non-finite features by policy, and at least one event left."""
    for process in analysis.processes:
        records = [
            record for record in inputs if record.process == process and not record.variation
        ]
        entries = sum(record.entries for record in records)
        bad = non_finite[process]
        if bad and analysis.source.non_finite == "error":
            listed = ", ".join(f"{feature!r} in {count}" for feature, count in bad.items())
            message = (
                f"process {process}: NaN or infinite: {listed} of {entries} events; mend the "
                f"expression (as in log(max(x, 0.1))) or set source.non_finite: drop"
            )
            raise SampleError(message)
        regions = ", ".join(
            f"{name} ({region.select})" for name, region in analysis.regions.items()
        )
        if not sum(record.kept for record in records):
            blind = any(region.blind for region in analysis.regions.values())
            blinded = ""
            if blind and analysis.class_of(process) == DATA and not unblind:
                blinded = " without those in blind regions (--unblind reads them)"
            flows = [flow for (name, _), flow in cutflows.items() if name == process]
            if not blinded and (cut := _stopped_before_regions(flows)) is not None:
                keys = ", ".join(f"eras.{era}.{cut}" for era in analysis.processes[process].files)
                message = (
                    f"process {process}: none of its {entries} events passes {keys}; expected "
                    f"some: see that it fits these files, or take the process out"
                )
                raise SampleError(message)
            message = (
                f"process {process}: none of its {entries} events is left after the selections "
                f"of {regions}{blinded}; loosen them or take the process out"
            )
            raise SampleError(message)
        replaced = [record for record in inputs if record.process == process and record.variation]
        for variation in dict.fromkeys(record.variation for record in replaced):
            own = [record for record in replaced if record.variation == variation]
            if not sum(record.kept for record in own):
                message = (
                    f"process {process}, variation {variation}: none of its "
                    f"{sum(record.entries for record in own)} events is left after the selections "
                    f"of {regions}; loosen them or take the variation out"
                )
                raise SampleError(message)


def _stopped_before_regions(cutflows: Sequence[Cutflow]) -> str | None:
    """The key of the era whose cut leaves no event anywhere, if it is not one of a region."""
    for label, key in ((LUMI_MASK, "lumi_mask"), (TRIGGER, "trigger")):
        rows = [cutflow.rows.get(label) for cutflow in cutflows]
        if all(row is not None and row.events == 0 for row in rows):
            return key
    return None


def _check_classes(analysis: Analysis, cutflow: Sequence[CutflowRow]) -> None:
    for row in cutflow:
        if not np.isfinite([row.yield_, row.yield_error]).all():
            message = (
                f"process {row.process} (era {row.era}): the weights of {row.cut!r} are too large to "
                f"add up (yield {row.yield_:g} ± {row.yield_error:g}); expected finite sums"
            )
            raise SampleError(message)
    for name in analysis.classes:
        members = [process for process in analysis.processes if analysis.class_of(process) == name]
        total = sum(row.yield_ for row in cutflow if row.process in members and row.cut == "kept")
        if not total > 0:
            message = (
                f"class {name} ({', '.join(members)}): the total weight of its selected "
                f"events is {total:g}, expected a positive one; mend its weights, or add events"
            )
            raise SampleError(message)
