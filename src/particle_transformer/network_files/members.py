"""Which network of a folder that holds the networks of several folds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["member_folder", "member_name"]

CONFIG = "config.json"


def member_name(fold: int, number: int) -> str:
    """Folder of a network inside the one of its ensemble."""
    return f"fold-{fold}/network-{number}"


def member_folder(path: Path, fold: int | None, number: int = 0) -> Path:
    """The folder of a network: `path` itself, or one of those in a run or its ensemble.

    Parameters
    ----------
    path
        The folder of one network, of a run (with ``artefact/``), or of an ensemble.
    fold
        The fold that the network never read; None where `path` is one network.
    number
        Which of the networks of the fold.

    Raises
    ------
    InputFileError
        If a fold is given for a single network, none for several, or there is no such one.
    """
    for folder in (path / "artefact", path):
        members = _members(folder / CONFIG)
        if members is None:
            continue
        held = ", ".join(members)
        if fold is None:
            message = (
                f"{path}: holds several networks; say which, as in fold=0, the one that never read "
                f"an event of fold 0 (there: {held})"
            )
            raise InputFileError(message)
        name = member_name(fold, number)
        if name not in members:
            message = f"{path}: holds no {name}; there: {held}"
            raise InputFileError(message)
        return folder / name
    if fold is not None:
        message = f"{path}: holds a single network; leave fold={fold} out"
        raise InputFileError(message)
    return path


def _members(file: Path) -> list[str] | None:
    """Members of an ensemble by its configuration; None where it is another file, or none."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # whoever reads it says what is wrong with it
    members = config.get("members") if isinstance(config, dict) else None
    return [str(name) for name in members] if isinstance(members, list) else None
