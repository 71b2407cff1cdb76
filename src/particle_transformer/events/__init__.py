"""Events in memory: columns, packed batches, folds.

`PackedBatch` lives in `particle_transformer.events.packed`, which imports torch; nothing else
here does.
"""

from particle_transformer.events.columns import Events, Ragged
from particle_transformer.events.folds import fold_of, identity_hash, is_validation, split_roles
from particle_transformer.events.permutation import Permutation
from particle_transformer.events.rowset import RowSet, RowSetBuilder
from particle_transformer.events.source import EventSource

__all__ = [
    "EventSource",
    "Events",
    "Permutation",
    "Ragged",
    "RowSet",
    "RowSetBuilder",
    "fold_of",
    "identity_hash",
    "is_validation",
    "split_roles",
]
