"""The run directory: where a training leaves its parts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.network_files.members import member_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RunFolder", "open_run"]

RUN_VERSION = 2


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run directory.

    ``analysis.yaml`` (resolved), ``run.json`` (store, seeds, versions, history of each network),
    ``store/`` unless the run uses another one, ``artefact/fold-F/network-N/`` (the networks of each
    fold), ``artefact/config.json`` (the ensemble), ``checkpoints/`` and ``logs/`` likewise,
    ``evaluation/``, ``report/``. ``unfinished.json`` is there until all networks are trained.
    """

    path: Path

    @property
    def analysis(self) -> Path:
        """The resolved analysis file."""
        return self.path / "analysis.yaml"

    @property
    def record(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    @property
    def unfinished(self) -> Path:
        """What marks a run that is not trained to its end."""
        return self.path / "unfinished.json"

    @property
    def artefact(self) -> Path:
        """The folder of the ensemble."""
        return self.path / "artefact"

    def network(self, fold: int, number: int = 0) -> Path:
        """The artefact of one of the networks that never read `fold`."""
        return self.artefact / member_name(fold, number)

    def networks(self) -> list[Path]:
        """The artefacts of all networks, fold by fold.

        Raises
        ------
        InputFileError
            As `read_record`.
        """
        record = self.read_record()
        return [
            self.network(fold, number)
            for fold in range(int(record["folds"]))
            for number in range(int(record["ensemble"]))
        ]

    def checkpoints(self, fold: int, number: int = 0) -> Path:
        """Checkpoints of a network's training; for resuming only."""
        return self.path / "checkpoints" / member_name(fold, number)

    def logs(self, fold: int, number: int = 0) -> Path:
        """Logs of a network's training."""
        return self.path / "logs" / member_name(fold, number)

    @property
    def evaluation(self) -> Path:
        """Metrics and out-of-fold scores."""
        return self.path / "evaluation"

    @property
    def report(self) -> Path:
        """The HTML report's folder."""
        return self.path / "report"

    def read_record(self) -> dict[str, Any]:
        """Content of ``run.json``.

        Raises
        ------
        InputFileError
            If the folder is no run, or one of another version.
        """
        try:
            record: dict[str, Any] = json.loads(self.record.read_text())
        except FileNotFoundError:
            if self.unfinished.exists():
                message = (
                    f"{self.path}: its training has not ended; go on with aot train FILE --out "
                    f"{self.path} --resume"
                )
                raise InputFileError(message) from None
            of_one = (self.path / "model.safetensors").exists()
            found = "the folder of one network" if of_one else "not a run (no run.json)"
            mend = "give the whole run" if of_one else "make one with aot train"
            message = f"{self.path}: {found}; {mend}"
            raise InputFileError(message) from None
        except NotADirectoryError:
            message = f"{self.path}: is a file; expected a run, the folder that aot train makes"
            raise InputFileError(message) from None
        except (OSError, ValueError) as error:
            message = f"{self.record}: cannot be read ({error}); train again"
            raise InputFileError(message) from error
        if record.get("format_version") != RUN_VERSION:
            message = (
                f"{self.record}: run format {record.get('format_version')}, expected "
                f"{RUN_VERSION}; train again with this version"
            )
            raise InputFileError(message)
        return record

    def store(self) -> Path:
        """The prepared store the run was trained on: absolute, or ``store/`` of the run.

        Raises
        ------
        InputFileError
            As `read_record`, and if the run was exported, which leaves the store behind.
        """
        record = self.read_record()
        if "store" not in record:
            message = f"{self.path}: an exported run, without its events; give the original run"
            raise InputFileError(message)
        return self.path / str(record["store"])


def open_run(path: Path) -> RunFolder:
    """The run in folder `path`, checked to be one.

    Raises
    ------
    InputFileError
        If it is not a run.
    """
    run = RunFolder(path)
    run.read_record()
    return run


def check_new(path: Path, what: str) -> None:
    """Refuse an output folder that already holds something.

    Raises
    ------
    OutputError
        If `path` exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        message = f"{path}: exists and is not empty; give {what} another --out, or remove it"
        raise OutputError(message)
