"""The weighted focal loss, against the definition written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.errors import ModelInputError
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.losses.focal import Focal

rows = st.lists(
    st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.integers(0, 2), st.floats(-3, 3)),
    min_size=1,
    max_size=20,
)


def _batch(
    outputs: int, events: int = 12, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(events, outputs, dtype=torch.float64, generator=generator)
    target = torch.randint(0, max(outputs, 2), (events,), generator=generator)
    return logits, target, torch.randn(events, dtype=torch.float64, generator=generator)


def _expected(losses: list[tuple[float, float]], gamma: float) -> float:
    """Σ w (1 − p)^γ (−ln p) / N from the pairs (w, p)."""
    return math.fsum(w * math.pow(1 - p, gamma) * -math.log(p) for w, p in losses) / len(losses)


@given(rows, st.floats(0, 5))
def test_binary_is_the_weighted_mean_over_events(
    events: list[tuple[float, float, int, float]], gamma: float
) -> None:
    rows = [(x, t % 2, w) for x, _, t, w in events]
    pairs = [(w, 1 / (1 + math.exp(-x if t else x))) for x, t, w in rows]
    logits, target, weight = zip(*rows, strict=True)
    loss = Focal(gamma)(
        torch.tensor(logits, dtype=torch.float64)[:, None],
        torch.tensor(target),
        torch.tensor(weight, dtype=torch.float64),
    )
    assert float(loss) == pytest.approx(_expected(pairs, gamma), rel=1e-6, abs=1e-9)


@given(rows, st.floats(0, 5))
def test_three_classes_is_the_weighted_mean_over_events(
    events: list[tuple[float, float, int, float]], gamma: float
) -> None:
    pairs = []
    for first, second, target, weight in events:
        parts = [math.exp(first), math.exp(second), 1.0]
        pairs.append((weight, parts[target] / sum(parts)))
    table = torch.tensor([(a, b, 0.0) for a, b, _, _ in events], dtype=torch.float64)
    loss = Focal(gamma)(
        table,
        torch.tensor([row[2] for row in events]),
        torch.tensor([row[3] for row in events], dtype=torch.float64),
    )
    assert float(loss) == pytest.approx(_expected(pairs, gamma), rel=1e-6, abs=1e-9)


def test_by_hand() -> None:
    # p = ¾ of a signal event: (1/4)² ln(4/3); p = ¾ of a background event, of weight −½.
    logits = torch.tensor([[math.log(3)], [-math.log(3)]], dtype=torch.float64)
    loss = Focal()(logits, torch.tensor([1, 0]), torch.tensor([1.0, -0.5]))
    assert float(loss) == pytest.approx(0.25 * math.log(4 / 3) / 16)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_gamma_zero_is_the_cross_entropy_to_the_last_bit(outputs: int) -> None:
    results = []
    for loss in (Focal(gamma=0.0), CrossEntropy()):
        logits, target, weight = _batch(outputs)
        logits = logits.float().requires_grad_()
        value = loss(logits, target, weight)
        results.append((value.detach(), *torch.autograd.grad(value, logits)))
    (value, slope), (expected, expected_slope) = results
    assert torch.equal(value, expected)
    assert torch.equal(slope, expected_slope)


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_gradient_is_that_of_the_value(outputs: int, gamma: float) -> None:
    logits, target, weight = _batch(outputs)
    assert torch.autograd.gradcheck(
        lambda x: Focal(gamma)(x, target, weight), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [0.0, 20.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_logit_has_a_finite_value_and_gradient(
    outputs: int, gamma: float, size: float, dtype: torch.dtype
) -> None:
    # Every class is right once by far and wrong once by far.
    classes = max(outputs, 2)
    columns = range(outputs)
    rows = [[size if c == k else -size for c in columns] for k in range(classes)] * classes
    target = torch.arange(classes).repeat_interleave(classes)
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    loss = Focal(gamma)(logits, target, torch.ones(len(rows)))
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert slope.isfinite().all()
    # A wrong event is pulled as hard as the cross-entropy would pull it.
    if size >= 100:
        assert float(slope.abs().max()) == pytest.approx(1 / len(rows), rel=1e-4)


@pytest.mark.parametrize("gamma", [-1.0, float("nan"), float("inf")])
def test_gamma_is_not_negative(gamma: float) -> None:
    with pytest.raises(ModelInputError, match=f"^gamma: got {gamma}, expected a number >= 0$"):
        Focal(gamma)


def test_nothing_is_broadcast() -> None:
    with pytest.raises(ModelInputError, match=r"^weight: got shape \(1,\), expected \(4,\)$"):
        Focal()(torch.zeros(4, 1), torch.zeros(4).long(), torch.ones(1))
