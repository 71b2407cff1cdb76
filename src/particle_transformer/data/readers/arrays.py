"""From awkward arrays to flat columns."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from particle_transformer.data.readers.damage import damaged
from particle_transformer.data.readers.protocol import Column
from particle_transformer.errors import InputFileError

__all__ = ["to_column"]


def to_column(array: ak.Array, name: str, path: str) -> Column:
    """Lay out an awkward array of numbers, or of lists of numbers, as a `Column`.

    Raises
    ------
    InputFileError
        If the branch holds anything else (text, records, lists of lists, missing values), or its
        lists overlap their neighbours or reach outside their numbers.
    """
    _check_lists(ak.to_layout(array), name, path)
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
    if not layout.is_numpy or layout.purelist_depth != 1 or layout.dtype.kind not in "biuf":
        message = (
            f"{path}: branch {name!r} holds {array.type.content}; expected one number, or a list "
            f"of numbers, per event"
        )
        raise InputFileError(message)
    values = np.asarray(layout.data)
    return Column(values.astype(values.dtype.newbyteorder("="), copy=False), offsets)


def _check_lists(layout: Any, name: str, path: str) -> None:
    """Refuse offsets that awkward would follow out of the file's own numbers."""
    while layout.is_option or layout.is_indexed:
        layout = layout.content
    if not layout.is_list or layout.is_regular:
        return
    starts, stops = np.asarray(layout.starts.data), np.asarray(layout.stops.data)
    if not len(starts):
        return
    wrong = (starts < 0) | (stops < starts) | (stops > len(layout.content))
    # Offsets are of one piece by construction; separate starts and stops need not be in order.
    if wrong.any():
        entry = int(np.argmax(wrong))
        found = (
            f"branch {name!r}: the list of entry {entry} of those read goes from {starts[entry]} "
            f"to {stops[entry]} of {len(layout.content)} numbers"
        )
        raise damaged(path, found)
