"""Events in memory: columns, packed batches, folds.

`PackedBatch` lives in `particle_transformer.events.packed`, which imports torch; nothing else
here does.
"""

from particle_transformer.events.columns import Events, Ragged
from particle_transformer.events.folds import fold_of, identity_hash, is_validation, split_roles

__all__ = ["Events", "Ragged", "fold_of", "identity_hash", "is_validation", "split_roles"]
