"""The demo's folder: what it was made with, so that an interrupted demo can go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from particle_transformer.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_demo"]


def open_demo(out: Path, *, events: int, seed: int) -> None:
    """Make the folder of a new demo, or check that the one there has the same settings.

    Raises
    ------
    OutputError
        If `out` holds something else, a demo of other settings, or cannot be written.
    """
    note = out / "demo.json"
    settings = {"events": events, "seed": seed}
    try:
        if note.exists():
            found = json.loads(note.read_text())
            if found != settings:
                message = (
                    f"{out}: holds a demo made with {found}, asked for {settings}; give aot demo "
                    f"another --out, or remove it"
                )
                raise OutputError(message)
            return
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            message = (
                f"{out}: exists and is not a demo's folder; give aot demo another --out, or "
                f"remove it"
            )
            raise OutputError(message)
        out.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(settings) + "\n")
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error
