"""The packed form (compiled or not), the padded door and the dense form are one network."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from model.samples import (
    Padded,
    assert_same_logits,
    backward,
    padded_events,
    random_events,
    small_model,
)
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.model import kernels
from particle_transformer.model.blocks import AttBlock, ClassBlock
from particle_transformer.model.embedding import Embedding
from particle_transformer.model.layouts import PackedLayout

few = settings(max_examples=10, deadline=None)
options = pytest.mark.parametrize(
    "options",
    [
        {},
        {"pair_bias": False},
        {"event_features": "token"},
        {"event_features": "both", "feedforward": "swiglu", "feature_embedding": "periodic"},
        {"feature_embedding": "piecewise_linear", "num_outputs": 3},
    ],
    ids=str,
)


def _dense(model: AnalysisObjectTransformer, events: Padded) -> Tensor:
    return model.forward_dense(events.objects, events.event, events.mask, momenta=events.momenta)


def _results(model: AnalysisObjectTransformer, logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    backward(logits)
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    return logits, gradients


@options
@few
@given(events=padded_events)
def test_all_forms_agree_in_logits_and_gradients(options: dict[str, Any], events: Padded) -> None:
    model = small_model(**options)
    padded = _results(model, events(model))
    packed = _results(model, model.forward_packed(events.packed()))
    dense = _results(model, _dense(model, events))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "usable", lambda x: False)
        without_kernels = _results(model, model.forward_packed(events.packed()))
    for logits, gradients in (packed, dense, without_kernels):
        assert_same_logits(logits, padded[0])
        for name, gradient in gradients.items():
            # Sums over the rows of the batch, of terms up to ten.
            assert_close(gradient, padded[1][name], rtol=1e-3, atol=2e-4, msg=name)


@few
@given(
    padded_events,
    st.integers(0, 4),
    st.sampled_from([-999.0, 3e38, float("nan"), float("inf")]),
)
def test_the_dense_form_reads_no_padding_either(events: Padded, more: int, content: float) -> None:
    model = small_model()
    logits, gradients = _results(model, _dense(model, events))
    again, gradients_again = _results(model, _dense(model, events.padded_further(more, content)))
    assert_same_logits(again, logits)
    for name, gradient in gradients_again.items():
        assert_close(gradient, gradients[name], rtol=1e-3, atol=2e-4, msg=name)


def test_forms_agree_in_float64_to_its_precision() -> None:
    # float32's tolerance could hide a small systematic difference.
    events = random_events(3, [(4, 2), (0, 0), (1, 3), (5, 0)])
    model = small_model(event_features="both").double()
    wide = Padded(
        {name: x.double() for name, x in events.objects.items()},
        events.event.double(),
        events.mask,
        {name: x.double() for name, x in events.momenta.items()},
    )
    assert_close(_dense(model, wide), wide(model), rtol=1e-10, atol=1e-11)


def test_the_other_events_change_nothing_in_the_kernels() -> None:
    # No sum runs over more than one event.
    events = random_events(3, [(4, 2), (0, 0), (1, 3), (5, 0)])
    model = small_model()
    logits = events(model)
    for number in range(4):
        alone = events.select([number])(model)
        assert_close(alone[0], logits[number], rtol=1e-5, atol=1e-6)


class _Dense(nn.Module):
    def __init__(self, model: AnalysisObjectTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, objects: Tensor, event: Tensor, padding_mask: Tensor, momenta: Tensor
    ) -> Tensor:
        return self.model.forward_dense(objects, event, padding_mask, momenta=momenta)


@pytest.mark.slow  # export takes some ten seconds
@pytest.mark.filterwarnings("ignore")  # of PyTorch's own exporter
@pytest.mark.parametrize("event_features", ["concatenated", "both"])
def test_the_dense_form_exports_with_any_batch_and_multiplicity(event_features: str) -> None:
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(
        3, 2, 16, 16, 16, num_heads=2, pair_bias=True, event_features=event_features,  # type: ignore[arg-type]
    ).eval()  # fmt: skip

    def inputs(batch: int, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mask = torch.rand(batch, n) < 0.3
        return torch.randn(batch, n, 3), torch.randn(batch, 2), mask, 50 + torch.rand(batch, n, 4)

    batch, n = torch.export.Dim("batch"), torch.export.Dim("n")
    exported = torch.export.export(
        _Dense(model),
        inputs(4, 5),
        dynamic_shapes=({0: batch, 1: n}, {0: batch}, {0: batch, 1: n}, {0: batch, 1: n}),
    ).module()
    for sizes in [(4, 5), (7, 2), (2, 16)]:
        objects, event, mask, momenta = inputs(*sizes)
        expected = model(objects, event, mask, momenta=momenta)
        assert_same_logits(exported(objects, event, mask, momenta), expected)


@pytest.mark.slow  # compiles with PyTorch's own compiler, half a minute
@pytest.mark.filterwarnings("ignore")  # of that compiler
def test_the_packed_form_compiles() -> None:
    # The branches are PyTorch's own operations then, and attention is the kernels' operator.
    model = small_model()
    compiled = torch.compile(model.forward_packed, dynamic=True)
    for seed, counts in enumerate([[(4, 2), (0, 0), (1, 3)], [(2, 2), (5, 1), (1, 1), (3, 0)]]):
        events = random_events(seed, counts)
        logits, gradients = _results(model, compiled(events.packed()))
        expected, others = _results(model, events(model))
        assert_same_logits(logits, expected)
        for name, gradient in gradients.items():
            assert_close(gradient, others[name], rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("event_features", ["concatenated", "token"])
@few
@given(events=padded_events)
def test_attention_maps_are_probabilities_aligned_with_the_slots(
    event_features: str, events: Padded
) -> None:
    model = small_model(event_features=event_features)
    maps = model.attention_maps(events.objects, events.event, events.mask, momenta=events.momenta)
    real = torch.cat([~events.mask[name] for name in model.collections], 1)
    if event_features == "token":
        real = torch.cat([real, torch.ones(len(real), 1, dtype=torch.bool)], 1)
    slots = real.shape[1]
    assert len(maps.objects) == len(model.att_blocks)
    assert len(maps.class_token) == len(model.class_blocks)
    starts = [part.start for part in maps.slots.values()]
    assert [*maps.slots] == list(model.collections)
    assert starts == [0, events.mask["jets"].shape[1]]
    for weights in maps.objects:
        assert weights.shape == (len(real), 2, slots, slots)
        assert (weights.masked_select(~real[:, None, :, None]) == 0).all()
        assert (weights.masked_select(~real[:, None, None, :]) == 0).all()
        sums = weights.sum(3)
        assert_close(sums, real[:, None].expand_as(sums).float())
    for weights in maps.class_token:
        assert weights.shape == (len(real), 2, 1 + slots)
        assert (weights[:, :, 1:].masked_select(~real[:, None]) == 0).all()
        assert_close(weights.sum(2), torch.ones(len(real), 2))


def test_attention_maps_are_what_the_blocks_multiply_the_values_with() -> None:
    # By hand, from the first attention block and the only class block.
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(
        3, 2, 8, 8, 8, num_heads=2, num_att_blocks=1, num_class_blocks=1,
        event_features="concatenated",
    )  # fmt: skip
    objects, event = torch.randn(1, 3, 3), torch.randn(1, 2)
    maps = model.attention_maps(objects, event)
    embedding = model.embedding[0]
    assert isinstance(embedding, Embedding)
    x = embedding.layers(objects[0]) + model.collection_embedding[0]
    block, class_block = model.att_blocks[0], model.class_blocks[0]
    assert isinstance(block, AttBlock)
    assert isinstance(class_block, ClassBlock)
    attention = block.attention
    query, key, _ = attention.query_key_value(attention.norm(x)).view(3, 3, 2, 4).unbind(1)
    scores = torch.einsum("ihd,jhd->hij", query, key) / math.sqrt(4)
    assert_close(maps.objects[0][0], scores.softmax(2))
    x = block(x, PackedLayout([torch.tensor([0, 3])]))
    keys = torch.cat([model.class_token[None], x])
    asked = class_block.attention.query(class_block.attention.norm(model.class_token)).view(2, 4)
    key = class_block.attention.key_value(class_block.attention.norm(keys)).view(4, 2, 2, 4)[:, 0]
    scores = torch.einsum("hd,jhd->hj", asked, key) / math.sqrt(4)
    assert_close(maps.class_token[0][0], scores.softmax(1))


def test_asking_for_maps_changes_no_logit_and_records_no_gradient() -> None:
    model = small_model()
    events = random_events(2, [(3, 1), (0, 2)])
    before = events(model)
    maps = model.attention_maps(events.objects, events.event, events.mask, momenta=events.momenta)
    assert torch.equal(events(model), before)
    assert not any(weights.requires_grad for weights in (*maps.objects, *maps.class_token))
