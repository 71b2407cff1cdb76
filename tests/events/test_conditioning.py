"""Parameters of the signal as event features: who gets which."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.events import Events, fold_of, is_validation
from particle_transformer.events.conditioning import Conditioning

POINTS = ((500.0, 0.1), (750.0, 0.1), (1000.0, 0.3))
SHARES = (0.2, 0.5, 0.3)
# Processes: background, the three signals (not in the order of the points), background.
CONDITIONING = Conditioning(("mass", "width"), POINTS, SHARES, (-1, 2, 0, 1, -1))


def _events(process: np.ndarray) -> Events:
    number = len(process)
    return Events(
        {},
        np.arange(number, dtype=np.float32)[:, None],
        np.empty((number, 0), dtype=np.float32),
        np.ones(number),
        np.arange(number, dtype=np.int64)[:, None],
        process.astype(np.int16),
        np.zeros(number, dtype=np.int16),
        {},
    )


def test_signal_keeps_its_own_whatever_is_drawn() -> None:
    process = np.tile(np.arange(5), 40)
    events = _events(process)
    for uniform in (np.zeros(200), np.full(200, 0.999), np.random.default_rng(1).random(200)):
        seen = CONDITIONING.apply(events, uniform)
        np.testing.assert_array_equal(seen.event[:, :1], events.event)
        for number, point in ((1, 2), (2, 0), (3, 1)):
            own = seen.event[process == number, 1:]
            np.testing.assert_array_equal(
                own, np.tile(np.array(POINTS[point], np.float32), (40, 1))
            )
    assert seen.event.dtype == np.float32


def test_background_is_given_points_as_they_are_shared_in_signal() -> None:
    number = 200_000
    events = _events(np.zeros(number))
    drawn = np.random.default_rng(3).random(number)
    for uniform in (drawn, CONDITIONING.fixed_draws(events.identity)):
        seen = CONDITIONING.apply(events, uniform).event[:, 1:]
        for point, share in zip(POINTS, SHARES, strict=True):
            found = (seen == np.array(point, np.float32)).all(axis=1).mean()
            assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / number)


@given(st.floats(0, 1, exclude_max=True))
def test_each_draw_gives_the_point_that_it_falls_into(uniform: float) -> None:
    seen = CONDITIONING.apply(_events(np.zeros(1)), np.array([uniform])).event[0, 1:]
    expected = 0 if uniform < 0.2 else 1 if uniform < 0.7 else 2
    assert seen.tolist() == np.array(POINTS[expected], np.float32).tolist()


@given(st.permutations(range(30)))
def test_a_fixed_draw_belongs_to_the_event_and_not_to_its_place(order: list[int]) -> None:
    identity = np.random.default_rng(5).integers(-(2**62), 2**62, (30, 2))
    draws = Conditioning.fixed_draws(identity)
    assert (draws >= 0).all()
    assert (draws < 1).all()
    np.testing.assert_array_equal(Conditioning.fixed_draws(identity[order]), draws[order])


def test_fixed_draws_know_nothing_of_folds_and_validation() -> None:
    number = 100_000
    identity = np.arange(number, dtype=np.int64)[:, None]
    draws = Conditioning.fixed_draws(identity)
    error = np.sqrt(1 / 12)
    for chosen in (fold_of(identity, 5) == 3, is_validation(identity, 0)):
        assert abs(draws[chosen].mean() - 0.5) < 4 * error / np.sqrt(chosen.sum())


def test_under_a_hypothesis_every_event_has_the_same_parameters() -> None:
    events = _events(np.arange(5))
    seen = CONDITIONING.at(events, {"width": 0.2, "mass": 900})  # between points, in any order
    np.testing.assert_array_equal(
        seen.event[:, 1:], np.tile(np.array([900, 0.2], np.float32), (5, 1))
    )
    np.testing.assert_array_equal(seen.event[:, :1], events.event)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mas": 1.0, "width": 1.0}, "got 'mas', expected a parameter of the network; nearest: mass"),
        ({"mass": 1.0}, "width is missing, expected a value of each of mass, width"),
        ({"mass": np.nan, "width": 1.0}, "mass is nan, expected a finite number"),
    ],
)  # fmt: skip
def test_a_hypothesis_that_is_none(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(SampleError, match=f"^hypothesis: {message}$"):
        CONDITIONING.at(_events(np.arange(5)), parameters)


def test_it_travels_as_json() -> None:
    assert Conditioning.from_json(json.loads(json.dumps(CONDITIONING.to_json()))) == CONDITIONING
    assert CONDITIONING.hypotheses() == [
        {"mass": 500.0, "width": 0.1}, {"mass": 750.0, "width": 0.1}, {"mass": 1000.0, "width": 0.3}
    ]  # fmt: skip


def test_no_event_at_all() -> None:
    nothing = _events(np.zeros(0))
    assert CONDITIONING.apply(nothing, np.zeros(0)).event.shape == (0, 3)
    assert CONDITIONING.at(nothing, {"mass": 1.0, "width": 1.0}).event.shape == (0, 3)


def test_a_single_point_needs_no_draw() -> None:
    one = replace(CONDITIONING, points=((1.0, 2.0),), probabilities=(1.0,), process_point=(-1,))
    seen = one.apply(_events(np.zeros(3)), np.array([0.0, 0.5, 0.9999999]))
    np.testing.assert_array_equal(seen.event[:, 1:], np.tile(np.array([1, 2], np.float32), (3, 1)))
