"""The network as a whole: against an independent one, widths, seeds, state, dropout."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from model import reference
from model.samples import Padded, backward, padded_events, random_events, small_model
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.model.blocks import AttBlock, ClassBlock


def _reference(model: AnalysisObjectTransformer, events: Padded) -> np.ndarray:
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    rows = []
    for number in range(len(events.event)):
        real = {name: ~mask[number] for name, mask in events.mask.items()}
        rows.append(
            reference.logits(
                state,
                model.arguments,
                [events.objects[n][number][real[n]].double().numpy() for n in model.collections],
                [events.momenta[n][number][real[n]].double().numpy() for n in model.collections],
                events.event[number].double().numpy(),
            )
        )
    return np.array(rows)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pair_bias": False, "num_outputs": 3},
        {"num_att_blocks": 1, "num_class_blocks": 1, "layer_scale": 0.3},
        {"num_att_blocks": 2, "linear_dims1": 8, "linear_dims2": 8, "feedforward_factor": 2},
        {"num_att_blocks": 4, "num_heads": 4},
        {"event_features": "token", "class_feedforward_factor": 3},
        {"event_features": "both", "feedforward": "swiglu", "pair_dims": [6]},
        {"event_features": "token", "feature_embedding": "periodic"},
        {"pair_bias": False, "feature_embedding": "piecewise_linear"},
    ],
    ids=str,
)
@settings(max_examples=8, deadline=None)
@given(events=padded_events)
def test_logits_equal_those_of_an_independent_implementation(
    options: dict[str, Any], events: Padded
) -> None:
    model = small_model(**options)
    expected = torch.from_numpy(_reference(model, events)).float()
    assert_close(events(model), expected, rtol=1e-3, atol=1e-4)
    # In float64 only the floors inside the pair bias remain as a difference, and none is reached.
    double = small_model(**options).double()
    double.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    wide = Padded(
        {name: value.double() for name, value in events.objects.items()},
        events.event.double(),
        events.mask,
        {name: value.double() for name, value in events.momenta.items()},
    )
    assert_close(wide(double), torch.from_numpy(_reference(model, events)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("widths", list(itertools.product([8, 16, 24], repeat=3)))
def test_every_combination_of_the_three_widths_works(widths: tuple[int, int, int]) -> None:
    embed, first, second = widths
    model = AnalysisObjectTransformer(
        input_dim_obj=6, input_dim_event=2, embed_dims=embed, linear_dims1=first,
        linear_dims2=second, mlp_hidden_1=5, mlp_hidden_2=3, num_heads=8,
    )  # fmt: skip
    mask = torch.tensor([[False, True, False], [True, True, True]])
    logits = model(torch.randn(2, 3, 6), torch.randn(2, 2), mask)
    assert logits.shape == (2, 1)
    backward(logits)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.class_token.shape == (second,)
    for block in model.class_blocks:
        assert isinstance(block, ClassBlock)
        assert block.feedforward.hidden.weight.shape == (first, second)


def test_the_documented_example_has_three_blocks_of_each_kind() -> None:
    model = AnalysisObjectTransformer(input_dim_obj=6, input_dim_event=2, embed_dims=128,
        linear_dims1=128, linear_dims2=128, mlp_hidden_1=64, mlp_hidden_2=32, num_heads=8)  # fmt: skip
    assert len(model.att_blocks) == len(model.class_blocks) == 3
    logits = model(torch.randn(4, 5, 6), torch.randn(4, 2), padding_mask=None)
    assert logits.shape == (4, 1)


def test_the_widths_run_from_the_embedding_to_the_class_token() -> None:
    def widths(blocks: int) -> list[tuple[int, int]]:
        model = AnalysisObjectTransformer(3, 1, 8, 12, 16, num_heads=4, num_att_blocks=blocks)
        return [
            (block.attention.query_key_value.in_features, block.attention.out.out_features)
            for block in model.att_blocks
            if isinstance(block, AttBlock)
        ]

    assert widths(1) == [(8, 16)]
    assert widths(2) == [(8, 12), (12, 16)]
    assert widths(3) == [(8, 12), (12, 12), (12, 16)]
    assert widths(5) == [(8, 12), (12, 12), (12, 12), (12, 12), (12, 16)]


def test_the_seed_decides_the_initial_weights() -> None:
    first, again, other = (small_model(seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["class_token"], other["class_token"])


def test_arguments_and_state_rebuild_the_network() -> None:
    model = small_model()
    events = random_events(2, [(3, 1), (0, 0)])
    copy = AnalysisObjectTransformer(**model.arguments).eval()
    copy.load_state_dict(model.state_dict())
    assert torch.equal(events(copy), events(model))


def test_the_class_token_is_trained_and_not_drawn_afresh() -> None:
    model = small_model()
    events = random_events(2, [(3, 1)])
    first, second = events(model), events(model)
    assert torch.equal(first, second)
    backward(first)
    assert model.class_token.grad is not None
    assert model.class_token.grad.abs().sum() > 0


def test_dropout_acts_in_training_only_and_never_on_the_logits() -> None:
    model = small_model(dropout=0.5)
    events = random_events(2, [(3, 1)] * 50)
    assert torch.equal(events(model), events(model))
    model.train()
    noisy = events(model)
    assert not torch.equal(noisy, events(model))
    # Dropout on the logits would set half of them to zero.
    assert (noisy != 0).all()


def test_event_features_enter_in_both_ways_unless_told_otherwise() -> None:
    arguments = AnalysisObjectTransformer(3, 2, 8, 8, 8, num_heads=2).arguments
    assert arguments["event_features"] == "both"
    assert AnalysisObjectTransformer(**arguments).event_embedding is not None
    arguments = AnalysisObjectTransformer(3, 0, 8, 8, 8, num_heads=2).arguments
    assert arguments["event_features"] == "concatenated"


def test_event_features_may_be_absent() -> None:
    model = AnalysisObjectTransformer(3, 0, 8, 8, 8, num_heads=2)
    assert model(torch.randn(2, 4, 3), torch.zeros(2, 0)).shape == (2, 1)


def test_one_named_collection_equals_the_plain_form() -> None:
    torch.manual_seed(0)
    plain = AnalysisObjectTransformer(3, 2, 8, 8, 8, num_heads=2)
    named = AnalysisObjectTransformer({"jets": 3}, 2, 8, 8, 8, num_heads=2)
    named.load_state_dict(plain.state_dict())
    objects, event = torch.randn(2, 4, 3), torch.randn(2, 2)
    assert torch.equal(named({"jets": objects}, event), plain(objects, event))
