"""DisCo and double DisCo: the equations, what gets a gradient, and that they decorrelate."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from losses.reference import brute_force
from particle_transformer.errors import ModelInputError, SampleError
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.losses.decorrelation import DisCo, DoubleDisCo
from particle_transformer.losses.signal_score import signal_score


def _events(
    outputs: int, events: int = 80
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(events, outputs, dtype=torch.float64, generator=generator)
    quantities = logits[:, :1] + torch.randn(events, 2, dtype=torch.float64, generator=generator)
    target = torch.randint(0, 2, (events,), generator=generator)
    return logits, quantities, target, torch.rand(events, dtype=torch.float64, generator=generator)


def test_the_penalty_is_the_strength_times_the_mean_over_quantities() -> None:
    logits, quantities, _, weight = _events(1)
    score = signal_score(logits)
    first, second = (brute_force(score, quantities[:, k], weight) for k in (0, 1))
    assert_close(DisCo(strength=5.0)(score, quantities, weight), 5 * (first + second) / 2)
    assert_close(DisCo(strength=5.0)(score, quantities[:, 1:], weight), 5 * second)


def test_only_the_score_gets_a_gradient() -> None:
    logits, quantities, _, weight = _events(1)
    logits.requires_grad_()
    quantities.requires_grad_()
    torch.autograd.backward(DisCo(1.0)(signal_score(logits), quantities, weight))
    assert logits.grad is not None
    assert logits.grad.any()
    assert quantities.grad is None


def test_descending_the_penalty_removes_the_dependence() -> None:
    # The score starts as a function of the quantity and of noise; only the noise should be left.
    generator = torch.Generator().manual_seed(0)
    noise, quantity = torch.randn(2, 1000, generator=generator)
    slopes = torch.tensor([1.0, 1.0], requires_grad=True)
    optimizer = torch.optim.Adam([slopes], lr=0.05)
    for _ in range(100):
        logits = (slopes[0] * noise + slopes[1] * quantity)[:, None]
        optimizer.zero_grad()
        penalty = DisCo(1.0)(signal_score(logits), quantity[:, None], torch.ones(1000))
        torch.autograd.backward(penalty)
        optimizer.step()
    ratio = float((slopes[1] / slopes[0]).detach())
    assert abs(ratio) < 0.05


def test_double_disco_is_two_losses_and_the_dependence_in_background() -> None:
    logits, _, target, weight = _events(2)
    background = target == 0
    f, g = logits.sigmoid().unbind(1)
    expected = sum(
        (weight * F.binary_cross_entropy(score, target.double(), reduction="none")).mean()
        for score in (f, g)
    ) + 7 * brute_force(f[background], g[background], weight[background])
    assert_close(DoubleDisCo(strength=7.0)(logits, target, weight), expected)


def test_double_disco_has_the_gradient_of_its_value() -> None:
    logits, _, target, weight = _events(2, 12)
    assert torch.autograd.gradcheck(
        lambda x: DoubleDisCo(3.0)(x, target, weight), (logits.requires_grad_(),), eps=1e-7
    )


def test_signal_adds_nothing_to_the_dependence() -> None:
    logits, _, target, weight = _events(2)
    losses = []
    for factor in (1.0, 3.0):
        moved = torch.where(target[:, None] == 1, factor * logits, logits)
        cross_entropies = sum(
            (CrossEntropy()(moved[:, k : k + 1], target, weight) for k in (0, 1)),
            start=torch.zeros(()),
        )
        losses.append(DoubleDisCo(1.0)(moved, target, weight) - cross_entropies)
    assert_close(losses[0], losses[1])


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan"), float("inf")])
def test_the_strength_is_positive(strength: float) -> None:
    for penalty in (DisCo, DoubleDisCo):
        with pytest.raises(
            ModelInputError, match=f"^strength: got {strength}, expected a positive number$"
        ):
            penalty(strength)


@pytest.mark.parametrize(
    ("quantities", "message"),
    [
        ((4,), r"^quantities: got shape \(4,\), expected \(events, 1 or more quantities\)$"),
        ((4, 0), r"^quantities: got shape \(4, 0\), expected"),
        ((1, 2), r"^y: got shape \(1,\), expected \(4,\)$"),
    ],
)
def test_shapes_of_disco(quantities: tuple[int, ...], message: str) -> None:
    with pytest.raises(ModelInputError, match=message):
        DisCo(1.0)(torch.rand(4), torch.rand(quantities), torch.ones(4))


def test_double_disco_needs_two_logits_and_background() -> None:
    loss, target, weight = DoubleDisCo(1.0), torch.tensor([1, 1, 0, 1]), torch.ones(4)
    with pytest.raises(
        ModelInputError, match=r"^logits: got shape \(4, 1\), expected \(events, 2\): f and g$"
    ):
        loss(torch.rand(4, 1), target, weight)
    with pytest.raises(ModelInputError, match=r"^target: got shape"):
        loss(torch.rand(4, 2), target[:1], weight)
    with pytest.raises(SampleError, match=r"the number of events in the batch is 1, expected 2"):
        loss(torch.rand(4, 2), target, weight)


def test_the_signal_score_is_the_probability_of_signal() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [1e4, 0.0, -1e4]])
    assert_close(signal_score(logits[:, :1]), torch.tensor([1 / (1 + 2.718281828**-0.5), 1.0]))
    total = 2.718281828**0.5 + 2.718281828**-1 + 2.718281828**2
    assert_close(signal_score(logits), torch.tensor([2.718281828**0.5 / total, 1.0]))
    with pytest.raises(ModelInputError, match=r"^logits: got shape \(3,\), expected \(events, 1"):
        signal_score(logits[0])
