"""What was trained, kept in the comparison's folder so that it is never trained again.

``trained/METHOD-KEY/fold-F-seed-S.npz``, where the key is a fingerprint of everything that decides
the outcome: another analysis file has other keys, and finds its own again when it comes back.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.atomic import replacing
from particle_transformer.errors import InputFileError
from particle_transformer.studies.compare.method import Trained
from particle_transformer.studies.compare.methods import METHODS, REFERENCE
from particle_transformer.training.initial import initial_of

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.config import Analysis

__all__ = ["Place", "fingerprint"]

_VERSION = 3
"""Of the methods: raised when one of them is changed."""

_NO_OUTCOME = ("loggers", "checkpoint_minutes", "ensemble", "init")
"""Keys of ``training`` that change no classifier here; ``init`` changes the network alone."""


def fingerprint(analysis: Analysis, events: str, method: str) -> str:
    """SHA-256 of what decides what a method's classifiers are, hexadecimal.

    Parameters
    ----------
    analysis
        The analysis.
    events
        Digest of the events and their weights.
    method
        The method's name.
    """
    plain = analysis.model_dump(mode="json", by_alias=True)
    training = {key: value for key, value in plain["training"].items() if key not in _NO_OUTCOME}
    decisive: dict[str, Any] = {
        "version": _VERSION,
        "method": method,
        "events": events,
        "training": training,
    }
    for dotted in METHODS[method].sections:
        value: Any = plain
        for key in dotted.split("."):
            value = value[key]
        decisive[dotted] = value
    initial = initial_of(analysis)
    if initial is not None and method == REFERENCE:
        decisive["init"] = initial.digest()
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where one classifier's outcome is.

    Attributes
    ----------
    folder
        The comparison's folder.
    method, key
        The method, and its `fingerprint`.
    fold, seed
        Which of its classifiers.
    """

    folder: Path
    method: str
    key: str
    fold: int
    seed: int

    @property
    def _name(self) -> str:
        return f"fold-{self.fold}-seed-{self.seed}"

    @property
    def file(self) -> Path:
        """The scores."""
        return self.folder / "trained" / f"{self.method}-{self.key[:16]}" / f"{self._name}.npz"

    @property
    def scratch(self) -> Path:
        """Checkpoints of a training that has not ended."""
        return self.folder / "unfinished" / f"{self.method}-{self.key[:16]}" / self._name

    def read(self) -> Trained | None:
        """What was kept, or None.

        Raises
        ------
        InputFileError
            If the file is damaged.
        """
        if not self.file.exists():
            return None
        try:
            # NumPy leaves a damaged file open that it has opened itself.
            with self.file.open("rb") as file, np.load(file, allow_pickle=False) as found:
                values: dict[str, Any] = {}
                for field in fields(Trained):
                    column = found[field.name]
                    values[field.name] = column if column.ndim else column.item()
                return Trained(**values)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            message = f"{self.file}: damaged ({error}); remove it to train that classifier again"
            raise InputFileError(message) from error

    def write(self, outcome: Trained) -> None:
        """Keep an outcome, whole or not at all; checkpoints go.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.file) as partial:
            np.savez(partial, **asdict(outcome))
        shutil.rmtree(self.scratch, ignore_errors=True)
