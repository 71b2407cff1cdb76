"""Standardisation inside the model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.samples import FEATURES, random_events, small_model
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import ModelInputError, SampleError
from particle_transformer.model import ScalingFit, fit_scaling


def _columns(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    objects = {
        name: rng.normal(100, 7, (500, width)).astype(np.float32)
        for name, width in FEATURES.items()
    }
    return objects, rng.normal(-3, 0.1, (300, 2)).astype(np.float32)


def test_mean_and_deviation_of_real_objects() -> None:
    model = small_model()
    objects, event = _columns()
    fit_scaling(model, objects, event)
    for position, name in enumerate(FEATURES):
        scaling: Any = model.object_scaling[position]
        scaled = scaling(torch.from_numpy(objects[name])).double()
        np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(scaled.std(0, unbiased=False), 1, rtol=1e-4)
    np.testing.assert_allclose(model.event_scaling.mean, event.mean(0, dtype=np.float64), rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 500), max_size=8), st.integers(0, 100), st.floats(0, 1e4))
def test_how_the_events_are_cut_changes_nothing(cuts: list[int], seed: int, shift: float) -> None:
    objects, event = _columns(seed)
    objects["jets"] = objects["jets"] + np.float32(shift)
    objects["muons"][:, 1] = 0.1
    whole, pieces = small_model(), small_model()
    fit_scaling(whole, objects, event)
    fit = ScalingFit(pieces)
    for start, stop in pairwise([0, *sorted(cuts), 500]):
        fit.add({name: values[start:stop] for name, values in objects.items()}, event[start:stop])
    fit.finish()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(pieces.state_dict()[name], value, rtol=3e-7, atol=0)
    # The definition: mean and deviation of all rows in float64.
    jets: Any = pieces.object_scaling[0]
    columns = objects["jets"].astype(np.float64)
    np.testing.assert_allclose(jets.mean, columns.mean(0), rtol=1e-7)
    np.testing.assert_allclose(jets.scale, columns.std(0), rtol=1e-7)


def test_the_scale_is_computed_in_float64() -> None:
    # In float32 the variance of 16 777 216 + {0, 2} would be lost.
    model = AnalysisObjectTransformer(1, 1, 8, 8, 8, num_heads=2)
    values = np.array([[16777216.0], [16777218.0]] * 1000, dtype=np.float32)
    fit_scaling(model, {"objects": values}, values)
    assert float(model.event_scaling.scale[0]) == 1.0
    np.testing.assert_allclose(model.event_scaling.mean, [16777217.0], rtol=1e-7)


def test_a_constant_feature_has_scale_one() -> None:
    model = small_model()
    objects, event = _columns()
    event[:, 1] = 0.1  # whose float64 deviation is not exactly zero
    fit_scaling(model, objects, event)
    assert float(model.event_scaling.scale[1]) == 1.0
    scaled = model.event_scaling(torch.from_numpy(event))
    assert (scaled[:, 1].abs() < 1e-6).all()


def test_scaling_features_and_fitting_leaves_the_logits_alone() -> None:
    # GeV or MeV: after fitting the network sees the same numbers.
    events = random_events(3, [(4, 2), (0, 1), (2, 0)])
    logits = []
    for unit in (1.0, 1000.0):
        model = small_model()
        packed = events.packed()
        objects = {name: unit * values for name, values in packed.objects.items()}
        fit_scaling(model, {n: v.numpy() for n, v in objects.items()}, unit * events.event.numpy())
        changed = type(packed)(objects, packed.offsets, unit * packed.event, packed.momenta)
        logits.append(model.forward_packed(changed))
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-5)


def test_a_collection_without_objects_keeps_its_scaling() -> None:
    model = AnalysisObjectTransformer(FEATURES, 2, 8, 8, 8, num_heads=2)
    objects, event = _columns()
    objects["muons"] = objects["muons"][:0]
    fit_scaling(model, objects, event)
    scaling: Any = model.object_scaling[1]
    assert scaling.mean.tolist() == [0, 0]
    assert scaling.scale.tolist() == [1, 1]


def test_the_scaling_travels_with_the_state() -> None:
    model = small_model()
    objects, event = _columns()
    fit_scaling(model, objects, event)
    copy = small_model(1)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.event_scaling.scale, model.event_scaling.scale)


def test_errors() -> None:
    model = small_model()
    objects, event = _columns()
    with pytest.raises(ModelInputError, match=r"objects: unknown collection 'jet'; nearest: jets"):
        fit_scaling(model, {"jet": objects["jets"]}, event)
    with pytest.raises(
        ModelInputError, match=r"event: got an array \(300, 1\), expected \(rows, 2\)"
    ):
        fit_scaling(model, objects, event[:, :1])
    objects["muons"][7, 1] = np.nan
    with pytest.raises(SampleError, match=r"objects\['muons'\]: feature 1 has NaN"):
        fit_scaling(model, objects, event)
