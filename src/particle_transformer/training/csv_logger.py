"""A CSV logger whose file is always whole."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from particle_transformer.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CSVLogger"]


class CSVLogger(Logger):
    """``metrics.csv``, complete and without repetition also after a fit was killed and resumed.

    Lightning's logger of this name deletes the file that it finds, and writes the new one piece by
    piece.

    Parameters
    ----------
    save_dir
        Folder of the file.
    prefix
        Put before the name of each metric, with a hyphen.
    steps
        Rows of this step and later ones are dropped from a file that is there: they are of a fit
        that is resumed from before them, or of another fit.
    """

    def __init__(self, save_dir: str, *, prefix: str = "", steps: int = 0) -> None:
        super().__init__()
        self._file = Path(save_dir) / "metrics.csv"
        self._prefix = f"{prefix}-" if prefix else ""
        self._rows: list[dict[str, Any]] = []
        if steps and self._file.exists():
            with self._file.open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) < steps]

    @property
    def name(self) -> str:
        """None: the folder is given."""
        return ""

    @property
    def version(self) -> str:
        """None: the folder is given."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the file."""
        return str(self._file.parent)

    @property
    @rank_zero_experiment
    def experiment(self) -> CSVLogger:
        """The logger itself."""
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Keep nothing: the analysis file has them."""
        del params, args, kwargs

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Note metrics of a step."""
        named = {f"{self._prefix}{name}": value for name, value in metrics.items()}
        self._rows.append({**named, "step": len(self._rows) if step is None else step})

    @rank_zero_only
    def save(self) -> None:
        """Write the file; Lightning calls this after each row.

        Raises
        ------
        OutputError
            If it cannot be written; the last one is left as it was.
        """
        if not self._rows:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._file) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, sorted(set().union(*self._rows)))
            writer.writeheader()
            writer.writerows(self._rows)
