"""The weighted cross-entropy, against the definition written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.errors import ModelInputError
from particle_transformer.losses.cross_entropy import CrossEntropy

rows = st.lists(
    st.tuples(st.floats(-30, 30), st.booleans(), st.floats(-3, 3)), min_size=1, max_size=20
)


@settings(deadline=None)
@given(rows)
def test_binary_loss_is_the_weighted_mean_over_events(
    events: list[tuple[float, bool, float]],
) -> None:
    logits, target, weight = zip(*events, strict=True)
    expected = sum(w * math.log1p(math.exp(-x if t else x)) for x, t, w in events) / len(events)
    loss = CrossEntropy()(
        torch.tensor(logits, dtype=torch.float64)[:, None],
        torch.tensor(target).long(),
        torch.tensor(weight, dtype=torch.float64),
    )
    assert float(loss) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(rows)
def test_two_class_cross_entropy_equals_the_binary_one(
    events: list[tuple[float, bool, float]],
) -> None:
    logits, target, weight = (torch.tensor(column) for column in zip(*events, strict=True))
    logits = logits.double()
    two = torch.stack([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(
        CrossEntropy()(two, target.long(), weight),
        CrossEntropy()(logits[:, None], target.long(), weight),
    )


def test_three_classes_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0]])
    # Σ w ℓ / N = (1 · ln 3 − 0.5 · ln 2) / 2
    loss = CrossEntropy()(logits, torch.tensor([2, 0]), torch.tensor([1.0, -0.5]))
    assert float(loss) == pytest.approx((math.log(3) - 0.5 * math.log(2)) / 2)


def test_weights_that_cancel_do_not_blow_the_loss_up() -> None:
    # A division by the sum of weights, here 0, would.
    logits = torch.tensor([[1.0], [1.0]], requires_grad=True)
    loss = CrossEntropy()(logits, torch.tensor([1, 1]), torch.tensor([1.0, -1.0]))
    assert float(loss.detach()) == 0.0
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_large_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    loss = CrossEntropy()(logits, torch.tensor([0, 1]), torch.ones(2))
    assert float(loss.detach()) == pytest.approx(1e4)
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "target", "weight", "message"),
    [
        ((4,), (4,), (4,), r"logits: got shape \(4,\), expected"),
        ((4, 0), (4,), (4,), r"logits: got shape \(4, 0\), expected"),
        ((4, 1), (4, 1), (4,), r"target: got shape \(4, 1\), expected \(4,\)"),
        ((4, 1), (4,), (4, 1), r"weight: got shape \(4, 1\), expected \(4,\)"),
        ((4, 1), (4,), (1,), r"weight: got shape \(1,\), expected \(4,\)"),
        ((4, 1), (1,), (4,), r"target: got shape \(1,\), expected \(4,\)"),
        ((4, 3), (4,), (), r"weight: got shape \(\), expected \(4,\)"),
    ],
)
def test_nothing_is_broadcast(
    logits: tuple[int, ...], target: tuple[int, ...], weight: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ModelInputError, match=message):
        CrossEntropy()(
            torch.zeros(logits), torch.zeros(target, dtype=torch.int64), torch.ones(weight)
        )


def test_target_is_a_class_index() -> None:
    with pytest.raises(
        ModelInputError, match=r"target: got dtype torch.float32, expected torch.int64"
    ):
        CrossEntropy()(torch.zeros(2, 1), torch.zeros(2), torch.ones(2))
