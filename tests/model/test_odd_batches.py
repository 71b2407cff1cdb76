"""Batches that are empty, extreme or strided: the right result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from model import reference
from model.forms import FORMS, Form, forms
from model.samples import (
    Padded,
    assert_same_logits,
    backward,
    random_events,
    small_model,
)
from particle_transformer import AnalysisObjectTransformer

options = pytest.mark.parametrize(
    "options",
    [{"pair_bias": False}, {}, {"event_features": "token"}, {"event_features": "both"}],
    ids=str,
)


def _without_slots(events: int) -> Padded:
    """Events whose collections have no slot at all."""
    some = random_events(1, [(1, 1)] * events)

    def cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor[:, :0] for name, tensor in tensors.items()}

    return Padded(cut(some.objects), some.event, cut(some.mask), cut(some.momenta))


EMPTY = {
    "no event": random_events(1, [(2, 1)]).select([]),
    "no event, no slot": _without_slots(1).select([]),
    "no object": random_events(1, [(0, 0)] * 3).padded_further(3, float("nan")),
    "no slot": _without_slots(3),
}


@forms
@options
@pytest.mark.parametrize("events", EMPTY.values(), ids=EMPTY)
def test_batches_without_events_objects_or_slots(
    options: dict[str, Any], events: Padded, form: Form, usable: bool
) -> None:
    for training in (False, True):
        model = small_model(num_outputs=3, dropout=0.1, **options).train(training)
        logits = form(model, events)
        assert logits.shape == (len(events.event), 3)
        assert logits.isfinite().all()
        backward(logits)
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_events_without_slots_are_events_without_objects() -> None:
    events = _without_slots(3)
    padded = events.padded_further(4, 7.0)
    for form in FORMS.values():
        assert_same_logits(form(small_model(), events), form(small_model(), padded))


@pytest.mark.parametrize("name", ["jets", "muons"])
def test_a_collection_without_slots_beside_one_with_objects(name: str) -> None:
    events = random_events(2, [(3, 2), (1, 1)])
    for field in (events.objects, events.momenta, events.mask):
        field[name] = field[name][:, :0]
    model = small_model()
    expected = model.forward_packed(events.packed())
    for form in FORMS.values():
        assert_same_logits(form(model, events), expected)


def _wide(events: Padded) -> Padded:
    return Padded(
        {name: values.double() for name, values in events.objects.items()},
        events.event.double(),
        events.mask,
        {name: values.double() for name, values in events.momenta.items()},
    )


def _large() -> Padded:
    """An event with far more objects than detectors give, beside small and empty ones."""
    return _wide(random_events(6, [(2, 1), (300, 7), (0, 0), (1, 3)]))


@forms
def test_any_number_of_objects_is_right(form: Form) -> None:
    events = _large()
    model = small_model(pair_bias=False, num_att_blocks=1, num_class_blocks=1).double()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    expected = []
    for number in range(len(events.event)):
        real = {name: ~mask[number] for name, mask in events.mask.items()}
        expected.append(
            reference.logits(
                state,
                model.arguments,
                [events.objects[n][number][real[n]].numpy() for n in model.collections],
                [events.momenta[n][number][real[n]].numpy() for n in model.collections],
                events.event[number].numpy(),
            )
        )
    assert_close(form(model, events), torch.from_numpy(np.array(expected)), rtol=1e-9, atol=1e-10)


def test_any_number_of_objects_is_right_with_the_pair_bias() -> None:
    # The reference would take a minute for the 47 000 pairs: event by event in the dense form,
    # which the other tests compare with it.
    events, model = _large(), small_model(event_features="both").double()
    alone = torch.cat([FORMS["dense"](model, events.select([n])) for n in range(4)])
    assert_close(FORMS["packed"](model, events), alone, rtol=1e-9, atol=1e-10)
    assert_close(events(model), alone, rtol=1e-9, atol=1e-10)


def _strided(tensor: Tensor) -> Tensor:
    """The same numbers, column-major."""
    order = [*range(tensor.ndim)][::-1]
    return tensor.permute(order).contiguous().permute(order)


def test_strides_change_nothing(usable: bool) -> None:
    events = random_events(3, [(3, 1), (2, 4), (0, 0)])
    strided = Padded(
        {name: _strided(values) for name, values in events.objects.items()},
        _strided(events.event),
        {name: _strided(mask) for name, mask in events.mask.items()},
        {name: _strided(values) for name, values in events.momenta.items()},
    )
    assert not strided.objects["jets"].is_contiguous()
    assert not strided.mask["jets"].is_contiguous()
    model = small_model(event_features="both")
    for form in FORMS.values():
        assert_same_logits(form(model, strided), form(model, events))
    packed = events.packed()
    spread = replace(
        packed,
        objects={name: _strided(values) for name, values in packed.objects.items()},
        offsets={name: torch.stack([o, o + 1], 1)[:, 0] for name, o in packed.offsets.items()},
        momenta={name: _strided(values) for name, values in (packed.momenta or {}).items()},
    )
    assert not spread.offsets["jets"].is_contiguous()
    assert_same_logits(model.forward_packed(spread), model.forward_packed(packed))


def test_one_object_expanded_over_events_and_slots() -> None:
    # Stride 0, as `expand` makes it.
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(3, 2, 8, 8, 8, num_heads=2).eval()
    objects, event = torch.randn(1, 1, 3).expand(4, 5, 3), torch.randn(1, 2).expand(4, 2)
    assert_same_logits(model(objects, event), model(objects.clone(), event.clone()))
