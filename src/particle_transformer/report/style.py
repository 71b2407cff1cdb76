"""Looks shared by all plots: readable without colour, and by the colour-blind.

Colours are those of M. Petroff, arXiv:2107.02270, which mplhep's styles use; every process also
has its own hatch, line style and marker.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from particle_transformer.errors import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from particle_transformer.evaluation import ScoredEvents

__all__ = [
    "CLASS_COLOURS",
    "SIGNAL_COLOUR",
    "Look",
    "escaped",
    "looks",
    "new_figure",
    "stamp",
    "styled",
]

SIGNAL_COLOUR = "#e42536"

_COLOURS = ("#5790fc", "#f89c20", "#717581", "#7a21dd", "#86c8dd", "#b9ac70", "#a96b59")
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "++++", "----")
CLASS_COLOURS = (
    (SIGNAL_COLOUR, "-", "o"), ("#3b6fd4", "--", "s"), ("#717581", "-.", "^"),
    ("#7a21dd", ":", "v"), ("#a96b59", (0, (5, 1, 1, 1)), "D"), ("#b9ac70", (0, (8, 2)), "P"),
    ("#86c8dd", (0, (1, 3)), "X"),
)  # fmt: skip
"""Colour, line style and marker of the classes, signal first."""

_LINES: tuple[Any, ...] = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))
_MARKERS = ("s", "^", "v", "D", "P", "X", "<")


class Look:
    """How one process is drawn: `colour`, `hatch`, `line` and `marker`."""

    def __init__(self, colour: str, hatch: str, line: Any, marker: str) -> None:
        self.colour = colour
        self.hatch = hatch
        self.line = line
        self.marker = marker


def looks(events: ScoredEvents) -> dict[int, Look]:
    """A look for each process, by index; signals are red, the first of them solid."""
    found = {
        index: Look(SIGNAL_COLOUR, "", ("-", *_LINES)[position % len(_LINES)], "o")
        for position, index in enumerate(events.signals)
    }
    for position, index in enumerate(events.backgrounds):
        found[index] = Look(
            _COLOURS[position % len(_COLOURS)],
            _HATCHES[position % len(_HATCHES)],
            _LINES[position % len(_LINES)],
            _MARKERS[position % len(_MARKERS)],
        )
    return found


@contextmanager
def styled() -> Iterator[None]:
    """Mplhep's neutral style at the size of a page, and output that does not depend on time."""
    matplotlib = require("matplotlib", "report")
    mplhep = require("mplhep", "report")
    sizes = {
        "font.size": 12,
        # Named here, not behind "sans-serif": only then is the second asked for missing glyphs (⁻¹).
        "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
        "axes.labelsize": 13,
        "axes.titlesize": 12,
        "axes.linewidth": 1.0,
        "legend.fontsize": 11,
        "legend.handlelength": 2.2,
        "xtick.labelsize": 11.5,
        "ytick.labelsize": 11.5,
        "xtick.major.size": 6,
        "xtick.minor.size": 3,
        "ytick.major.size": 6,
        "ytick.minor.size": 3,
        "xtick.major.pad": 5,
        "hatch.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "svg.hashsalt": "particle_transformer",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context(mplhep.style.ROOT | sizes):
        yield


def new_figure(width: float = 6.4, height: float = 4.8) -> Figure:
    """An empty figure outside pyplot's global state, laid out so that labels never overlap."""
    module = require("matplotlib.figure", "report")
    figure: Figure = module.Figure(figsize=(width, height), layout="constrained")
    return figure


def stamp(axes: Axes, left: str, right: str) -> None:
    """Write what the plot shows above its axes: sample on the left, luminosity on the right."""
    axes.set_title(escaped(left), loc="left", fontsize=11, style="italic")
    axes.set_title(escaped(right), loc="right", fontsize=11)


def escaped(text: str) -> str:
    """Text of the user's that is not to be read as mathematics."""
    return text.replace("$", r"\$")
