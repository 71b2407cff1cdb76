"""The fold hash of docs/folds.md in plain Python integers, written from that page alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIME = 2_147_483_647


def round_constant(index: int) -> int:
    """The page's rule for c_r."""
    digest = hashlib.sha256(f"analysis-object-transformer fold round {index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % PRIME


CONSTANTS = [round_constant(index) for index in range(8)]


def reference_hash(parts: Sequence[int], salt: int) -> int:
    """h of one event; `parts` are signed 64-bit numbers."""
    state = salt % PRIME
    for part in parts:
        state = (state + part) % PRIME
        for constant in CONSTANTS:
            state = pow(state + constant, 5, PRIME)
    return state
