"""ROOT files of several baskets, as large files have them, some of them damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uproot

if TYPE_CHECKING:
    from pathlib import Path

    from helpers.files import Sample


def write_baskets(path: Path, sample: Sample, entries: int) -> Path:
    """Write `sample` with one basket of each branch per so many entries."""
    jets = sample.jagged["Jet"]
    with uproot.recreate(path) as file:
        types = {name: values.dtype for name, values in sample.flat.items()}
        types |= {f"Jet_{name}": array.type.content for name, array in jets.items()}
        file.mktree("Events", types)
        for start in range(0, len(sample), entries):
            part = sample.taken(slice(start, start + entries))
            columns = {f"Jet_{name}": array for name, array in part.jagged["Jet"].items()}
            file["Events"].extend({**part.flat, **columns})
    return path


def damage_baskets(path: Path, *baskets: int, branch: str = "MET_pt") -> bytes:
    """Overwrite the header of these baskets of a branch; gives the healthy bytes."""
    healthy = path.read_bytes()
    with uproot.open(path) as file:
        seek = file["Events"][branch].member("fBasketSeek")
    data = bytearray(healthy)
    for basket in baskets:
        data[seek[basket] : seek[basket] + 40] = b"\xff" * 40
    path.write_bytes(data)
    return healthy
