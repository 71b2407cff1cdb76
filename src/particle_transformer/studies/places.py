"""Which trials of a study count, whoever runs them: a study has so many places and no more.

A program that is killed leaves a trial that seems to run for ever. So every program gives signs of
life while it runs a trial, and the others watch whether they go on coming. Only changes count,
by the watcher's own clock: the clocks of machines need not agree.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna import Study, Trial

__all__ = ["Places", "finished"]

SIGN = 10.0
"""Seconds between two signs of life."""

SILENCE = 120.0
"""Seconds without one after which a trial is given up for dead; NFS shows changes late (60 s)."""

LOOK = 1.0
"""Seconds between two looks at the others while there is no place."""


def finished(study: Study) -> int:
    """How many trials have come to an end, their last epoch or pruned."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return len(study.get_trials(deepcopy=False, states=ended))


class Places:
    """Gives trials to this program, and watches those of others.

    Parameters
    ----------
    folder
        The study's folder, on a file system that all programs see.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".running"
        self._seen: dict[int, tuple[int | None, float]] = {}

    def take(self, study: Study, trials: int, deadline: float) -> Trial | None:
        """Begin a trial as soon as there is a place for it.

        Parameters
        ----------
        study
            The study.
        trials
            How many trials shall come to an end in all.
        deadline
            When (`time.time`) no trial is begun any more.

        Returns
        -------
        optuna.Trial or None
            None: all have come to an end, or time is up.
        """
        while time.time() < deadline and finished(study) < trials:
            if self._taken(study) < trials:
                trial = study.ask()
                # Of several that were asked for at once, those with the lower numbers stay.
                if self._taken(study, before=trial.number) < trials:
                    return trial
                study.tell(trial, state=TrialState.FAIL)
            time.sleep(LOOK)
        return None

    def _taken(self, study: Study, before: int | None = None) -> int:
        """How many trials (with numbers below `before`) have ended or are running."""
        found = study.get_trials(deepcopy=False)
        # Every look must reach all of them: silence is measured from look to look.
        running = {
            trial.number
            for trial in found
            if trial.state == TrialState.RUNNING and self._lives(trial.number)
        }
        return sum(
            trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or trial.number in running
            for trial in found[:before]
        )

    def _lives(self, number: int) -> bool:
        try:
            sign: int | None = (self._folder / str(number)).stat().st_mtime_ns
        except FileNotFoundError:
            sign = None
        now = time.monotonic()
        before, since = self._seen.get(number, (None, now))
        if number not in self._seen or sign != before:
            self._seen[number] = sign, now
            return True
        return now - since < SILENCE

    @contextlib.contextmanager
    def living(self, number: int) -> Iterator[None]:
        """Give signs of life of a trial."""
        file = self._folder / str(number)
        self._folder.mkdir(exist_ok=True)
        file.touch()
        ended = threading.Event()

        def give() -> None:
            while not ended.wait(SIGN):
                with contextlib.suppress(OSError):  # a server that answers later
                    file.touch()

        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            file.unlink(missing_ok=True)
