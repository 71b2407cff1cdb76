"""Input files to prepared events: readers, selections, normalisation, the store."""

from particle_transformer.data.manifest import CutflowRow, InputRecord, Manifest, read_manifest
from particle_transformer.data.prepare import check_inputs, prepare
from particle_transformer.data.rows import StoreRows
from particle_transformer.data.store import Store
from particle_transformer.data.tasks import Runner

__all__ = [
    "CutflowRow",
    "InputRecord",
    "Manifest",
    "Runner",
    "Store",
    "StoreRows",
    "check_inputs",
    "prepare",
    "read_manifest",
]
