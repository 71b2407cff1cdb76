"""What is known of a chunk once its columns are on disk, and of a process from its chunks."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["ChunkSummary", "ProcessSummary"]


@dataclass(frozen=True)
class ChunkSummary:
    """A chunk without its columns, which are at `path`; the rest as in `Chunk`."""

    process: str
    chunk: int
    path: Path
    kept: int
    generated: int
    sum_of_weights: float
    tried: int
    selected: int
    cross_section: float
    cross_section_error: float


@dataclass(frozen=True)
class ProcessSummary:
    """One process.

    Attributes
    ----------
    chunks
        Its chunks from the first to the last, in order.
    """

    chunks: Sequence[ChunkSummary]

    @property
    def kept(self) -> int:
        """Events that pass the skim."""
        return sum(chunk.kept for chunk in self.chunks)

    @property
    def generated(self) -> int:
        """Events that pass the generator filter."""
        return sum(chunk.generated for chunk in self.chunks)

    @property
    def sum_of_weights(self) -> float:
        """Sum of genWeight over the generated events."""
        return sum(chunk.sum_of_weights for chunk in self.chunks)

    @property
    def selected(self) -> int:
        """Events that Pythia selected before the generator filter."""
        return sum(chunk.selected for chunk in self.chunks)

    @property
    def cross_section(self) -> float:
        """Cross-section after the generator filter in pb.

        Each chunk's Monte Carlo estimate counts by the number of phase-space points behind it, so
        that the mean is what one long run would have given.
        """
        tried = sum(chunk.tried for chunk in self.chunks)
        return sum(chunk.cross_section * chunk.tried for chunk in self.chunks) / tried

    @property
    def cross_section_error(self) -> float:
        """Its statistical error in pb."""
        tried = sum(chunk.tried for chunk in self.chunks)
        return hypot(*(chunk.cross_section_error * chunk.tried for chunk in self.chunks)) / tried
