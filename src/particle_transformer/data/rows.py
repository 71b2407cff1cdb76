"""Rows of a prepared store, drawn without reading the rest of it into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.events import Events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from particle_transformer.data.store import Store

__all__ = ["StoreRows"]


class StoreRows:
    """The events of a store as a table on disk: an `EventSource`.

    A shard is mapped only while rows of it are gathered: pages that were read count as the
    program's memory for as long as they are mapped, and every mapping takes a file descriptor.
    So at most one shard is in memory, and any number of shards will do. Opening a shard costs as
    much as gathering some hundred events; ask `take` for many events at a time.

    Parameters
    ----------
    store
        The store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._starts = np.cumsum([0, *store.rows])  # int64 (shards + 1,): first row of each shard

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, index: NDArray[np.int64]) -> Events:
        """The events of the rows `index` (int64 (selected,)), in that order.

        Rows count through the shards in their order; rows that are in variations only count, too
        (all their region flags are False).

        Raises
        ------
        InputFileError
            If a shard has been removed or damaged meanwhile.
        """
        order = np.argsort(index, kind="stable")
        rows = index[order]
        cuts = np.searchsorted(rows, self._starts)
        touched = np.flatnonzero(np.diff(cuts))
        if not touched.size:
            return self.store.shard(0, np.empty(0, dtype=np.int64))
        gathered = Events.concatenate(
            [
                self.store.shard(shard, rows[cuts[shard] : cuts[shard + 1]] - self._starts[shard])
                for shard in touched.tolist()
            ]
        )
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return gathered.take(back)

    def chunks(self) -> Iterator[Events]:
        """All events in order, as pieces of one shard each; see `EventSource.chunks`."""
        for shard in range(len(self._starts) - 1):
            yield from self.store.shard(shard).chunks()
