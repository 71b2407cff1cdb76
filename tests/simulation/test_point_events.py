"""Events as points."""

from __future__ import annotations

import numpy as np
import pytest

from particle_transformer.errors import SampleError
from particle_transformer.simulation.known_density import PairProcess
from particle_transformer.simulation.point_events import PointEvents


def test_chunks_are_all_events_in_order() -> None:
    events = PairProcess().generate(np.arange(45_000) % 2 == 0, 1)
    parts = list(events.chunks())
    assert [len(part) for part in parts] == [20_000, 20_000, 5_000]
    for name in ("counts", "pt", "eta", "phi", "mass", "tag", "is_signal"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(events, name)), name


def test_what_the_network_sees() -> None:
    point = PointEvents(
        np.array([0, 2]), np.array([10.0, 20.0]), np.array([0.0, 1.0]), np.array([0.0, np.pi / 2]),
        np.array([1.0, 5.0]), np.array([-0.5, 0.5]), np.array([False, True]),
    )  # fmt: skip
    events = point.to_events()
    objects = events.objects["objects"]
    assert objects.offsets.tolist() == [0, 0, 2]
    np.testing.assert_allclose(
        objects.values,
        np.array([[np.log(10), 0, 0, -0.5], [np.log(20), 1, np.log(5), 0.5]]),
        atol=1e-6,
    )
    assert objects.momenta is not None
    np.testing.assert_allclose(
        objects.momenta,
        np.array([[10, 0, 0, 10], [0, 20, 23.504024, 30.861613]]),
        rtol=1e-6,
        atol=1e-5,
    )
    assert (events.event.tolist(), events.process.tolist()) == ([[0], [2]], [0, 1])


def test_bad_events() -> None:
    empty, one, two = np.empty(0), np.ones(1), np.ones(2)
    yes, many = np.array([True]), np.ones(17)
    with pytest.raises(SampleError, match=r"^counts: got 17 objects in an event, expected 0 to 16"):
        PointEvents(np.array([17]), many, many, many, many, many, yes)
    with pytest.raises(SampleError, match=r"^counts: got -1 objects"):
        PointEvents(np.array([-1]), empty, empty, empty, empty, empty, yes)
    with pytest.raises(SampleError, match=r"^phi: got \(1,\), expected \(2,\)$"):
        PointEvents(np.array([2]), two, two, one, two, two, yes)
    with pytest.raises(SampleError, match=r"^tag: got \(0,\), expected \(2,\)$"):
        PointEvents(np.array([2]), two, two, two, two, empty, yes)
    with pytest.raises(SampleError, match=r"^is_signal: got \(2,\), expected \(1,\)$"):
        PointEvents(np.array([0]), empty, empty, empty, empty, empty, np.array([True, False]))
