"""Means over the events of an epoch, of all ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

__all__ = ["EpochMeans"]


class EpochMeans:
    """Sums of what batches have as means, which can be kept in a checkpoint and taken up again."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # float64 (2,) each: Σ mean × events, events

    def add(self, means: Mapping[str, Tensor], events: float) -> None:
        """Take the means over the `events` of a batch; a mean counts by their number."""
        for name, mean in means.items():
            value = mean.detach().double()
            pair = torch.stack([value * events, torch.full_like(value, events)])  # (2,)
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def finish(self, total: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """The means of all ranks, and begin anew; `total` adds tensors over ranks."""
        totals = {name: total(pair) for name, pair in self._sums.items()}
        self._sums = {}
        return {name: (sums[0] / sums[1]).float() for name, sums in totals.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """The sums so far."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on with the sums of a checkpoint."""
        self._sums = {name: pair.to(device) for name, pair in state.items()}
