"""The progress of a fit in words, and of all fits of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from particle_transformer.config import Training
    from particle_transformer.training.callbacks import EpochRecord
    from particle_transformer.training.network import NetworkTask

__all__ = ["NetworkProgress", "silent"]

_ALL = "all networks"


def silent(label: str, done: int, total: int) -> None:
    """Tell nobody."""
    del label, done, total


class NetworkProgress:
    """A fit's progress as a labelled one, and that of all fits.

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
        self._label = f"training fold {task.fold + 1} of {settings.folds}"
        if settings.ensemble > 1:
            self._label += f", network {task.number + 1} of {settings.ensemble}"
        self._before = before
        self._networks = networks
        self._state = ""
        self._total = 1

    def finish(self, best_epoch: int) -> None:
        """Complete the bar, also where early stopping ended the fit."""
        self._report(f"{self._label} (best epoch {best_epoch + 1})", self._total, self._total)
        self._all(self._total)

    def __call__(
        self, done: int, total: int, rate: float | None, record: EpochRecord | None
    ) -> None:
        """See `particle_transformer.training.callbacks.Progress`."""
        if record is not None:
            auc = "" if record["val_auc"] is None else f", AUC {record['val_auc']:.4f}"
            self._state = f"epoch {record['epoch'] + 1}, val. loss {record['val_loss']:.4f}{auc}"
        self._total = total
        speed = "" if rate is None else f"{rate:,.0f} events/s".replace(",", " ")
        shown = ", ".join(part for part in (self._state, speed) if part)
        # The last step is `finish`'s: until then the best weights are not restored.
        self._report(f"{self._label} ({shown})", min(done, total - 1), total)
        self._all(min(done, total - 1))

    def _all(self, done: int) -> None:
        if self._networks > 1:
            steps = self._before * self._total + done
            self._report(_ALL, steps, self._networks * self._total)
