"""The progress of a fit in words, and of all fits of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from particle_transformer.config import Training
    from particle_transformer.training.callbacks import EpochRecord
    from particle_transformer.training.task import NetworkTask

__all__ = ["NetworkProgress", "silent"]


def silent(label: str, done: int, total: int) -> None:
    """Tell nobody."""
    del label, done, total


class NetworkProgress:
    """A fit's progress as a labelled one, and that of all fits.

    Folds, networks and epochs are numbered from 0, as in logs, plots and errors.

    Parameters
    ----------
    report
        Called with (what is being done, steps done, steps in all).
    settings
        Folds, and networks per fold.
    task
        The network.
    before, networks
        How many networks are trained already, and how many there are in all.
    """

    def __init__(
        self,
        report: Callable[[str, int, int], None],
        settings: Training,
        task: NetworkTask,
        before: int,
        networks: int,
    ) -> None:
        self._report = report
        self._label = f"fold {task.fold} of {settings.folds}"
        if settings.ensemble > 1:
            self._label += f", network {task.number} of {settings.ensemble}"
        self._before = before
        self._networks = networks
        self._epoch = self._auc = ""
        self._total = 1

    def finish(self, best_epoch: int) -> None:
        """Complete the bar, also where early stopping ended the fit."""
        self._report(f"{self._label} (best epoch {best_epoch})", self._total, self._total)
        self._all(self._total)

    def __call__(
        self, done: int, total: int, rate: float | None, record: EpochRecord | None
    ) -> None:
        """See `particle_transformer.training.callbacks.Progress`."""
        if record is not None:
            self._epoch = f"epoch {record['epoch']}, val. loss {record['val_loss']:.4f}"
            self._auc = "" if record["val_auc"] is None else f"AUC {record['val_auc']:.4f}"
        self._total = total
        speed = "" if rate is None else f"{rate:,.0f} events/s".replace(",", " ")
        # What a narrow terminal cuts off comes last.
        shown = ", ".join(part for part in (self._auc, speed, self._epoch) if part)
        # The last step is `finish`'s: until then the best weights are not restored.
        done = min(done, total - 1)
        self._all(done)
        self._report(f"{self._label} ({shown})", done, total)

    def _all(self, done: int) -> None:
        if self._networks > 1:
            complete = self._before + (done == self._total)
            steps = self._before * self._total + done
            label = f"all {self._networks} networks ({complete} trained)"
            self._report(label, steps, self._networks * self._total)
