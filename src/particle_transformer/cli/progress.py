"""Progress of long work, and the lines a command prints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.progress import TimeElapsedColumn as ElapsedColumn

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

__all__ = ["Progress", "say"]

_console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line."""
    _console.print(text, markup=False)


class Progress:
    """A bar per kind of work; an instance is the callback that the library's functions take.

    The part of a label before " (" names the bar, the rest is its current state. Where the output
    is no terminal (a batch job's log), each kind of work is one line when it is complete.
    """

    def __init__(self) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            ElapsedColumn(),
            TimeRemainingColumn(),
            console=_console,
            disable=not _console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._complete: set[str] = set()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of the work `label` are done."""
        name = label.partition(" (")[0]
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(label, total=total)
            self._started[name] = time.monotonic()
        self._bars.update(self._tasks[name], description=label, completed=done, total=total)
        if done >= total and name not in self._complete:
            self._complete.add(name)
            if not _console.is_terminal:
                say(f"{label}: {time.monotonic() - self._started[name]:.0f} s")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
