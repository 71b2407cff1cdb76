"""The expected yields of a process in bins, with their statistical error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Template"]


@dataclass(frozen=True)
class Template:
    """Weighted histogram.

    Attributes
    ----------
    yields
        float64 (bins,): Σw, in events.
    squares
        float64 (bins,): Σw², the variance of `yields` that the finite simulation leaves.

    Raises
    ------
    SampleError
        If the two have different shapes, or a number is not finite or a square negative.
    """

    yields: NDArray[np.float64]
    squares: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = self.yields.shape, self.squares.shape
        if self.yields.ndim != 1 or shapes[0] != shapes[1] or not self.yields.size:
            message = f"template: yields and squares have shapes {shapes[0]} and {shapes[1]}, "
            message += "expected the same (bins,) with 1 bin or more"
            raise SampleError(message)
        good = np.isfinite(self.yields) & np.isfinite(self.squares) & (self.squares >= 0)
        if not good.all():
            place = int(np.argmin(good))
            message = (
                f"template: bin {place} holds {self.yields[place]:g} with the sum of squared "
                f"weights {self.squares[place]:g}, expected finite numbers and squares >= 0"
            )
            raise SampleError(message)

    @classmethod
    def fill(cls, index: NDArray[np.int64], weight: NDArray[np.float64], bins: int) -> Template:
        """Sum weights by bin.

        Parameters
        ----------
        index
            int64 (events,): bin of each event, 0 to ``bins - 1``.
        weight
            float64 (events,): signed physics weights.
        bins
            How many bins.
        """
        return cls(
            np.bincount(index, weight, minlength=bins).astype(np.float64),
            np.bincount(index, np.square(weight), minlength=bins).astype(np.float64),
        )

    @property
    def error(self) -> NDArray[np.float64]:
        """√Σw² of each bin, float64 (bins,)."""
        root: NDArray[np.float64] = np.sqrt(self.squares)
        return root
