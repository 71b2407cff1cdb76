"""Luminosity masks against a loop over a dictionary, and what is refused."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.data.lumi_mask import read_lumi_mask
from particle_transformer.errors import InputFileError

RANGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=5).map(
    lambda drawn: [[first, first + more] for first, more in drawn]
)
# Runs next to each other, and far apart; ranges overlap, touch and come in any order.
MASKS = st.dictionaries(st.sampled_from([0, 1, 2, 5, 2**40]), RANGES, max_size=5)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([-1, 0, 1, 2, 3, 5, 2**40, 2**62]),
        st.integers(-2, 20) | st.sampled_from([2**32, 2**62]),
    ),
    max_size=40,
)


def written(content: Any, folder: Path) -> Path:
    path = folder / "golden.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@given(MASKS, EVENTS)
def test_a_mask_equals_a_loop_over_its_dictionary(
    certified: dict[int, list[list[int]]], events: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mask = read_lumi_mask(written(certified, Path(folder)))
    run, section = (np.array([event[i] for event in events], dtype=np.int64) for i in (0, 1))
    expected = [any(first <= s <= last for first, last in certified.get(r, [])) for r, s in events]
    found = mask(run, section)
    assert found.dtype == np.bool_
    assert found.tolist() == expected
    assert pickle.loads(pickle.dumps(mask))(run, section).tolist() == expected


def test_the_largest_section_and_unsigned_columns(tmp_path: Path) -> None:
    mask = read_lumi_mask(written({"7": [[1, 2**32 - 1]], "8": [[0, 0]]}, tmp_path))
    run = np.array([7, 7, 8, 8], dtype=np.uint32)
    assert mask(run, np.array([2**32 - 1, 0, 0, 1], dtype=np.uint32)).tolist() == [1, 0, 1, 0]


def test_runs_without_certified_sections(tmp_path: Path) -> None:
    mask = read_lumi_mask(written({"1": [], "2": [[1, 4]]}, tmp_path))
    assert mask([1, 2], [1, 1]).tolist() == [False, True]
    assert read_lumi_mask(written({}, tmp_path))([1], [1]).tolist() == [False]
    assert read_lumi_mask(written({"1": []}, tmp_path))([1], [0]).tolist() == [False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"1": [], "2": [[1, 2]], "1": []}', "not valid JSON [(]1 is given twice[)]"),
        ([[1, 2]], r'holds a list, expected {"run": \[\[first, last\], ...\]}'),
        ({"abc": []}, "run 'abc' of the luminosity mask is not a run number"),
        ({"-1": []}, "run '-1' of"),
        ({"01": []}, "run '01' of"),
        ({"1": {"2": 3}}, "run 1 of the luminosity mask has {'2': 3}, expected a list of ranges"),
        ({"1": [1, 2]}, r"run 1 of the luminosity mask has the range 1, expected \[first, last\]"),
        ({"1": [[1, 2, 3]]}, r"run 1 .* has the range \[1, 2, 3\]"),
        ({"3": [[1, 2]], "1": [[1, 2], [2, 1]]}, r"run 1 .* has the range \[2, 1\]"),
        ({"1": [[1.0, 2]]}, r"run 1 .* has the range \[1.0, 2\]"),
        ({"1": [[True, 2]]}, r"run 1 .* has the range \[True, 2\]"),
        ({"1": [[-1, 2]]}, r"run 1 .* has the range \[-1, 2\]"),
        ({"1": [[1, 2**32]]}, r"run 1 .* has the range \[1, 4294967296\]"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = written(content, tmp_path)
    with pytest.raises(InputFileError, match=f"^{path}: .*{message}") as caught:
        read_lumi_mask(path)
    assert "\n" not in str(caught.value)


def test_unreadable_masks(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none.json: cannot read .*No such file"):
        read_lumi_mask(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff")
    with pytest.raises(InputFileError, match=r"binary.json: .*UTF-8 [(]byte 0[)]"):
        read_lumi_mask(str(tmp_path / "binary.json"))
