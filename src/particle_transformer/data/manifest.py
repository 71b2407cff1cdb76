"""The manifest of a prepared store: what is in it, where it came from, and its normalisation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FORMAT_VERSION",
    "CutflowRow",
    "FailedChunk",
    "InputRecord",
    "Manifest",
    "ShardEntry",
    "read_manifest",
]

FORMAT_VERSION = 3
NAME = "manifest.json"


@dataclass(frozen=True)
class InputRecord:
    """One input file: what was read from it and kept.

    Attributes
    ----------
    entries, kept
        In the file, and in a nominal region.
    stated
        Whether the file states its generated sums (``Runs.genEventSumw``); else they are those of
        its own entries.
    generated, sum_of_weights
        Number of generated events, and the sum of their generator weights.
    """

    path: str
    process: str
    era: str
    tree: str
    variation: str
    size: int
    version: str
    entries: int
    kept: int
    stated: bool
    generated: float
    sum_of_weights: float


@dataclass(frozen=True)
class ShardEntry:
    """One shard: a range of entries of an input file.

    Attributes
    ----------
    name
        Of the file in the folder of shards.
    input
        Index into the manifest's inputs.
    start, stop
        The entries start <= i < stop were read.
    rows, events
        Events in the shard, and those of them in a nominal region.
    sha256
        Of the file, hexadecimal.
    """

    name: str
    input: int
    start: int
    stop: int
    rows: int
    events: int
    sha256: str


@dataclass(frozen=True)
class FailedChunk:
    """A range of entries that could not be read."""

    path: str
    start: int
    stop: int
    error: str


@dataclass(frozen=True)
class CutflowRow:
    """One row of the cutflow of a process and era; yields in events at the era's luminosity."""

    process: str
    era: str
    cut: str
    events: int
    yield_: float
    yield_error: float


@dataclass(frozen=True)
class Manifest:
    """See the attributes; written as ``manifest.json``.

    Attributes
    ----------
    fingerprint
        SHA-256 over everything that decides the store's content.
    complete
        Whether every chunk could be read; the store is not used where not.
    analysis
        The resolved analysis file (YAML).
    processes, classes, eras, regions
        Names; `classes` gives the class of each process.
    objects
        Feature expressions by collection, in column order.
    event
        Event feature expressions, in column order.
    spectators
        Spectator expressions, in column order.
    variations
        Sides of variations (``JES.up``), in the order of the analysis file.
    normalisation
        Factor from the stored ``event_weight`` to the physics weight, by process and era.
    varied_normalisation
        The same of the files that replace a process, by variation.
    luminosity
        fb⁻¹ by era; None where the weights came ready.
    shards
        In the order of inputs and entries.
    failed
        The chunks that are missing.
    truncated, non_finite
        Objects cut by ``max`` by process and collection; dropped events by process and feature.
    """

    fingerprint: str
    complete: bool
    analysis: str
    processes: list[str]
    classes: list[str]
    eras: list[str]
    regions: list[str]
    objects: dict[str, list[str]]
    event: list[str]
    spectators: list[str]
    variations: list[str]
    normalisation: dict[str, dict[str, float]]
    varied_normalisation: dict[str, dict[str, dict[str, float]]]
    luminosity: dict[str, float | None]
    inputs: list[InputRecord]
    cutflow: list[CutflowRow]
    truncated: dict[str, dict[str, int]]
    non_finite: dict[str, dict[str, int]]
    shards: list[ShardEntry]
    versions: dict[str, str]
    failed: list[FailedChunk] = field(default_factory=list)
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The manifest as text."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @property
    def events(self) -> int:
        """Nominal events in the store."""
        return sum(shard.events for shard in self.shards if not self.inputs[shard.input].variation)


def read_manifest(store: Path) -> Manifest:
    """Read the manifest of the store in folder `store`.

    Raises
    ------
    InputFileError
        If there is none, it is damaged, or another version of this software wrote it.
    """
    path = store / NAME
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        message = f"{store}: not a prepared store (no {NAME}); make one with aot prepare"
        raise InputFileError(message) from None
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read ({error}); prepare the store anew"
        raise InputFileError(message) from error
    found = content.get("format_version") if isinstance(content, dict) else None
    if found != FORMAT_VERSION:
        message = f"{path}: store format {found}, expected {FORMAT_VERSION}; prepare the store anew"
        raise InputFileError(message)
    try:
        content["inputs"] = [InputRecord(**record) for record in content["inputs"]]
        content["cutflow"] = [CutflowRow(**row) for row in content["cutflow"]]
        content["shards"] = [ShardEntry(**entry) for entry in content["shards"]]
        content["failed"] = [FailedChunk(**chunk) for chunk in content["failed"]]
        return Manifest(**content)
    except (KeyError, TypeError) as error:
        message = f"{path}: a key is missing or unknown ({error}); prepare the store anew"
        raise InputFileError(message) from error
