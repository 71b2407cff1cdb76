"""The compiled attention: against a float64 formula, its gradients, its dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from model.reference import attend_one
from particle_transformer.model.kernels import attend, attend_from_class, usable

HEADS = 2
multiplicities = st.lists(st.integers(0, 19), min_size=0, max_size=6)
few = settings(max_examples=15, deadline=None)


def _offsets(counts: list[int]) -> torch.Tensor:
    return torch.tensor(np.cumsum([0, *counts]), dtype=torch.int64)


def _pair_offsets(counts: list[int]) -> torch.Tensor:
    return _offsets([n * (n - 1) // 2 for n in counts])


def _inputs(counts: list[int], dim: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """query_key_value (objects, 3 × heads × dim) and bias (pairs, heads), float64."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(sum(counts), 3 * HEADS * dim)) * 1.5
    bias = rng.normal(size=(int(_pair_offsets(counts)[-1]), HEADS)) * 2
    return torch.from_numpy(rows), torch.from_numpy(bias)


def _expected(counts: list[int], rows: torch.Tensor, bias: torch.Tensor | None) -> np.ndarray:
    """One query at a time, in numpy."""
    out = []
    pair = iter(range(10**9))
    for event in np.split(rows.numpy(), np.cumsum(counts)[:-1]) if counts else []:
        n = len(event)
        scores = np.zeros((n, HEADS, n))
        for i in range(n):
            for j in range(i + 1, n):
                p = next(pair)
                if bias is not None:
                    scores[i, :, j] = scores[j, :, i] = bias[p].numpy()
        query, key, value = np.split(event, 3, axis=1)
        out += [attend_one(query[i], [*key], [*value], scores[i], HEADS) for i in range(n)]
    return np.array(out).reshape(len(rows), rows.shape[1] // 3)


def _attend(
    counts: list[int],
    rows: torch.Tensor,
    bias: torch.Tensor | None,
    dropout: float = 0.0,
    seed: int = 0,
) -> torch.Tensor:
    pairs = None if bias is None else _pair_offsets(counts)
    attended: torch.Tensor = attend(rows, _offsets(counts), bias, pairs, HEADS, dropout, seed)
    return attended


def test_this_machine_has_a_compiler() -> None:
    # The other tests of this file would test nothing.
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert usable(torch.zeros(1, dtype=dtype))
    assert not usable(torch.zeros(1, dtype=torch.float16))
    assert not usable(torch.zeros(1, device="meta"))


@pytest.mark.parametrize("dim", [1, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("with_bias", [False, True], ids=["plain", "bias"])
@few
@given(counts=multiplicities, seed=st.integers(0, 2**31))
def test_attention_equals_the_formula(
    dim: int, with_bias: bool, counts: list[int], seed: int
) -> None:
    rows, bias = _inputs(counts, dim, seed)
    chosen = bias if with_bias else None
    expected = torch.from_numpy(_expected(counts, rows, chosen))
    assert_close(_attend(counts, rows, chosen), expected, rtol=1e-12, atol=1e-12)
    single = None if chosen is None else chosen.float()
    assert_close(_attend(counts, rows.float(), single), expected.float(), rtol=2e-5, atol=2e-5)
    # bfloat16 keeps 8 bits: inputs and outputs are rounded, the arithmetic between is float32.
    rounded = rows.bfloat16()
    half = None if chosen is None else chosen.bfloat16()
    formula = _expected(counts, rounded.double(), None if half is None else half.double())
    result = _attend(counts, rounded, half)
    assert result.dtype == torch.bfloat16
    assert_close(result.double(), torch.from_numpy(formula), rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("with_bias", [False, True], ids=["plain", "bias"])
def test_gradients_are_those_of_what_was_computed(with_bias: bool, dropout: float) -> None:
    counts = [3, 0, 1, 5]
    rows, bias = _inputs(counts, 3, 7)
    rows.requires_grad_()
    if with_bias:
        bias.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda r, b: _attend(counts, r, b, dropout, seed=11), (rows, bias)
        )
    else:
        assert torch.autograd.gradcheck(
            lambda r: _attend(counts, r, None, dropout, seed=11), (rows,)
        )


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_of_class_attention(dropout: float) -> None:
    counts = [3, 0, 1, 5]
    query, class_rows, rows = _class_inputs(counts, 3)
    for tensor in (query, class_rows, rows):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda q, c, r: attend_from_class(q, c, r, _offsets(counts), HEADS, dropout, 5),
        (query, class_rows, rows),
    )


@pytest.mark.parametrize("dim", [1, 8, 16])
@few
@given(counts=multiplicities)
def test_class_attention_equals_the_formula(dim: int, counts: list[int]) -> None:
    query, class_rows, rows = _class_inputs(counts, dim)
    expected = []
    for event, start in enumerate(_offsets(counts)[:-1].tolist()):
        keys = np.concatenate([class_rows[event : event + 1], rows[start : start + counts[event]]])
        key, value = np.split(keys, 2, axis=1)
        nothing = np.zeros((HEADS, len(keys)))
        expected.append(attend_one(query[event].numpy(), [*key], [*value], nothing, HEADS))
    formula = torch.from_numpy(np.array(expected).reshape(len(counts), HEADS * dim))
    result = attend_from_class(query, class_rows, rows, _offsets(counts), HEADS, 0.0, 0)
    assert_close(result, formula, rtol=1e-12, atol=1e-12)
    single = attend_from_class(
        query.float(), class_rows.float(), rows.float(), _offsets(counts), HEADS, 0.0, 0
    )
    assert_close(single, formula.float(), rtol=2e-5, atol=2e-5)


def _class_inputs(counts: list[int], dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    width = HEADS * dim
    shapes = [(len(counts), width), (len(counts), 2 * width), (sum(counts), 2 * width)]
    first, second, third = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    return first, second, third


def test_the_operators_keep_the_rules_of_pytorch() -> None:
    counts = [2, 0, 3]
    rows, bias = _inputs(counts, 4, 1)
    pairs = _pair_offsets(counts)
    arguments: list[tuple[Any, ...]] = [
        (rows.requires_grad_(), _offsets(counts), None, None, HEADS, 0.0, 0),
        (rows, _offsets(counts), bias.requires_grad_(), pairs, HEADS, 0.5, 3),
    ]
    for given_ in arguments:
        torch.library.opcheck(attend, given_)
    query, class_rows, objects = _class_inputs(counts, 4)
    torch.library.opcheck(
        attend_from_class,
        (query.requires_grad_(), class_rows, objects, _offsets(counts), HEADS, 0.0, 0),
    )


def test_strided_inputs_are_read_right() -> None:
    counts = [3, 2]
    rows, _ = _inputs(counts, 4, 2)
    strided = torch.stack([rows, rows + 1], -1)[..., 0]
    assert not strided.is_contiguous()
    assert torch.equal(_attend(counts, strided, None), _attend(counts, rows, None))


def test_dropout_drops_what_it_says_and_keeps_the_mean() -> None:
    # Equal scores, and value j is the j-th unit vector: the result is the row of weights itself.
    n, events = 4, 4000
    counts = [n] * events
    rows = torch.zeros(n * events, 3 * HEADS * n)
    unit = torch.eye(n).repeat(events, HEADS)  # (objects, heads × n)
    rows[:, 2 * HEADS * n :] = unit
    p = 0.3
    weights = _attend(counts, rows, None, dropout=p, seed=42)
    kept = (weights > 0).double()
    # Each weight is 0, or 1 / (n (1 − p)).
    assert_close(weights, (kept / (n * (1 - p))).float(), rtol=1e-5, atol=0)
    sigma = (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(float(kept.mean()) - (1 - p)) < 4 * sigma
    # No two heads, queries or keys share their fate.
    flags = kept.view(events, n, HEADS, n)
    for one, other in [
        (flags[:, 0], flags[:, 1]),
        (flags[:, :, 0], flags[:, :, 1]),
        (flags[..., 0], flags[..., 1]),
    ]:
        together = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(float(together)) < 4 / one.numel() ** 0.5
    assert torch.equal(weights, _attend(counts, rows, None, dropout=p, seed=42))
    assert not torch.equal(weights, _attend(counts, rows, None, dropout=p, seed=43))


def test_a_nan_stays_in_its_event_and_is_not_hidden() -> None:
    counts = [2, 3, 2]
    rows, _ = _inputs(counts, 8, 5)
    rows = rows.float()
    rows[3, 0] = torch.nan  # a query of the second event
    attended = _attend(counts, rows, None)
    assert attended[3].isnan().any()
    assert attended[[0, 1, 2, 4, 5, 6]].isfinite().all()


def test_scores_of_any_size_give_probabilities() -> None:
    counts = [3]
    rows = torch.zeros(3, 3 * HEADS * 4)
    rows[:, : HEADS * 4] = 1e4
    rows[0, HEADS * 4 : 2 * HEADS * 4] = 1e4
    rows[1, HEADS * 4 : 2 * HEADS * 4] = -1e4
    rows[:, 2 * HEADS * 4 :] = torch.arange(3.0)[:, None]
    # The first key wins by 10⁸: its value, 0, is the result.
    assert torch.equal(_attend(counts, rows, None), torch.zeros(3, HEADS * 4))
