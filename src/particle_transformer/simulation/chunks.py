"""The work folder: finished chunks, from which a killed simulation goes on."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing
from particle_transformer.errors import OutputError
from particle_transformer.simulation.summary import ChunkSummary
from particle_transformer.simulation.write import save_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from particle_transformer.simulation.generate import Chunk, ChunkTask

__all__ = ["check_settings", "found_chunks", "has_settings", "store_chunk"]

_SETTINGS = "settings.json"


def has_settings(work: Path) -> bool:
    """Whether this is the work folder of a simulation that has begun."""
    return (work / _SETTINGS).exists()


def check_settings(work: Path, settings: Mapping[str, Any]) -> None:
    """Write down what the chunks in `work` depend on, or compare with what is written there.

    Raises
    ------
    OutputError
        If the chunks there were made with other settings or versions, or the file is damaged.
    """
    path = work / _SETTINGS
    # As JSON gives it back: tuples are lists.
    asked = json.loads(json.dumps(settings))
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asked, indent=2), encoding="utf-8")
        return
    advice = "ask for the same to go on with it, give another --out, or remove the folder"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path}: cannot be read ({error}); remove {work} to begin anew"
        raise OutputError(message) from error
    for name in sorted(asked.keys() | found.keys()):
        if asked.get(name) != found.get(name):
            difference = _difference(name, found.get(name), asked.get(name))
            message = f"{work}: holds an unfinished simulation with {difference}; {advice}"
            raise OutputError(message)


def _difference(name: str, found: Any, asked: Any) -> str:
    """The innermost entry that differs."""
    while isinstance(found, dict) and isinstance(asked, dict):
        key = next(
            key for key in sorted(found.keys() | asked.keys()) if found.get(key) != asked.get(key)
        )
        name, found, asked = f"{name}.{key}", found.get(key), asked.get(key)
    return f"{name} {_short(found)}, expected {_short(asked)}"


def _short(value: Any) -> str:
    if value is None:
        return "not there"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, dict) else "there"


def store_chunk(chunk: Chunk, task: ChunkTask, work: Path) -> ChunkSummary:
    """Write the columns of a chunk, and then its summary, into the folder `work`."""
    path = work / f"{task.process}-{task.chunk:06d}.npz"
    save_columns(path, chunk.columns)
    summary = ChunkSummary(
        task.process,
        task.chunk,
        path,
        len(chunk.columns["event"]),
        chunk.generated,
        chunk.sum_of_weights,
        chunk.tried,
        chunk.selected,
        chunk.cross_section,
        chunk.cross_section_error,
    )
    numbers = {name: value for name, value in asdict(summary).items() if name != "path"}
    with replacing(path.with_suffix(".json")) as temporary:
        # Python writes the shortest text that gives the same float back.
        temporary.write_text(json.dumps(numbers), encoding="utf-8")
    return summary


def found_chunks(work: Path) -> Iterator[ChunkSummary]:
    """What `store_chunk` left in `work`; a chunk that is not whole counts as not there."""
    for path in sorted(work.glob("*-[0-9]*.json")):
        columns = path.with_suffix(".npz")
        try:
            numbers = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if zipfile.is_zipfile(columns):
            yield ChunkSummary(path=columns, **numbers)
