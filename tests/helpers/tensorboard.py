"""What TensorBoard shows of a folder."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def events(file: Path) -> Iterator[Any]:
    """Events of a file of records: length (8 bytes), its checksum (4), content, its checksum (4)."""
    content = file.read_bytes()
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        event = Event()
        event.ParseFromString(content[at + 12 : at + 12 + length])
        yield event
        at += 12 + length + 4


def shown(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """By tag: (step, value) in order; a value is a number, or an image's bytes.

    The files are read in the order of their names, which begin with their time. As in
    tensorboard's plugin_event_accumulator, a start of a session at a step hides what is of that
    step or a later one.
    """
    found: dict[str, list[tuple[int, Any]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in events(file):
            if event.session_log.status == SessionLog.START:
                for tag, points in found.items():
                    found[tag] = [point for point in points if point[0] < event.step]
            for value in event.summary.value:
                image = value.image.encoded_image_string
                found.setdefault(value.tag, []).append((event.step, image or value.simple_value))
    return found
