"""Progress of long work, and the lines a command prints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

__all__ = ["Progress", "say"]

_console = Console(highlight=False, soft_wrap=True)

_SIGN_OF_LIFE = 60.0
"""Seconds between two lines of one kind of work where the output is no terminal."""


def say(text: str) -> None:
    """Print one line."""
    _console.print(text, markup=False)


class Progress:
    """A bar per kind of work; an instance is the callback that the library's functions take.

    The part of a label before " (" names the bar, the rest is its current state, which is shown as
    far as the terminal is wide. Work that is complete leaves its bar for a line with its time.
    Where the output is no terminal (a batch job's log), there are such lines alone, and every
    minute one with the state of what is not complete.

    Parameters
    ----------
    console
        Where to; None: the standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=max(5, min(40, self._console.width // 9))),
            TaskProgressColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn(
                "{task.fields[state]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._complete: set[str] = set()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of the work `label` are done."""
        name, _, state = label.partition(" (")
        if done >= total:
            self._finish(name, label)
            return
        self._complete.discard(name)
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, state="")
            self._started[name] = self._told[name] = time.monotonic()
        self._bars.update(
            self._tasks[name], completed=done, total=total, state=state.removesuffix(")")
        )
        if not self._console.is_terminal and self._seconds(self._told[name]) >= _SIGN_OF_LIFE:
            self._told[name] = time.monotonic()
            self._print(f"{label}: {100 * done // total} % after {self._since(name)}")

    def _finish(self, name: str, label: str) -> None:
        if name in self._complete:
            return
        self._complete.add(name)
        self._started.setdefault(name, time.monotonic())
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
            self._bars.refresh()
        self._print(f"{label}: {self._since(name)}")
        del self._started[name]

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _seconds(self, since: float) -> float:
        return time.monotonic() - since

    def _since(self, name: str) -> str:
        return f"{self._seconds(self._started[name]):.0f} s"

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
