"""NaN and infinity: in an object they spoil its event only, in padding nothing; gradients of inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from model.forms import FORMS, Form, forms
from model.samples import Padded, assert_same_logits, padded_events, random_events, small_model

if TYPE_CHECKING:
    from particle_transformer import AnalysisObjectTransformer

few = settings(max_examples=10, deadline=None)

BROKEN = st.sampled_from([float("nan"), float("inf"), -float("inf")])


@forms
@pytest.mark.parametrize(
    "options",
    [{}, {"event_features": "both", "feature_embedding": "periodic"}, {"pair_bias": False}],
    ids=str,
)
@pytest.mark.parametrize("field", ["objects", "event"])
@few
@given(events=padded_events, value=BROKEN, data=st.data())
def test_a_broken_number_spoils_its_own_event_only(
    form: Form, options: dict[str, Any], field: str, events: Padded, value: float, data: Any
) -> None:
    events = _with_objects_and_company(events)
    number = data.draw(st.integers(0, len(events.event) - 1))
    broken = _clone(events)
    if field == "event":
        broken.event[number, 1] = value
    else:
        places = [
            (name, slot)
            for name, mask in events.mask.items()
            for slot in (~mask[number]).nonzero()[:, 0].tolist()
        ]
        if not places:
            return
        name, slot = data.draw(st.sampled_from(places))
        broken.objects[name][number, slot, 0] = value
    model = small_model(**options)
    logits, gradients = _with_input_gradients(model, form, broken)
    clean, clean_gradients = _with_input_gradients(model, form, events)
    others = [other for other in range(len(events.event)) if other != number]
    assert not logits[number].isfinite().any()
    assert_same_logits(logits[others], clean[others])
    for gradient, clean_gradient in zip(gradients, clean_gradients, strict=True):
        assert_close(gradient[others], clean_gradient[others], rtol=1e-3, atol=2e-4)


@forms
def test_a_broken_momentum_spoils_its_own_event_only(form: Form, usable: bool) -> None:
    events = random_events(3, [(3, 1), (2, 2), (0, 0)])
    broken = _clone(events)
    broken.momenta["jets"][0, int((~events.mask["jets"][0]).nonzero()[0]), 3] = torch.nan
    model = small_model()
    logits = form(model, broken)
    assert logits[0].isnan().all()
    assert_same_logits(logits[1:], form(model, events)[1:])


def _with_objects_and_company(events: Padded) -> Padded:
    """The events twice, so that every one has others beside it."""
    return events.select([*range(len(events.event))] * 2)


def _clone(events: Padded) -> Padded:
    def copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in tensors.items()}

    return Padded(
        copy(events.objects), events.event.clone(), copy(events.mask), copy(events.momenta)
    )


def _with_input_gradients(
    model: AnalysisObjectTransformer, form: Form, events: Padded
) -> tuple[Tensor, list[Tensor]]:
    """Logits, and gradients of objects, event features and, with the pair bias, momenta."""
    events = _clone(events)
    inputs = [*events.objects.values(), events.event]
    if model.arguments["pair_bias"]:
        inputs += events.momenta.values()
    for tensor in inputs:
        tensor.requires_grad_()
    logits = form(model, events)
    gradients = torch.autograd.grad(logits.square().sum(), inputs, materialize_grads=True)
    return logits.detach(), list(gradients)


@few
@given(padded_events, st.sampled_from([-999.0, 3e38, float("nan"), float("inf")]))
def test_gradients_of_the_inputs_agree_and_are_zero_in_padding(
    events: Padded, content: float
) -> None:
    # For saliencies and for training through a simulation.
    events = events.padded_further(1, content)
    model = small_model(event_features="both")
    expected = _with_input_gradients(model, FORMS["padded"], events)[1]
    for form in FORMS.values():
        gradients = _with_input_gradients(model, form, events)[1]
        for gradient, padded in zip(gradients, expected, strict=True):
            assert_close(gradient, padded, rtol=1e-3, atol=2e-4)
        for gradient, name in zip(gradients[:2], model.collections, strict=True):
            assert (gradient[events.mask[name]] == 0).all()
