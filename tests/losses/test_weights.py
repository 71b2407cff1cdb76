"""Training weights from physics weights."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from particle_transformer.errors import SampleError
from particle_transformer.losses import TrainingWeights, training_weights

if TYPE_CHECKING:
    from particle_transformer.losses.weights import Balance, NegativeWeights

# Two processes in class 0, one in class 1.
PROCESS = np.array([0, 0, 0, 1, 1, 2, 2, 2])
CLASS = np.array([0, 0, 0, 0, 0, 1, 1, 1])
WEIGHT = np.array([4.0, 4.0, -2.0, 1.0, 1.0, 0.1, 0.1, 0.2])


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number = draw(st.integers(1, 40))
    weight = draw(hnp.arrays(np.float64, number, elements=st.floats(-0.2, 1.0)))
    process = draw(hnp.arrays(np.int64, number, elements=st.integers(0, 4)))
    return weight, process % 2, process


def _or_reject(
    weight: np.ndarray, classes: np.ndarray, process: np.ndarray, **options: Any
) -> np.ndarray:
    try:
        return training_weights(weight, classes, process, **options)
    except SampleError:
        assume(False)
        raise


@settings(deadline=None)
@given(
    samples(),
    st.sampled_from(["class", "process", "none"]),
    st.sampled_from(["keep", "abs", "drop"]),
)
def test_the_mean_absolute_weight_is_one(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray], balance: Balance, negative: NegativeWeights
) -> None:
    weight = _or_reject(*sample, balance=balance, negative_weights=negative)
    assert weight.dtype == np.float64
    assert np.abs(weight).mean() == pytest.approx(1)
    assert np.isfinite(weight).all()
    if negative != "keep":
        assert (weight >= 0).all()


@settings(deadline=None)
@given(samples(), st.sampled_from(["keep", "abs", "drop"]))
def test_classes_get_equal_totals_and_keep_their_mixture(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray], negative: NegativeWeights
) -> None:
    physics, classes, _ = sample
    weight = _or_reject(*sample, balance="class", negative_weights=negative)
    totals = [weight[classes == value].sum() for value in np.unique(classes)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-6)
    kept = {"keep": physics, "abs": np.abs(physics), "drop": np.maximum(physics, 0)}[negative]
    for value in np.unique(classes):
        own = classes == value
        np.testing.assert_allclose(weight[own] * kept[own].sum(), kept[own] * totals[0], atol=1e-9)


@settings(deadline=None)
@given(samples())
def test_process_balance_shares_a_class_equally(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    _, classes, process = sample
    weight = _or_reject(*sample, balance="process")
    class_total = weight.sum() / len(np.unique(classes))
    for value in np.unique(classes):
        parts = np.unique(process[classes == value])
        for part in parts:
            total = weight[(classes == value) & (process == part)].sum()
            assert total == pytest.approx(class_total / len(parts), rel=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300), max_size=6),
    st.sampled_from(["class", "process", "none"]),
    st.sampled_from(["keep", "abs", "drop"]),
    st.integers(0, 1000),
)
def test_weights_fitted_piece_by_piece_are_those_of_the_whole_set(
    cuts: list[int], balance: Balance, negative: NegativeWeights, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=300) * np.where(rng.random(300) < 0.1, -1, 1)
    process = np.sort(rng.integers(0, 5, 300)).astype(np.int16)
    classes = np.array([1, 0, 1, 0, 0, 7])  # the last process has no event
    whole = _or_reject(
        weight, classes[process], process, balance=balance, negative_weights=negative
    )
    fitted = TrainingWeights.fit(
        ((weight[a:b], process[a:b]) for a, b in pairwise([0, *sorted(cuts), 300])),
        classes,
        balance=balance,
        negative_weights=negative,
    )
    np.testing.assert_allclose(fitted(weight, process), whole, rtol=1e-10)
    batch = rng.integers(0, 300, 40)
    np.testing.assert_allclose(fitted(weight[batch], process[batch]), whole[batch], rtol=1e-10)
    assert fitted.events.tolist() == np.bincount(process, minlength=6).tolist()


def test_class_balance_by_hand() -> None:
    # Class totals 8 and 0.4; Σ|w| = 12/8 + 1 = 2.5 over 8 events.
    expected = np.concatenate([WEIGHT[:5] / 8, WEIGHT[5:] / 0.4]) * 8 / 2.5
    np.testing.assert_allclose(training_weights(WEIGHT, CLASS, PROCESS), expected)


def test_no_balance_keeps_the_proportions() -> None:
    weight = training_weights(WEIGHT, CLASS, PROCESS, balance="none")
    np.testing.assert_allclose(weight / weight[0], WEIGHT / WEIGHT[0])


def test_dropped_events_have_weight_zero() -> None:
    weight = training_weights(WEIGHT, CLASS, PROCESS, negative_weights="drop")
    assert (weight == 0).tolist() == (WEIGHT < 0).tolist()


def test_the_physics_weights_are_not_altered() -> None:
    before = WEIGHT.copy()
    training_weights(WEIGHT, CLASS, PROCESS, negative_weights="abs")
    np.testing.assert_array_equal(WEIGHT, before)


@pytest.mark.parametrize("balance", ["class", "process", "none"])
def test_a_class_without_positive_weight_is_refused_whatever_the_balance(balance: Balance) -> None:
    weight = np.where(CLASS == 1, -abs(WEIGHT), WEIGHT)
    with pytest.raises(SampleError, match=r"^(class 1|process 2) has total weight -\S+ over 3 "):
        training_weights(weight, CLASS, PROCESS, balance=balance)


def test_errors() -> None:
    with pytest.raises(SampleError, match=r"class 'signal' has total weight -0.4 over 3 events"):
        training_weights(
            np.where(CLASS == 1, -WEIGHT, WEIGHT), CLASS, PROCESS,
            class_names=["background", "signal"],
        )  # fmt: skip
    with pytest.raises(SampleError, match=r"class 1 has total weight 0 over 3 events"):
        training_weights(np.where(CLASS == 1, 0, WEIGHT), CLASS, PROCESS)
    with pytest.raises(SampleError, match=r"process 'WZ' has total weight -2 over 2 events"):
        training_weights(
            np.where(PROCESS == 1, -WEIGHT, WEIGHT), CLASS, PROCESS, balance="process",
            process_names=["WW", "WZ", "tt"],
        )  # fmt: skip
    with pytest.raises(SampleError, match=r"2 of 8 physics weights are NaN or infinite"):
        training_weights(np.where(PROCESS == 1, np.nan, WEIGHT), CLASS, PROCESS)
    with pytest.raises(SampleError, match="process 1: its events are in several classes"):
        training_weights(WEIGHT, np.array([0, 0, 0, 0, 1, 1, 1, 1]), PROCESS)
    with pytest.raises(SampleError, match="no event to compute training weights of"):
        training_weights(WEIGHT[:0], CLASS[:0], PROCESS[:0])
    with pytest.raises(SampleError, match=r"class 0 has total weight 0 over 5 events"):
        training_weights(0 * WEIGHT, CLASS, PROCESS, balance="none")
    with pytest.raises(SampleError, match=r"balance: got 'classes'; nearest: class"):
        training_weights(WEIGHT, CLASS, PROCESS, balance="classes")  # type: ignore[arg-type]
