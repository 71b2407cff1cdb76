"""The second head: regressed event quantities beside the logits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from model import reference
from model.samples import (
    FEATURES,
    Padded,
    assert_same_logits,
    padded_events,
    random_events,
    small_model,
)
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import ModelInputError, SampleError
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.losses.regression import Regression
from particle_transformer.model import Outputs, ScalingFit, fit_scaling
from particle_transformer.training.module import decay_groups

few = settings(max_examples=10, deadline=None)


def _predict(model: AnalysisObjectTransformer, events: Padded) -> Outputs:
    return model.predict(events.objects, events.event, events.mask, momenta=events.momenta)


def _plain(seed: int = 0, **options: Any) -> AnalysisObjectTransformer:
    torch.manual_seed(seed)
    return AnalysisObjectTransformer(FEATURES, 2, 16, 16, 16, 16, 8, 2, layer_scale=1.0, **options)


def test_physical_units_are_scaled_times_scale_plus_mean() -> None:
    # By hand: a last layer of weight zero says its bias, whatever the event.
    model = small_model(regression_targets=2)
    assert model.regression_head is not None
    assert model.target_scaling is not None
    last = model.regression_head[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.5, -2.0]))
        model.target_scaling.mean.copy_(torch.tensor([200.0, 1.0]))
        model.target_scaling.scale.copy_(torch.tensor([80.0, 0.25]))
    outputs = _predict(model, random_events(0, [(2, 1), (0, 0)]))
    assert outputs.scaled_regression.tolist() == [[0.5, -2.0]] * 2
    assert outputs.regression.tolist() == [[240.0, 0.5]] * 2
    assert outputs.logits.shape == (2, 1)


@pytest.mark.parametrize("options", [{}, {"event_features": "token", "num_outputs": 3}], ids=str)
@few
@given(events=padded_events)
def test_the_second_head_equals_an_independent_implementation(
    options: dict[str, Any], events: Padded
) -> None:
    model = small_model(regression_targets=2, **options)
    # The reference knows one head: give it the second one in the place of the first.
    state = {
        name.replace("regression_head", "head"): value.double().numpy()
        for name, value in model.state_dict().items()
        if not name.startswith("head.")
    }
    expected = []
    for number in range(len(events.event)):
        real = {name: ~mask[number] for name, mask in events.mask.items()}
        expected.append(
            reference.logits(
                state,
                model.arguments,
                [events.objects[n][number][real[n]].double().numpy() for n in model.collections],
                [events.momenta[n][number][real[n]].double().numpy() for n in model.collections],
                events.event[number].double().numpy(),
            )
        )
    scaled = _predict(model, events).scaled_regression
    assert_close(scaled, torch.from_numpy(np.array(expected)).float(), rtol=1e-3, atol=1e-4)


@few
@given(padded_events)
def test_all_forms_predict_the_same(events: Padded) -> None:
    model = small_model(regression_targets=2)
    padded = _predict(model, events)
    packed = model.predict_packed(events.packed())
    dense = model.predict_dense(events.objects, events.event, events.mask, momenta=events.momenta)
    for other in (packed, dense):
        assert_same_logits(other.logits, padded.logits)
        assert_same_logits(other.scaled_regression, padded.scaled_regression)
        assert_close(other.regression, padded.regression, rtol=1e-4, atol=1e-4)


def test_logits_are_the_same_bits_whoever_asks() -> None:
    events = random_events(4, [(3, 1), (0, 0), (5, 2)])
    # The seed gives the rest of the network the weights that it has without the second head.
    without, model = _plain().eval(), _plain(regression_targets=1).eval()
    logits = without.forward_packed(events.packed())
    assert torch.equal(model.forward_packed(events.packed()), logits)
    assert torch.equal(model.predict_packed(events.packed()).logits, logits)
    assert torch.equal(_predict(model, events).logits, events(model))
    # In training, too, where dropout draws numbers.
    model = _plain(regression_targets=1, dropout=0.5)
    noisy = []
    for ask in (model.forward_packed, lambda batch: model.predict_packed(batch).logits):
        torch.manual_seed(3)
        noisy.append(ask(events.packed()))
    assert torch.equal(*noisy)


def test_without_a_second_head_the_state_is_what_it_was() -> None:
    state = _plain().state_dict()
    assert not any("regression" in name or "target" in name for name in state)


def test_the_trunk_runs_once_and_nobody_pays_who_does_not_ask() -> None:
    model = small_model(regression_targets=1)
    assert model.regression_head is not None
    calls = {"trunk": 0, "second head": 0}

    def count(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls[name] += 1

        return hook

    model.class_norm.register_forward_hook(count("trunk"))
    model.regression_head.register_forward_hook(count("second head"))
    events = random_events(0, [(2, 1)])
    events(model)
    model.forward_packed(events.packed())
    assert calls == {"trunk": 2, "second head": 0}
    model.predict_packed(events.packed())
    assert calls == {"trunk": 3, "second head": 1}


def test_gradients_of_the_regression_reach_the_trunk_but_not_the_logits() -> None:
    model = small_model(regression_targets=1)
    outputs = _predict(model, random_events(0, [(4, 2), (2, 3)]))
    loss = Regression()(outputs.scaled_regression, torch.ones(2, 1), torch.ones(2))
    torch.autograd.backward(loss)
    for name, parameter in model.named_parameters():
        if name.startswith("head."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_a_batch_without_events_regresses_nothing() -> None:
    outputs = _predict(small_model(regression_targets=2), random_events(0, [(1, 1)]).select([]))
    assert outputs.regression.shape == outputs.scaled_regression.shape == (0, 2)


def test_matrices_of_the_second_head_decay() -> None:
    model = small_model(regression_targets=1)
    assert model.regression_head is not None
    decayed, free = decay_groups(model)
    for name, parameter in model.regression_head.named_parameters():
        group = decayed if name.endswith("weight") else free
        assert any(parameter is member for member in group), name
    assert len(decayed) + len(free) == len(list(model.parameters()))


def _columns(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    objects = {name: rng.normal(size=(50, width)) for name, width in FEATURES.items()}
    return objects, rng.normal(size=(40, 2)), rng.gamma(2.0, 100.0, size=(40, 2))


def test_the_target_scaling_is_mean_and_deviation_of_the_training_events() -> None:
    objects, event, targets = _columns()
    whole, pieces = _plain(regression_targets=2), _plain(regression_targets=2)
    fit_scaling(whole, objects, event, targets)
    assert whole.target_scaling is not None
    np.testing.assert_allclose(whole.target_scaling.mean, targets.mean(0), rtol=1e-6)
    np.testing.assert_allclose(whole.target_scaling.scale, targets.std(0), rtol=1e-6)
    fit = ScalingFit(pieces)
    for start, stop in itertools.pairwise([0, 13, 13, 40]):
        fit.add(objects, event[start:stop], targets[start:stop])
    fit.finish()
    assert pieces.target_scaling is not None
    assert_close(pieces.target_scaling.scale, whole.target_scaling.scale)
    # Without targets it stays.
    fit_scaling(whole, objects, event)
    np.testing.assert_allclose(whole.target_scaling.scale, targets.std(0), rtol=1e-6)


@few
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 100))
def test_the_units_of_the_targets_change_nothing_but_units(
    factor: float, shift: float, seed: int
) -> None:
    objects, event, targets = _columns(seed)
    events = random_events(seed, [(3, 1), (0, 2), (2, 0)])
    results, losses = [], []
    for values in (targets, factor * targets + shift):
        model = _plain(regression_targets=2)
        fit_scaling(model, objects, event, values)
        assert model.target_scaling is not None
        outputs = _predict(model.eval(), events)
        results.append(outputs)
        truth = model.target_scaling(torch.from_numpy(values[:3]))
        losses.append(Regression()(outputs.scaled_regression, truth, torch.ones(3)))
    first, second = results
    assert torch.equal(second.logits, first.logits)
    assert torch.equal(second.scaled_regression, first.scaled_regression)
    assert_close(
        second.regression, factor * first.regression + shift, rtol=1e-4, atol=1e-4 * abs(shift)
    )
    assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-4)


def test_both_heads_learn_known_functions_of_the_event() -> None:
    # Target: 150 GeV + 40 GeV x event feature + 30 GeV x mean jet feature. Class: sign of another
    # mean jet feature. Measured on other events than those of the training.
    events = random_events(0, [(1 + number % 4, number % 2) for number in range(768)])
    real = (~events.mask["jets"])[..., None]
    means = (events.objects["jets"] * real).sum(1) / real.sum(1)  # (events, 3)
    target = (150 + 40 * events.event[:, 0] + 30 * means[:, 0])[:, None]
    label = (means[:, 1] > 0).long()
    train, test = events.select([*range(512)]), events.select([*range(512, 768)])
    model = _plain(regression_targets=1)
    packed, weight = train.packed(), torch.ones(512)
    fit_scaling(
        model,
        {name: values.numpy() for name, values in packed.objects.items()},
        packed.event.numpy(),
        target[:512].numpy(),
    )
    assert model.target_scaling is not None
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        outputs = model.predict_packed(packed)
        scaled = model.target_scaling(target[:512])
        loss = CrossEntropy()(outputs.logits, label[:512], weight)
        loss = loss + Regression()(outputs.scaled_regression, scaled, weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        outputs = model.eval().predict_packed(test.packed())
    residual = (outputs.regression - target[512:]).std() / target[512:].std()
    assert float(residual) < 0.4
    right = (outputs.logits[:, 0] > 0) == (label[512:] == 1)
    assert float(right.float().mean()) > 0.9


def test_errors() -> None:
    with pytest.raises(ModelInputError, match=r"^regression_targets: got -1, expected an integer"):
        small_model(regression_targets=-1)
    events = random_events(0, [(2, 1)])
    model, plain = small_model(regression_targets=2), small_model()
    message = r"^regression_targets: the model was built with 0 and regresses nothing; call forward"
    with pytest.raises(ModelInputError, match=message):
        _predict(plain, events)
    with pytest.raises(ModelInputError, match=message):
        plain.predict_packed(events.packed())
    with pytest.raises(ModelInputError, match=message):
        plain.predict_dense(events.objects, events.event, events.mask, momenta=events.momenta)
    with pytest.raises(ModelInputError, match=r"^event: got shape"):
        model.predict(events.objects, events.event[:, :1], momenta=events.momenta)
    objects, event, targets = _columns()
    with pytest.raises(ModelInputError, match=r"^targets: got an array \(40, 2\), expected None"):
        fit_scaling(plain, objects, event, targets)
    with pytest.raises(ModelInputError, match=r"^targets: got an array \(40, 1\), expected \(rows"):
        fit_scaling(model, objects, event, targets[:, :1])
    with pytest.raises(ModelInputError, match=r"\(39, 2\), expected a row for each of 40 events$"):
        fit_scaling(model, objects, event, targets[:39])
    targets[3, 1] = np.inf
    with pytest.raises(SampleError, match=r"^targets: target 1 has NaN or infinite values"):
        fit_scaling(model, objects, event, targets)
