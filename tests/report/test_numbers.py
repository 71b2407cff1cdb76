"""Rounding as the Particle Data Group prescribes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.report.numbers import count, figure_text, significant, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        # The examples of the Review of Particle Physics: 0.827 ± 0.119 → 0.83 ± 0.12,
        # 0.827 ± 0.367 → 0.8 ± 0.4; errors from 950 on are rounded up to 1000.
        (0.827, 0.119, "0.83 ± 0.12"),
        (0.827, 0.367, "0.8 ± 0.4"),
        (0.827, 0.0964, "0.83 ± 0.10"),
        (8300.4, 29.06, "8\u202f300 ± 29"),
        (12345.0, 678.0, "12\u202f300 ± 700"),
        (-0.04, 1.2, "0.0 ± 1.2"),
        (-3.14159, 0.01, "−3.142 ± 0.010"),
    ],
)
def test_value_with_error(value, error, text):
    assert with_error(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.912345, "0.9123"), (1234567.0, "1\u202f235\u202f000"), (0.0, "0")]
)
def test_value_without_error(value, text):
    assert with_error(value, None) == text


@given(st.floats(1e-6, 1e6))
def test_rounded_error_is_within_a_seventh(error):
    places = significant(error)
    assert math.isclose(round(error, places), error, rel_tol=1 / 7)
    assert round(error, places) > 0


def test_error_that_is_undefined_is_marked():
    figure = {"value": 113.49, "error": None, "reason": "no error: undefined in 3 of 20"}
    assert figure_text(figure) == "110 ± ?"
    assert figure_text(figure | {"reason": None}) == "113.5"


def test_counts_and_undefined_figures():
    assert [count(9.0), count(9.26), count(10481.3)] == ["9", "9.3", "10\u202f481"]
    assert figure_text({"value": None, "error": None}) == "undefined"
