"""The compiled branches: their gradients, their dropout, their precision, their parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
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
from particle_transformer.model.fused import (
    EventRows,
    can_fuse,
    feedforward,
    fused_attention,
    fused_class_attention,
    fused_feedforward,
    fused_layers,
    parts,
)
from particle_transformer.model.packing import pair_offsets

HEADS, WIDTH = 2, 6
COUNTS = [3, 0, 1, 5]


def _events(counts: list[int]) -> EventRows:
    offsets = torch.tensor(np.cumsum([0, *counts]), dtype=torch.int64)
    return EventRows(offsets, pair_offsets(offsets))


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def _linear(width_in: int, width_out: int) -> nn.Linear:
    layer = nn.Linear(width_in, width_out, dtype=torch.float64)
    nn.init.normal_(layer.weight, std=0.5)
    nn.init.normal_(layer.bias, std=0.5)
    return layer


def _norm(width: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(width, dtype=torch.float64)
    nn.init.normal_(norm.weight, 1, 0.2)
    nn.init.normal_(norm.bias, 0, 0.2)
    return norm


def test_this_machine_can_fuse() -> None:
    # The other tests of this file would test nothing.
    for dtype in (torch.float32, torch.float64):
        assert can_fuse(torch.zeros(2, 3, dtype=dtype))
    assert not can_fuse(torch.zeros(2, 3, dtype=torch.bfloat16))
    assert not can_fuse(torch.zeros(2, 3, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert can_fuse(torch.zeros(2, 3)) == kernels.has_product(torch.bfloat16)


@pytest.fixture(params=[16, 1], ids=["one part", "many parts"])
def _largest_part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 16 rows hold all rows of these tests; parts of one event are the other extreme."""
    monkeypatch.setattr(parts, "_rounded", lambda rows: max(request.param, rows))
    monkeypatch.setattr(parts, "_LARGEST_PART", request.param)


_Case = tuple[Callable[..., Tensor], list[Tensor], list[nn.Module]]
"""A function, its arguments, and modules whose parameters it uses as well."""


def _feedforward(dropout: float) -> _Case:
    norm, hidden = _norm(WIDTH), _linear(WIDTH, 5)

    def compute(x: Tensor, *out: Tensor) -> Tensor:
        return fused_feedforward(x, norm, hidden, (out[0], out[1]), dropout)

    arguments = [_random(sum(COUNTS), WIDTH), _random(WIDTH, 5), _random(WIDTH)]
    return compute, arguments, [norm, hidden]


def _attention(dropout: float, width_in: int = WIDTH) -> _Case:
    events = _events(COUNTS)
    norm, first = _norm(width_in), _linear(width_in, 3 * WIDTH)

    def compute(x: Tensor, bias: Tensor, weight: Tensor, added: Tensor, *base: Tensor) -> Tensor:
        below = base[0] if base else None
        out = (weight, added)
        return fused_attention(x, below, norm, first, out, bias, events, HEADS, dropout)

    arguments = [
        _random(sum(COUNTS), width_in), _random(int(events.pair_offsets[-1]), HEADS),
        _random(WIDTH, WIDTH), _random(WIDTH),
    ]  # fmt: skip
    if width_in != WIDTH:
        arguments.append(_random(sum(COUNTS), WIDTH))
    return compute, arguments, [norm, first]


def _class_attention(dropout: float) -> _Case:
    norm, key_value = _norm(WIDTH), _linear(WIDTH, 2 * WIDTH)

    def compute(query: Tensor, own: Tensor, x: Tensor) -> Tensor:
        events = _events(COUNTS)
        return fused_class_attention(query, own, x, norm, key_value, events, HEADS, dropout)

    many = len(COUNTS)
    arguments = [_random(many, WIDTH), _random(many, 2 * WIDTH), _random(sum(COUNTS), WIDTH)]
    return compute, arguments, [norm, key_value]


def _layers(dropout: float) -> _Case:
    del dropout
    linear = [_linear(4, WIDTH), _linear(WIDTH, WIDTH), _linear(WIDTH, WIDTH)]

    def compute(x: Tensor, added: Tensor) -> Tensor:
        return fused_layers(x, linear, added)

    return compute, [_random(sum(COUNTS), 4), _random(WIDTH)], [*linear]


@pytest.mark.usefixtures("_largest_part")
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize(
    "case",
    [_feedforward, _attention, partial(_attention, width_in=4), _class_attention, _layers],
    ids=["feedforward", "attention", "attention that changes the width", "class", "layers"],
)
def test_gradients_are_those_of_what_was_computed(
    case: Callable[[float], _Case], dropout: float
) -> None:
    torch.manual_seed(3)
    compute, arguments, modules = case(dropout)
    parameters = [parameter for module in modules for parameter in module.parameters()]

    def seeded(*values: Tensor) -> Tensor:
        torch.manual_seed(11)  # the same dropout in each call
        return compute(*values[: len(arguments)])

    assert torch.autograd.gradcheck(seeded, (*arguments, *parameters))


def _plain(model: AnalysisObjectTransformer, events: Padded) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "usable", lambda x: False)
        return events(model)


@settings(max_examples=15, deadline=None)
@given(padded_events, st.sampled_from([{}, {"event_features": "both"}, {"feedforward": "swiglu"}]))
def test_fused_and_plain_agree_in_logits_and_gradients(
    events: Padded, options: dict[str, Any]
) -> None:
    results = []
    for compute in (lambda model, events: events(model), _plain):
        model = small_model(**options)
        logits = compute(model, events)
        backward(logits)
        results.append((logits, {name: p.grad for name, p in model.named_parameters()}))
    (fused, gradients), (plain, expected) = results
    assert_same_logits(fused, plain)
    for name, gradient in gradients.items():
        other = expected[name]
        if gradient is None or other is None:  # without pairs, their network has no gradient
            assert gradient is None or not gradient.any()
            assert other is None or not other.any()
        else:
            assert_close(gradient, other, rtol=1e-3, atol=2e-4, msg=name)


def test_inference_keeps_nothing_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    events = random_events(7, [(4, 2), (0, 0), (1, 3), (5, 0)])
    model = small_model()
    kept: list[object] = []
    call = kernels.call_kernel

    def spy(name: str, inputs: Any, numbers: Any, outputs: Any, like: Tensor) -> None:
        kept.append(outputs[0])
        call(name, inputs, numbers, outputs, like)

    monkeypatch.setattr(feedforward, "call_kernel", spy)
    with torch.inference_mode():
        logits = events(model)
    assert kept
    assert all(tensor is None for tensor in kept)
    kept.clear()
    assert torch.equal(logits, events(model))
    assert all(tensor is not None for tensor in kept)


@pytest.mark.parametrize("heads", [1, 8, 12])
@pytest.mark.parametrize("dim", [8, 16, 32, 64, 5])
def test_gradients_of_all_kinds_of_heads_are_those_of_pytorch(heads: int, dim: int) -> None:
    torch.manual_seed(heads * dim)
    width = heads * dim
    model = AnalysisObjectTransformer(
        3, 2, width, width, width, num_heads=heads, num_att_blocks=1, num_class_blocks=1,
        pair_bias=True, layer_scale=1.0,
    ).double()  # fmt: skip
    mask = torch.arange(9) >= torch.tensor([9, 1, 0, 4])[:, None]
    objects, event = torch.randn(4, 9, 3).double(), torch.randn(4, 2).double()
    momenta = 50 + 10 * torch.rand(4, 9, 4).double()
    results = []
    for threads, form in ((1, model), (3, model), (1, model.forward_dense)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            model.zero_grad()
            logits = form(objects, event, mask, momenta=momenta)
            backward(logits)
        finally:
            torch.set_num_threads(before)
        results.append((logits, {n: p.grad for n, p in model.named_parameters()}))
    for logits, gradients in results[:2]:
        assert_close(logits, results[2][0], rtol=1e-9, atol=1e-10)
        for name, gradient in gradients.items():
            assert_close(gradient, results[2][1][name], rtol=1e-7, atol=1e-9, msg=name)


def test_the_same_threads_give_the_same_bits() -> None:
    events = random_events(3, [(4, 2), (0, 0), (1, 3), (5, 0)] * 50)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        results = []
        for _ in range(3):
            model = small_model()
            backward(events(model))
            results.append([p.grad for p in model.parameters()])
    finally:
        torch.set_num_threads(before)
    for gradients in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients, results[0], strict=True))  # type: ignore[arg-type]


def test_a_float64_model_is_not_rounded_by_autocast() -> None:
    # PyTorch's autocast leaves float64 alone, too.
    x = torch.randn(3, 4, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert parts.factor_dtype(x) == torch.float64


def test_modules_that_do_something_else_are_asked_themselves() -> None:
    events = random_events(3, [(4, 2), (0, 0), (1, 3), (5, 0)])
    model = small_model()
    expected = events(model)
    calls: list[str] = []
    for name, module in model.named_modules():
        if name.endswith(("feedforward.hidden", "query_key_value", "layers.2", "key_value")):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    assert_same_logits(events(model), expected)
    blocks = (*model.att_blocks, *model.class_blocks)
    assert sum(call.endswith("feedforward.hidden") for call in calls) == len(blocks)
    hidden = model.get_submodule("att_blocks.0.feedforward.hidden")
    prune.l1_unstructured(hidden, "weight", amount=0.9)
    assert not torch.allclose(events(model), expected)


@pytest.mark.parametrize("dropout", [0, 1e-9])
def test_a_dropout_of_nothing_changes_nothing(dropout: float) -> None:
    events = random_events(3, [(4, 2), (0, 0), (1, 3)])
    noisy = small_model(dropout=dropout).train()
    assert_same_logits(events(noisy), events(small_model()))


def test_gelu_is_that_of_pytorch_to_float32_rounding() -> None:
    # Through layers whose matrices are identities: x → gelu(gelu(x)).
    x = torch.cat([torch.linspace(-12, 12, 100_001), torch.tensor([-1e30, 1e30, 0.0])])[:, None]
    layers = [nn.Linear(1, 1) for _ in range(3)]
    for layer in layers:
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    double = x.double().requires_grad_()
    expected = F.gelu(F.gelu(double))
    torch.autograd.backward(expected.sum())
    assert double.grad is not None
    for argument, error in ((x, 3e-6), (x.double(), 1e-13)):
        leaf = argument.clone().requires_grad_()
        result = fused_layers(leaf, [layer.to(leaf.dtype) for layer in layers], 0.0)
        torch.autograd.backward(result.sum())
        assert leaf.grad is not None
        assert_close(result.double(), expected, rtol=error, atol=error)
        assert_close(leaf.grad.double(), double.grad, rtol=error, atol=error)


def test_bfloat16_rounds_the_factors_and_nothing_else() -> None:
    if not kernels.has_product(torch.bfloat16):
        pytest.skip("this PyTorch has no matrix product of bfloat16 with float32 sums")
    torch.manual_seed(0)
    events = random_events(5, [(4, 2), (0, 0), (1, 3), (5, 0)] * 20)
    model = small_model()
    exact = events(model)
    backward(exact)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        logits = events(model)
    rounding = 2**-8
    assert_close(logits.float(), exact, rtol=4 * rounding, atol=4 * rounding)
    backward(logits.float())
    for name, parameter in model.named_parameters():
        if name in gradients:
            assert parameter.grad is not None
            assert parameter.grad.dtype == torch.float32
            error = (parameter.grad - gradients[name]).norm() / gradients[name].norm()
            assert error < 16 * rounding, name


def _factors(rows: int, width: int, dropout: float) -> tuple[Tensor, Tensor]:
    """Dropout's factors on the result and on the hidden layer, (rows, width) each."""
    norm = nn.LayerNorm(width)
    hidden = nn.Linear(width, width)
    nn.init.zeros_(hidden.weight)
    nn.init.constant_(hidden.bias, 1.0)
    x = torch.zeros(rows, width)
    nothing, one = torch.zeros(width, width), torch.ones(width)
    on_result = fused_feedforward(x, norm, hidden, (nothing, one), dropout)
    # With an identity behind it the hidden layer, gelu(1) everywhere, shows: times both factors.
    both = fused_feedforward(x, norm, hidden, (torch.eye(width), torch.zeros(width)), dropout)
    return on_result.detach(), both.detach() / F.gelu(torch.ones(()))


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_falls_independently(dropout: float) -> None:
    torch.manual_seed(5)
    factors, both = _factors(4000, 24, dropout)
    kept = 1 / (1 - dropout)
    assert set(factors.unique().tolist()) == {0.0, torch.tensor(kept).item()}
    error = (dropout / (1 - dropout) / factors.numel()) ** 0.5
    assert abs(float(factors.mean()) - 1) < 4 * error
    assert abs(float((both == 0).double().mean()) - (1 - (1 - dropout) ** 2)) < 4 * error
    flags = (factors > 0).double()
    flags -= flags.mean()
    variance = flags.square().mean()
    for one, other in [
        (flags[:-1], flags[1:]), (flags[:, :-1], flags[:, 1:]), (flags[::2], flags[1::2]),
    ]:  # fmt: skip
        assert abs(float((one * other).mean() / variance)) < 4 / one.numel() ** 0.5


def test_dropout_follows_pytorchs_generator() -> None:
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(_factors(10, 8, 0.5)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("rows", [1, 17, 500, 4370, 100_000])
def test_no_thread_has_much_more_to_do_than_its_share(
    threads: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    at_once = parts.rows_at_once(rows)
    assert 2 <= at_once <= parts._LARGEST_PART + 2
    # OpenMP's static schedule gives ⌈parts / threads⌉ consecutive parts to the first threads.
    many = math.ceil(rows / at_once)
    most = min(rows, math.ceil(many / threads) * at_once)
    assert most <= rows / threads + 2 * math.ceil(rows / (threads * parts._LARGEST_PART)) + 1


@given(st.lists(st.integers(0, 30), max_size=200), st.sampled_from([1, 8, 64]))
def test_the_parts_of_events_are_all_events_once(counts: list[int], largest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_LARGEST_PART", largest)
        events = _events(counts)
        edges = events.edges.tolist()
        assert edges[0] == 0
        assert edges[-1] == len(counts)
        assert all(first < second for first, second in pairwise(edges))
        rows = [sum(counts[first:last]) for first, last in pairwise(edges)]
        assert max(rows, default=0) <= events.longest
