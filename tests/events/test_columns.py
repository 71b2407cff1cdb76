"""Ragged and Events against lists of Python, and the packed batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.events import Events, Ragged, columns
from particle_transformer.events.packed import PackedBatch

Nested = list[list[list[float]]]


def ragged_from(nested: Nested, width: int, momenta: bool) -> Ragged:
    rows = [row for event in nested for row in event]
    values = np.array(rows, dtype=np.float32).reshape(-1, width)
    offsets = np.cumsum([0, *(len(event) for event in nested)]).astype(np.int64)
    four = None
    if momenta:
        four = np.arange(4 * len(rows), dtype=np.float32).reshape(-1, 4)
    return Ragged(values, offsets, four)


def lists(ragged: Ragged) -> list[list[list[float]]]:
    return [
        ragged.values[start:stop].tolist()
        for start, stop in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    ]


def momenta_lists(ragged: Ragged) -> list[list[list[float]]]:
    assert ragged.momenta is not None
    return lists(Ragged(ragged.momenta, ragged.offsets))


finite = st.integers(-1000, 1000).map(float)


def nested(width: int, min_size: int = 0) -> st.SearchStrategy[Nested]:
    row = st.lists(finite, min_size=width, max_size=width)
    return st.lists(st.lists(row, max_size=4), min_size=min_size, max_size=8)


@st.composite
def with_index(draw) -> tuple[Nested, list[int]]:
    events = draw(nested(2))
    if not events:
        return events, []
    return events, draw(st.lists(st.integers(0, len(events) - 1), max_size=12))


@given(with_index())
def test_take_equals_picking_from_lists(drawn):
    events, index = drawn
    ragged = ragged_from(events, 2, momenta=True)
    taken = ragged.take(np.array(index, dtype=np.int64))
    assert lists(taken) == [lists(ragged)[i] for i in index]
    assert momenta_lists(taken) == [momenta_lists(ragged)[i] for i in index]
    assert taken.values.dtype == np.float32
    assert taken.offsets.dtype == np.int64
    assert taken.counts.tolist() == [len(events[i]) for i in index]


@given(st.lists(nested(3), min_size=1, max_size=4))
def test_concatenate_equals_joining_lists(parts):
    joined = Ragged.concatenate([ragged_from(part, 3, momenta=True) for part in parts])
    assert lists(joined) == [event for part in parts for event in part]
    assert joined.momenta is not None
    assert joined.momenta.shape == (joined.offsets[-1], 4)
    assert joined.offsets.dtype == np.int64


def test_momenta_stay_absent():
    bare = ragged_from([[[1.0]], []], 1, momenta=False)
    assert bare.take(np.array([1, 0])).momenta is None
    assert Ragged.concatenate([bare, bare]).momenta is None


def events_from(jets: Nested, muons: Nested, *, momenta: bool = False) -> Events:
    size = len(jets)
    number = np.arange(size)
    return Events(
        {"jets": ragged_from(jets, 2, momenta), "muons": ragged_from(muons, 1, momenta)},
        np.stack([number, number + 0.5], axis=1).astype(np.float32),
        (number[:, None] * 10).astype(np.float32),
        number.astype(np.float64) + 0.25,
        np.stack([number, -number], axis=1).astype(np.int64),
        (number % 3).astype(np.int16),
        (number % 2).astype(np.int16),
        {"signal": number % 2 == 0, "control": number % 3 == 0},
    )


@st.composite
def samples(draw) -> Events:
    jets = draw(nested(2))
    row = st.lists(finite, min_size=1, max_size=1)
    muons = draw(st.lists(st.lists(row, max_size=3), min_size=len(jets), max_size=len(jets)))
    return events_from(jets, muons)


def as_rows(events: Events) -> list[tuple[object, ...]]:
    columns = [
        lists(events.objects["jets"]),
        lists(events.objects["muons"]),
        *(
            getattr(events, name).tolist()
            for name in ("event", "spectators", "weight", "identity", "process", "era")
        ),
        *(flags.tolist() for flags in events.regions.values()),
    ]
    return list(zip(*columns, strict=True))


@given(samples(), st.data())
def test_events_take_keeps_rows_together(events, data):
    index = data.draw(st.permutations(range(len(events))))
    index = index[: data.draw(st.integers(0, len(index)))]
    taken = events.take(np.array(index, dtype=np.int64))
    rows = as_rows(events)
    assert as_rows(taken) == [rows[i] for i in index]
    assert len(taken) == len(index)
    for name in ("event", "spectators", "weight", "identity", "process", "era"):
        assert getattr(taken, name).dtype == getattr(events, name).dtype


@given(st.lists(samples(), min_size=1, max_size=4))
def test_events_concatenate_joins_rows(parts):
    joined = Events.concatenate(parts)
    assert as_rows(joined) == [row for part in parts for row in as_rows(part)]
    assert list(joined.objects) == ["jets", "muons"]


@given(samples(), st.data())
def test_events_slice_views_the_rows(events, data):
    start = data.draw(st.integers(0, len(events)))
    stop = data.draw(st.integers(start, len(events)))
    part = events.slice(start, stop)
    assert as_rows(part) == as_rows(events)[start:stop]
    assert part.spectators.base is not None


@given(samples(), st.integers(1, 3))
def test_chunks_are_all_rows_in_order(events, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "CHUNK", size)
        parts = list(events.chunks())
    assert [row for part in parts for row in as_rows(part)] == as_rows(events)
    assert all(0 < len(part) <= size for part in parts)


def test_packed_batch_shares_memory_and_moves_every_tensor():
    events = events_from([[[1.0, 2.0]], [], [[3.0, 4.0], [5.0, 6.0]]], [[], [], []], momenta=True)
    batch = PackedBatch.from_events(events)
    assert len(batch) == 3
    assert batch.objects["jets"].shape == (3, 2)
    assert batch.objects["muons"].shape == (0, 1)
    assert batch.offsets["jets"].tolist() == [0, 1, 1, 3]
    assert batch.momenta is not None
    assert batch.momenta["jets"].shape == (3, 4)
    events.event[0, 0] = 99
    assert batch.event[0, 0] == 99  # no copy
    moved = batch.to("meta")
    tensors = [moved.event, *moved.objects.values(), *moved.offsets.values()]
    tensors += list((moved.momenta or {}).values())
    assert len(tensors) == 7
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    again = batch.to(torch.device("cpu"))
    assert torch.equal(again.objects["jets"], batch.objects["jets"])


def test_packed_batch_has_momenta_only_where_all_collections_do():
    events = events_from([[[1.0, 2.0]]], [[[1.0]]], momenta=True)
    bare = Events(
        {**events.objects, "muons": Ragged(*_without_momenta(events.objects["muons"]))},
        events.event, events.spectators, events.weight, events.identity, events.process, events.era,
        events.regions,
    )  # fmt: skip
    assert PackedBatch.from_events(bare).momenta is None
    assert PackedBatch.from_events(bare).to("cpu").momenta is None


def _without_momenta(ragged: Ragged) -> tuple[np.ndarray, np.ndarray]:
    return ragged.values, ragged.offsets
