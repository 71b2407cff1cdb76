"""Distance correlation of a batch: value and gradient against the definition; its laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.testing import assert_close

from losses.reference import brute_force
from particle_transformer.errors import ModelInputError, SampleError
from particle_transformer.losses.distance_correlation import distance_correlation_squared

if TYPE_CHECKING:
    from torch import Tensor

Columns = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _columns(events: int, seed: int = 0, *, ties: bool = False, signed: bool = False) -> Columns:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(events, dtype=torch.float64, generator=generator)
    y = x.square() + torch.randn(events, dtype=torch.float64, generator=generator)
    weight = torch.rand(events, dtype=torch.float64, generator=generator) + 0.1
    if ties:
        x, y = (2 * x).round(), (2 * y).round()
    if signed:
        weight[::5] *= -0.5
    return x, y, weight


def _value_and_slopes(function: object, x: Tensor, y: Tensor, weight: Tensor) -> list[Tensor]:
    assert callable(function)
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = function(x, y, weight)
    return [value.detach(), *torch.autograd.grad(value, (x, y))]


batches = st.builds(
    _columns,
    st.integers(5, 40),
    st.integers(0, 2**31),
    ties=st.booleans(),
    signed=st.just(False),
)


@pytest.mark.parametrize("events", [2, 3, 4, 7, 64, 65, 300])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_value_and_gradients_are_those_of_the_definition(
    events: int, ties: bool, signed: bool
) -> None:
    columns = _columns(events, events, ties=ties, signed=signed and events > 60)
    expected = _value_and_slopes(brute_force, *columns)
    found = _value_and_slopes(distance_correlation_squared, *columns)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=1e-9, atol=1e-11)


@given(batches)
def test_any_batch_has_the_value_and_gradients_of_the_definition(columns: Columns) -> None:
    x, y, _ = columns
    assume(x.min() < x.max() and y.min() < y.max())  # else 0/0
    expected = _value_and_slopes(brute_force, *columns)
    found = _value_and_slopes(distance_correlation_squared, *columns)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=1e-8, atol=1e-10)


@given(st.integers(2, 40), st.integers(0, 2**31), st.booleans())
def test_signed_weights_never_make_it_negative(events: int, seed: int, ties: bool) -> None:
    x, y, _ = _columns(events, seed, ties=ties)
    generator = torch.Generator().manual_seed(seed)
    weight = 0.5 + torch.randn(events, dtype=torch.float64, generator=generator)
    assume(weight.sum() > 0.05)
    assert distance_correlation_squared(x, y, weight) >= -1e-9


def test_gradcheck() -> None:
    x, y, weight = _columns(20)
    assert torch.autograd.gradcheck(
        lambda x, y: distance_correlation_squared(x, y, weight),
        (x.requires_grad_(), y.requires_grad_()),
        eps=1e-7,
    )


def test_by_hand() -> None:
    # Three events 0, 1, 2 with y = 0, 1, 0. Distances 0 1 2 / 1 0 1 / 2 1 0 have the row means
    # 1, 2/3, 1 and the mean 8/9; 0 1 0 / 1 0 1 / 0 1 0 have 1/3, 2/3, 1/3 and 4/9. Centred, in
    # ninths: A = -10 2 8 / 2 -4 2 / 8 2 -10, B = -2 4 -2 / 4 -8 4 / -2 4 -2.
    # Σ A B = 40 + 32 − 32 + 32 = 72, Σ A² = 360, Σ B² = 144: dCorr² = 72 / √(360 · 144) = 1/√10.
    value = distance_correlation_squared(
        torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 0.0]), torch.ones(3)
    )
    assert float(value) == pytest.approx(10**-0.5, rel=1e-6)


def test_it_is_one_for_a_line_and_positive_for_an_uncorrelated_parabola() -> None:
    x = torch.linspace(-1, 1, 101)
    assert float(distance_correlation_squared(x, 3 - 2 * x, torch.ones(101))) == pytest.approx(1)
    assert float(distance_correlation_squared(x, x.square(), torch.ones(101))) > 0.2


@given(batches, st.floats(0.01, 100), st.floats(-100, 100), st.booleans(), st.booleans())
def test_scale_and_shift_of_either_change_nothing(
    columns: Columns, factor: float, shift: float, mirrored: bool, second: bool
) -> None:
    x, y, weight = columns
    factor = -factor if mirrored else factor
    expected, *slopes = _value_and_slopes(distance_correlation_squared, x, y, weight)
    moved = (x, factor * y + shift) if second else (factor * x + shift, y)
    value, *moved_slopes = _value_and_slopes(distance_correlation_squared, *moved, weight)
    assert_close(value, expected, rtol=1e-8, atol=1e-10)
    assert_close(factor * moved_slopes[second], slopes[second], rtol=1e-7, atol=1e-9)
    assert_close(moved_slopes[not second], slopes[not second], rtol=1e-7, atol=1e-9)


@given(batches, st.floats(1e-6, 1e6))
def test_the_scale_of_the_weights_changes_nothing(columns: Columns, factor: float) -> None:
    x, y, weight = columns
    expected = _value_and_slopes(distance_correlation_squared, x, y, weight)
    found = _value_and_slopes(distance_correlation_squared, x, y, factor * weight)
    assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(batches, st.integers(0, 4), st.floats(0.1, 0.9))
def test_an_event_in_two_parts_is_the_same_event(
    columns: Columns, event: int, share: float
) -> None:
    x, y, weight = columns
    expected = _value_and_slopes(distance_correlation_squared, x, y, weight)
    parts = torch.cat([weight, (1 - share) * weight[event : event + 1]])
    parts[event] *= share
    value, *slopes = _value_and_slopes(
        distance_correlation_squared,
        torch.cat([x, x[event : event + 1]]),
        torch.cat([y, y[event : event + 1]]),
        parts,
    )
    assert_close(value, expected[0], rtol=1e-9, atol=1e-11)
    for found, whole in zip(slopes, expected[1:], strict=True):
        # The parts are pulled by their share of the event's gradient, and nothing else changes.
        assert_close(found[:-1][event], share * whole[event], rtol=1e-8, atol=1e-10)
        assert_close(found[-1], (1 - share) * whole[event], rtol=1e-8, atol=1e-10)
        others = torch.arange(len(whole)) != event
        assert_close(found[:-1][others], whole[others], rtol=1e-8, atol=1e-10)


@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(columns: Columns, random: object) -> None:
    assert hasattr(random, "sample")
    order = torch.tensor(random.sample(range(len(columns[0])), len(columns[0])))
    value, *slopes = _value_and_slopes(distance_correlation_squared, *columns)
    again, *permuted = _value_and_slopes(
        distance_correlation_squared, *(column[order] for column in columns)
    )
    assert_close(again, value, rtol=1e-10, atol=1e-12)
    for found, expected in zip(permuted, slopes, strict=True):
        assert_close(found, expected[order], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", ["x", "y", "both"])
def test_a_constant_has_no_correlation_and_no_gradient(dtype: torch.dtype, constant: str) -> None:
    x, y, weight = (column.to(dtype) for column in _columns(50))
    x = torch.full_like(x, 0.3) if constant in ("x", "both") else x
    y = torch.full_like(y, 91.1876) if constant in ("y", "both") else y
    value, x_slope, y_slope = _value_and_slopes(distance_correlation_squared, x, y, weight)
    assert float(value) == 0
    assert not x_slope.any()
    assert not y_slope.any()


def test_a_score_constant_but_for_events_without_weight_is_constant() -> None:
    x, y, weight = _columns(20)
    x[1:], weight[0] = 0.7, 0.0
    value, x_slope, _ = _value_and_slopes(distance_correlation_squared, x, y, weight)
    assert float(value) == 0
    assert not x_slope.any()


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 1e3])
def test_a_nearly_constant_float32_score_keeps_its_digits(spread: float) -> None:
    x, y, weight = _columns(200)
    x = (0.5 + spread * x).float()
    value = distance_correlation_squared(x, y, weight)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(brute_force(x.double(), y, weight)), rel=1e-5)


def test_the_bias_of_independent_samples_falls_with_the_effective_events() -> None:
    # E[dCorr²] ≈ c / n with c = E|X−X'| E|Y−Y'| / √(dVar² dVar²): 2.5 for uniform distributions,
    # where E|X−X'| = 1/3 and dVar² = 2/45. Weights of exponential distribution halve n.
    generator = torch.Generator().manual_seed(1)
    for events, replicas in ((64, 400), (256, 200), (1024, 100)):
        means = []
        for weighted in (False, True):
            total = 0.0
            for _ in range(replicas):
                x, y, u = torch.rand(3, events, dtype=torch.float64, generator=generator)
                weight = -(1 - u).log() if weighted else torch.ones(events)
                total += float(distance_correlation_squared(x, y, weight))
            means.append(total / replicas)
        assert means[0] * events == pytest.approx(2.5, rel=0.1)
        assert means[1] * events / 2 == pytest.approx(2.5, rel=0.15)


def test_a_large_batch_needs_little_memory() -> None:
    # One matrix of 65536² float64 numbers would be 32 GiB; that this ends at all says enough.
    x, y, weight = _columns(65536)
    value, slope, _ = _value_and_slopes(distance_correlation_squared, x.float(), y, weight)
    assert 0 < float(value) < 1
    assert slope.isfinite().all()


def test_nan_stays_visible() -> None:
    x, y, weight = _columns(20)
    x[3] = float("nan")
    assert distance_correlation_squared(x, y, weight).isnan()


def test_it_works_under_autocast() -> None:
    x, y, weight = _columns(64)
    expected = distance_correlation_squared(x.float(), y, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distance_correlation_squared(x.float(), y, weight), expected)


@pytest.mark.parametrize(
    ("x", "y", "weight", "error", "message"),
    [
        (torch.zeros(4, 1), torch.zeros(4), torch.ones(4), ModelInputError,
         r"^x: got shape \(4, 1\), expected \(events,\)$"),
        (torch.zeros(4), torch.zeros(1), torch.ones(4), ModelInputError,
         r"^y: got shape \(1,\), expected \(4,\)$"),
        (torch.zeros(4), torch.zeros(4), torch.ones(()), ModelInputError,
         r"^weight: got shape \(\), expected \(4,\)$"),
        (torch.zeros(0), torch.zeros(0), torch.ones(0), SampleError,
         r"^distance correlation: the number of events in the batch is 0, expected 2 or more; use"),
        (torch.zeros(1), torch.zeros(1), torch.ones(1), SampleError,
         r"the number of events in the batch is 1, expected 2 or more; use a larger batch_size$"),
        (torch.arange(3.0), torch.zeros(3), torch.tensor([1.0, -2.0, 0.5]), SampleError,
         r"batch's 3 events sum to -0.5, expected a positive sum; use a larger batch_size or neg"),
        (torch.arange(2.0), torch.zeros(2), torch.tensor([1.0, -1.0]), SampleError,
         r"the batch's 2 events sum to 0, expected a positive sum"),
    ],
)  # fmt: skip
def test_errors(x: Tensor, y: Tensor, weight: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        distance_correlation_squared(x, y, weight)
