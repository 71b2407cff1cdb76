"""The laws of the model, on random events."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from model.samples import (
    Padded,
    assert_same_logits,
    backward,
    padded_events,
    random_events,
    small_model,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)
modes = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
biases = pytest.mark.parametrize("pair_bias", [False, True], ids=["plain", "pair bias"])


@few
@given(padded_events, seeds)
def test_the_order_of_objects_changes_nothing(events: Padded, seed: int) -> None:
    model = small_model()
    moved = events.shuffled(np.random.default_rng(seed))
    assert_same_logits(moved(model), events(model))


@few
@given(
    padded_events,
    st.integers(0, 4),
    st.sampled_from([0.0, -999.0, 3e38, float("nan"), float("inf"), -float("inf")]),
)
def test_padding_changes_neither_logits_nor_gradients(
    events: Padded, more: int, content: float
) -> None:
    model = small_model()
    results = []
    for batch in (events, events.padded_further(more, content)):
        model.zero_grad()
        logits = batch(model)
        backward(logits)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        results.append((logits, gradients))
    (logits, gradients), (padded_logits, padded_gradients) = results
    assert_same_logits(padded_logits, logits)
    for padded_gradient, gradient in zip(padded_gradients, gradients, strict=True):
        assert_close(padded_gradient, gradient, rtol=1e-3, atol=1e-4)


@modes
@few
@given(events=padded_events, others=padded_events, seed=seeds)
def test_the_other_events_of_the_batch_change_nothing(
    training: bool, events: Padded, others: Padded, seed: int
) -> None:
    model = small_model().train(training)
    together = _join(events, others)
    order = np.random.default_rng(seed).permutation(len(together.event)).tolist()
    logits = together.select(order)(model)
    back = torch.argsort(torch.tensor(order))
    assert_same_logits(logits[back][: len(events.event)], events(model))


@biases
@few
@given(events=padded_events)
def test_packed_and_padded_events_agree_in_logits_and_gradients(
    pair_bias: bool, events: Padded
) -> None:
    model = small_model(pair_bias=pair_bias)
    results = []
    for logits in (events(model), model.forward_packed(events.packed())):
        model.zero_grad()
        backward(logits)
        results.append((logits, {n: p.grad for n, p in model.named_parameters()}))
    (padded, padded_gradients), (packed, packed_gradients) = results
    assert_same_logits(packed, padded)
    for name, gradient in padded_gradients.items():
        assert_close(packed_gradients[name], gradient, rtol=1e-3, atol=1e-4, msg=name)


@biases
@modes
def test_an_event_without_objects_gives_finite_scores_and_gradients(
    training: bool, pair_bias: bool
) -> None:
    model = small_model(pair_bias=pair_bias, dropout=0.1).train(training)
    for counts in ([(0, 0)], [(0, 0), (0, 0)], [(0, 0), (3, 1), (0, 0), (0, 2)]):
        model.zero_grad()
        logits = random_events(1, counts)(model)
        assert logits.isfinite().all()
        backward(logits)
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_an_event_without_objects_still_feels_its_event_features() -> None:
    model = small_model()
    events = random_events(1, [(0, 0), (0, 0)])
    first, second = events(model).detach()
    assert abs(float(first - second)) > 1e-2


@few
@given(padded_events, st.floats(-np.pi, np.pi))
def test_a_rotation_of_phi_changes_nothing(events: Padded, angle: float) -> None:
    model = small_model()
    cos, sin = np.cos(angle), np.sin(angle)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    turned = {name: (p.double() @ turn).float() for name, p in events.momenta.items()}
    rotated = Padded(events.objects, events.event, events.mask, turned)
    # Rounding of the turned momenta reaches the pair features with up to 1e-4.
    assert_close(rotated(model), events(model), rtol=1e-3, atol=5e-4)


def test_the_pair_bias_matters() -> None:
    # Without it the rotation law would be empty.
    model = small_model()
    events = random_events(1, [(4, 2)])
    scaled = {name: 3 * p for name, p in events.momenta.items()}
    other = Padded(events.objects, events.event, events.mask, scaled)
    assert not torch.allclose(other(model), events(model), rtol=1e-3, atol=1e-3)


def test_every_real_object_matters() -> None:
    model = small_model()
    events = random_events(5, [(3, 2), (1, 1)])
    for name, mask in events.mask.items():
        for event, slot in (~mask).nonzero().tolist():
            objects = {key: value.clone() for key, value in events.objects.items()}
            objects[name][event, slot] += 1.0
            changed = Padded(objects, events.event, events.mask, events.momenta)(model)
            assert abs(float((changed[event] - events(model)[event]).detach())) > 1e-3


def test_a_batch_without_events_gives_no_logits() -> None:
    model = small_model(num_outputs=3)
    events = random_events(1, [(2, 1)]).select([])
    logits = events(model)
    assert logits.shape == (0, 3)
    backward(logits)


def _join(first: Padded, second: Padded) -> Padded:
    slots = {
        name: max(first.mask[name].shape[1], second.mask[name].shape[1]) for name in first.mask
    }

    def grow(tensor: torch.Tensor, width: int, value: float) -> torch.Tensor:
        more = width - tensor.shape[1]
        return torch.cat(
            [tensor, tensor.new_full((len(tensor), more, *tensor.shape[2:]), value)], 1
        )

    def stack(field: str, value: float) -> dict[str, torch.Tensor]:
        a, b = getattr(first, field), getattr(second, field)
        return {
            name: torch.cat([grow(a[name], width, value), grow(b[name], width, value)])
            for name, width in slots.items()
        }

    return Padded(
        stack("objects", 7.0),
        torch.cat([first.event, second.event]),
        stack("mask", True),
        stack("momenta", 7.0),
    )
