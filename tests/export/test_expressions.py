"""Expressions on padded tensors against numpy's evaluation of the same columns."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from expressions.test_reference import EVENTS, OPERATIONS, cases
from particle_transformer.errors import ExpressionError
from particle_transformer.export.evaluate import evaluate
from particle_transformer.export.padded import PaddedValue, storage
from particle_transformer.expressions import Value, parse
from particle_transformer.expressions.elementwise import ELEMENTWISE

if TYPE_CHECKING:
    from expressions.test_reference import Event

GARBAGE = {"b": True, "i": 0, "u": 0, "f": math.nan}


def columns_of(sample: list[Event], dtype: type[np.floating[Any]]) -> dict[str, Value]:
    offsets = np.cumsum([0, *(len(event.jets) for event in sample)])
    jets = list(itertools.chain.from_iterable(event.jets for event in sample))
    return {
        "jets": Value(np.ones(len(jets), np.bool_), "jets", offsets),
        "jets.pt": Value(np.array([jet.pt for jet in jets], dtype), "jets", offsets),
        "jets.n": Value(np.array([jet.n for jet in jets], np.uint8), "jets", offsets),
        "jets.tagged": Value(np.array([jet.tagged for jet in jets], np.bool_), "jets", offsets),
        "met": Value(np.array([event.met for event in sample], dtype)),
        "k": Value(np.array([event.k for event in sample], np.int8)),
        "flag": Value(np.array([event.flag for event in sample])),
    }


def padded(value: Value, slots: int, shift: int) -> PaddedValue:
    """`value` on a grid, its objects behind `shift` slots of garbage."""
    tensor = torch.from_numpy(value.values).to(storage(value.values.dtype))
    if value.offsets is None:
        return PaddedValue(tensor, value.values.dtype)
    counts = np.diff(value.offsets)
    events = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(events)) - np.repeat(value.offsets[:-1], counts) + shift
    grid = torch.full((len(counts), slots), GARBAGE[value.values.dtype.kind], dtype=tensor.dtype)
    occupied = torch.zeros(grid.shape, dtype=torch.bool)
    grid[events, place] = tensor
    occupied[events, place] = True
    return PaddedValue(grid, value.values.dtype, value.collection, occupied)


def assert_agrees(text: str, columns: dict[str, Value], *, slots: int, shift: int) -> None:
    try:
        expected = parse(text).evaluate(columns.__getitem__)
    except ExpressionError as error:  # an integer modulo 0: no event with it has been prepared
        if "% 0" not in str(error):
            raise
        reject()
    found = evaluate(text, lambda name: padded(columns[name], slots, shift))
    if not isinstance(found, PaddedValue):
        np.testing.assert_equal(found, expected.values.item())
        return
    assert found.collection == expected.collection
    assert found.dtype.kind.replace("u", "i") == expected.values.dtype.kind.replace("u", "i")
    if found.dtype.kind == "f":
        assert found.dtype == expected.values.dtype
    values = found.values if found.occupied is None else found.values[found.occupied]
    precision = 2e-6 if expected.values.dtype == np.float32 else 1e-12
    exact = found.dtype.kind != "f"
    np.testing.assert_allclose(
        values.numpy(), expected.values, rtol=0 if exact else precision,
        atol=0 if exact else precision, err_msg=text,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=25, deadline=None)
@given(sample=EVENTS, data=st.data(), padding=st.tuples(st.integers(1, 3), st.integers(0, 2)))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the reference in plain Python
def test_agrees_with_numpy(
    operation: str,
    dtype: type[np.floating[Any]],
    sample: list[Event],
    data: st.DataObject,
    padding: tuple[int, int],
) -> None:
    case = data.draw(
        cases(data.draw(st.booleans()), data.draw(st.integers(1, 3)), operation=operation)
    )
    more, shift = padding
    slots = max(len(event.jets) for event in sample) + more + shift
    assert_agrees(case.text, columns_of(sample, dtype), slots=slots, shift=shift)


ANGLES = st.floats(-7, 7, width=32)
PLANE = st.floats(-300, 300, width=32)
ARGUMENTS = {
    "delta_phi": [ANGLES] * 2, "delta_r": [ANGLES] * 4, "px": [PLANE, ANGLES], "py": [PLANE, ANGLES],
    "pz": [PLANE, ANGLES], "energy": [PLANE, ANGLES, PLANE], "pt": [PLANE] * 2, "eta": [PLANE] * 3,
    "phi": [PLANE] * 2, "arctan2": [PLANE] * 2, "mass": [PLANE] * 4,
    "pair_mass": [PLANE, ANGLES, ANGLES, PLANE] * 2, "transverse_mass": [PLANE, ANGLES] * 2,
}  # fmt: skip


def test_every_function_is_known() -> None:
    from particle_transformer.export import elementwise

    assert set(elementwise.ELEMENTWISE) == set(ELEMENTWISE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_functions_agree_with_numpy(
    name: str, dtype: type[np.floating[Any]], data: st.DataObject
) -> None:
    drawn = [data.draw(strategy) for strategy in ARGUMENTS.get(name, [ANGLES])]
    if name in ("phi", "arctan2") and 0 in drawn:
        # numpy tells 0 from −0: there it gives −π where this gives π.
        drawn = [abs(value) for value in drawn]
    arguments = [np.array([value], dtype) for value in drawn]
    expected = evaluate_numpy(name, arguments)
    values = {f"x{n}": PaddedValue(torch.from_numpy(a), a.dtype) for n, a in enumerate(arguments)}
    found = evaluate(f"{name}({', '.join(values)})", values.__getitem__)
    assert isinstance(found, PaddedValue)
    # A mass of nearly light-like momenta has no more digits than E² − p².
    scale = (
        max(1.0, *map(abs, drawn)) * math.cosh(min(8, max(map(abs, drawn))))
        if "mass" in name
        else 1
    )
    precision = 3e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(
        found.values.numpy(),
        expected,
        rtol=precision,
        atol=precision * max(1, *map(abs, drawn)) + scale * 3e-8,
    )


def evaluate_numpy(name: str, arguments: list[np.ndarray]) -> np.ndarray:
    columns = {f"x{number}": Value(values) for number, values in enumerate(arguments)}
    text = f"{name}({', '.join(columns)})"
    return parse(text).evaluate(columns.__getitem__).values
