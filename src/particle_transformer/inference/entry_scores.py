"""What is said of every entry of a range, and what its columns are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.inference.columns import plain

if TYPE_CHECKING:
    from collections import Counter

    from numpy.typing import NDArray

__all__ = ["EntryScores", "column_name"]


@dataclass(frozen=True)
class EntryScores:
    """Scores of a range of entries, a row for each, in their order.

    Attributes
    ----------
    nominal
        Columns by name, (entries,) each: ``score`` float64, the probability of signal by the
        networks of the event's own fold; ``score_ensemble`` float64, that by the networks of all
        folds; ``probability_CLASS`` float64 where there are three classes or more, ``score_1`` and
        ``score_2`` of two scores, ``regression_TARGET``; ``fold`` int16; ``region_NAME`` bool,
        whether the event is in the region. Where the networks are conditioned, scores have the
        hypothesis in their names (``score_mass_900``), and there is no other.
        An event in no region has the fill value everywhere, and −1 as its fold.
    varied
        The same columns but ``fold`` by the side of a variation (``JES.up``), under their nominal
        names. A variation that changes weights alone is not here: its scores are the nominal.
    selected
        How many entries are in a region, and so have a score; not in a variation only.
    refused
        How many of those have no ensemble mean, because networks were trained with them, or might
        have been.
    truncated
        Objects beyond ``max``, which the networks do not see, as in the training; by collection,
        of the selected events.
    non_finite
        Events in a region without a score because a feature is not finite, by feature.
    identity
        The branches that identify events, and run, luminosity section and event number where the
        file has them: integers (entries,) by the file's name for them.
    """

    nominal: dict[str, NDArray[Any]]
    varied: dict[str, dict[str, NDArray[Any]]]
    selected: int
    refused: int
    truncated: Counter[str]
    non_finite: Counter[str]
    identity: dict[str, NDArray[Any]]

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """All of them, those of variations with their names behind: ``score_JES_up``."""
        found = dict(self.nominal)
        for variation, columns in self.varied.items():
            found |= {column_name(name, variation): each for name, each in columns.items()}
        return found


def column_name(name: str, variation: str) -> str:
    """The name of a varied column among the others: ``score`` of JES.up is ``score_JES_up``."""
    return f"{name}_{plain(variation)}"
