"""The fold hash against its published page, a reference in plain integers, and statistics."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.fold_hash import CONSTANTS, reference_hash, round_constant
from particle_transformer.errors import SampleError
from particle_transformer.events import fold_of, identity_hash, is_validation, split_roles
from particle_transformer.events.folds import PRIME, ROUND_CONSTANTS

PAGE = Path(__file__).parents[2] / "docs" / "folds.md"

int64 = st.integers(-(2**63), 2**63 - 1)
identities = st.integers(1, 3).flatmap(
    lambda parts: hnp.arrays(
        np.int64, st.tuples(st.integers(0, 40), st.just(parts)), elements=int64
    )
)


def one(*parts: int) -> np.ndarray:
    return np.array([parts], dtype=np.int64)


def rows_below(heading: str) -> list[list[str]]:
    """Cells of the Markdown table that follows a line with `heading`."""
    lines = PAGE.read_text(encoding="utf-8").split(heading, 1)[1].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table[2:]


def numbers(cell: str) -> list[int]:
    return [] if cell == "none" else [int(text) for text in cell.split(",")]


VECTORS = rows_below("## Test vectors")


def test_the_page_has_the_cases_that_break_careless_implementations():
    published = {tuple(numbers(row[0])) for row in VECTORS}
    assert {(0,), (1,), (-1,), (2**31 - 1,), (2**60 + 1,), (-(2**63),), (2**63 - 1,)} <= published
    assert sum(len(parts) == 3 for parts in published) >= 3


@pytest.mark.parametrize("row", VECTORS, ids=[row[0] for row in VECTORS])
def test_published_vectors(row):
    parts = numbers(row[0])
    plain, fold_of_5, fold_of_2, salted = map(int, row[1:5])
    assert reference_hash(parts, 0) == plain
    assert reference_hash(parts, 1) == salted
    identity = one(*parts)
    assert identity_hash(identity, 0).tolist() == [plain]
    assert identity_hash(identity, 1).tolist() == [salted]
    assert fold_of(identity, 5).tolist() == [fold_of_5]
    assert fold_of(identity, 2).tolist() == [fold_of_2]
    validating = [
        fold for fold in range(5) if fold != fold_of_5 and is_validation(identity, fold)[0]
    ]
    assert validating == numbers(row[5])


def test_round_constants_come_from_sha256():
    assert list(ROUND_CONSTANTS) == [round_constant(index) for index in range(8)]
    assert [int(row[1]) for row in rows_below("modulo p:")] == list(ROUND_CONSTANTS)


def test_fifth_power_is_a_bijection():
    assert PRIME == 2**31 - 1
    assert math.gcd(5, PRIME - 1) == 1
    # Its inverse exists: x ↦ x^d with 5 d = 1 mod p − 1.
    inverse = pow(5, -1, PRIME - 1)
    for value in (0, 1, 2, 12345, PRIME - 1):
        assert pow(pow(value, 5, PRIME), inverse, PRIME) == value


@given(identities, st.integers(0, 100))
def test_equals_the_reference_in_plain_integers(identity, salt):
    expected = [reference_hash(row, salt) for row in identity.tolist()]
    assert identity_hash(identity, salt).tolist() == expected


@given(identities, st.integers(0, 20))
def test_torch_int64_gives_the_same_bits(identity, salt):
    parts = torch.from_numpy(identity)
    state = torch.full((len(parts),), salt, dtype=torch.int64)
    for part in parts.unbind(1):
        state = torch.remainder(state + torch.remainder(part, PRIME), PRIME)
        for constant in CONSTANTS:
            state = torch.remainder(state + constant, PRIME)
            square = torch.remainder(state * state, PRIME)
            fourth = torch.remainder(square * square, PRIME)
            state = torch.remainder(fourth * state, PRIME)
    assert state.tolist() == identity_hash(identity, salt).tolist()


@given(identities, st.integers(2, 12))
def test_roles_are_disjoint_complete_and_every_event_is_tested_once(identity, folds):
    everything = np.arange(len(identity))
    tested = np.zeros(len(identity), dtype=int)
    for fold in range(folds):
        training, validation, test = split_roles(identity, fold, folds)
        together = np.concatenate([training, validation, test])
        np.testing.assert_array_equal(np.sort(together), everything)
        np.testing.assert_array_equal(test, np.flatnonzero(fold_of(identity, folds) == fold))
        tested[test] += 1
    assert (tested == 1).all()


@given(identities, st.randoms(use_true_random=False))
def test_roles_do_not_depend_on_the_other_events(identity, random):
    order = list(range(len(identity)))
    random.shuffle(order)
    np.testing.assert_array_equal(fold_of(identity[order], 5), fold_of(identity, 5)[order])


def chi_square(counts: np.ndarray, expected: np.ndarray | float) -> float:
    return float((np.square(counts - expected) / expected).sum())


def blocks() -> list[tuple[str, np.ndarray]]:
    random = np.random.default_rng(11)
    starts = [0, 1, 10_000, 2**31 - 500, 2**31, 2**40, 2**60, -5_000]
    found = [(f"from {start}", start + np.arange(10_000)) for start in starts]
    found += [(f"stride {step}", step * np.arange(10_000)) for step in (2, 5, 25, 1000, 2**20)]
    found += [("random 64-bit", random.integers(-(2**63), 2**63 - 1, 10_000)) for _ in range(4)]
    return found


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_fold_sizes_are_binomial(folds):
    # The χ² of each block has k − 1 degrees of freedom; a hash that is too even (a counter) fails
    # as surely as one that is too uneven. The bounds on the sum are 5σ.
    values = []
    for name, numbers_ in blocks():
        counts = np.bincount(fold_of(numbers_[:, np.newaxis], folds), minlength=folds)
        found = chi_square(counts, len(numbers_) / folds)
        assert found < folds - 1 + 6 * np.sqrt(2 * (folds - 1)) + 6, name
        values.append(found)
    degrees = (folds - 1) * len(values)
    assert abs(sum(values) - degrees) < 5 * np.sqrt(2 * degrees)


def test_runs_and_luminosity_sections_with_the_same_event_numbers_are_spread():
    run, section, event = np.meshgrid(np.arange(20), np.arange(25), np.arange(20))
    identity = np.stack([run.ravel(), section.ravel(), event.ravel()], axis=1)
    counts = np.bincount(fold_of(identity, 5), minlength=5)
    assert chi_square(counts, len(identity) / 5) < 4 + 6 * np.sqrt(8)
    # Each part matters: neighbours that differ in one part only share a fold in 1/5 of the cases.
    for part in range(3):
        moved = identity.copy()
        moved[:, part] += 1
        same = (fold_of(moved, 5) == fold_of(identity, 5)).mean()
        assert abs(same - 0.2) < 5 * np.sqrt(0.2 * 0.8 / len(identity))


@pytest.mark.parametrize("fold", range(5))
def test_validation_is_a_fifth_and_independent_of_the_folds(fold):
    identity = np.arange(100_000)[:, np.newaxis]
    chosen = is_validation(identity, fold)
    size = len(identity)
    assert abs(chosen.sum() - size / 5) < 5 * np.sqrt(size * 0.2 * 0.8)
    folds = fold_of(identity, 5)
    table = np.array([np.bincount(folds[flags], minlength=5) for flags in (chosen, ~chosen)])
    expected = table.sum(0) * table.sum(1, keepdims=True) / size
    assert chi_square(table, expected) < 4 + 6 * np.sqrt(8)  # 4 degrees of freedom
    # Nor does one network's validation set foretell the next one's.
    other = is_validation(identity, (fold + 1) % 5)
    assert abs((chosen & other).sum() - size / 25) < 5 * np.sqrt(size / 25)


@pytest.mark.parametrize(("fold", "folds"), [(0, 1), (0, 0), (-1, 5), (5, 5), (0, -3)], ids=str)
def test_impossible_folds_are_errors(fold, folds):
    with pytest.raises(SampleError, match=rf"^fold {fold} of {folds}: expected at least 2 folds"):
        split_roles(one(1), fold, folds)


def test_the_page_mentions_every_number_of_the_algorithm():
    text = PAGE.read_text(encoding="utf-8")
    assert str(PRIME) in text
    assert re.search(r"salt 1 \+ f\) mod 5 = 0", text)
