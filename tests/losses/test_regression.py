"""The weighted regression loss, against the definition written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.errors import ModelInputError
from particle_transformer.losses.regression import Regression

numbers = st.floats(-30, 30)
rows = st.lists(
    st.tuples(numbers, numbers, numbers, numbers, st.floats(-3, 3)), min_size=1, max_size=20
)


@settings(deadline=None)
@given(rows, st.floats(0.1, 5))
def test_the_loss_is_the_weighted_mean_over_events(
    events: list[tuple[float, float, float, float, float]], delta: float
) -> None:
    def h(r: float) -> float:
        return r * r / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2)

    expected = sum(w * (h(a - s) + h(b - t)) / 2 for a, b, s, t, w in events) / len(events)
    table = torch.tensor(events, dtype=torch.float64)
    loss = Regression(delta)(table[:, :2], table[:, 2:4], table[:, 4])
    assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_by_hand() -> None:
    # h = 1/8, 0 and 2.5; Σ w ℓ / N = (2 · 1/8 + 1 · 0 − 0.5 · 2.5) / 3
    prediction = torch.tensor([[0.5], [1.0], [-3.0]])
    loss = Regression()(
        prediction, torch.tensor([[0.0], [1.0], [0.0]]), torch.tensor([2.0, 1.0, -0.5])
    )
    assert float(loss) == pytest.approx(-1 / 3)


def test_an_outlier_pulls_no_harder_than_delta() -> None:
    prediction = torch.tensor([[1e6], [0.5]], requires_grad=True)
    torch.autograd.backward(Regression()(prediction, torch.zeros(2, 1), torch.ones(2)))
    assert prediction.grad is not None
    assert prediction.grad.tolist() == [[0.5], [0.25]]


def test_half_precision_is_compared_in_float32() -> None:
    # bfloat16 cannot hold the target.
    target = torch.tensor([[1.001]])
    loss = Regression()(torch.ones(1, 1).bfloat16(), target, torch.ones(1))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0.5e-6, rel=1e-3)


GOOD: dict[str, Any] = {
    "prediction": torch.zeros(4, 2), "target": torch.zeros(4, 2), "weight": torch.ones(4)
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": torch.zeros(4)},
         r"^prediction: got shape \(4,\), expected \(events, targets\)$"),
        ({"target": torch.zeros(4)}, r"^target: got shape \(4,\), expected \(4, 2\)$"),
        ({"target": torch.zeros(4, 1)}, r"^target: got shape \(4, 1\), expected \(4, 2\)$"),
        ({"target": torch.zeros(4, 2).long()},
         r"^target: got dtype torch.int64, expected a floating-point one$"),
        ({"weight": torch.ones(4, 1)}, r"^weight: got shape \(4, 1\), expected \(4,\)$"),
        ({"weight": torch.ones(())}, r"^weight: got shape \(\), expected \(4,\)$"),
        ({"target": torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, float("nan")], [0.0, 0.0]])},
         r"^target: got nan for event 2, target 1, expected finite numbers$"),
        ({"target": torch.full((4, 2), -float("inf"))},
         r"^target: got -inf for event 0, target 0, expected finite numbers$"),
    ],
)  # fmt: skip
def test_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelInputError, match=message):
        Regression()(**{**GOOD, **change})


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_delta_is_positive(delta: float) -> None:
    with pytest.raises(ModelInputError, match=f"^delta: got {delta}, expected a positive number$"):
        Regression(delta)
