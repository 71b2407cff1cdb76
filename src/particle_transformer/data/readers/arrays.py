"""From awkward arrays to flat columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from particle_transformer.data.readers.protocol import Column
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["to_column"]


def to_column(array: ak.Array, name: str, path: Path | str) -> Column:
    """Lay out an awkward array of numbers, or of lists of numbers, as a `Column`.

    Raises
    ------
    InputFileError
        If the branch holds anything else (text, records, lists of lists, missing values).
    """
    layout = ak.to_layout(ak.to_packed(array))
    # A nullable column without a missing value is an ordinary one.
    if layout.is_option and not ak.any(ak.is_none(array)):
        layout = ak.to_layout(ak.to_packed(ak.drop_none(array, axis=0)))
    offsets = None
    if layout.is_list and layout.parameter("__array__") is None:
        listed = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(listed.offsets.data, dtype=np.int64)
        layout = listed.content[offsets[0] : offsets[-1]]
        if layout.is_option:
            inner = ak.Array(layout)
            if not ak.any(ak.is_none(inner)):
                layout = ak.to_layout(ak.to_packed(ak.drop_none(inner, axis=0)))
    if not layout.is_numpy or layout.purelist_depth != 1:
        message = (
            f"{path}: branch {name!r} holds {array.type.content}; expected one number, or a list "
            f"of numbers, per event"
        )
        raise InputFileError(message)
    values = np.asarray(layout.data)
    return Column(values.astype(values.dtype.newbyteorder("="), copy=False), offsets)
