"""Batches straight from the columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.training.datamodule import BatchSampler, EventDataModule
from training.toys import toy_events


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 100), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_is_a_permutation_in_batches_of_nearly_equal_size(
    number: int, batch_size: int, seed: int, epoch: int
) -> None:
    index = np.arange(1000, 1000 + number)
    sampler = BatchSampler(index, batch_size, seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    sizes = [len(batch) for batch in batches]
    assert len(sampler) == len(batches)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(batches)) == index.tolist()


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = BatchSampler(np.arange(50), 10, seed)
        sampler.set_epoch(epoch)
        return list(np.concatenate(list(sampler)))

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(*pair)) for pair in [(1, 1), (1, 2), (2, 1), (2, 2)]}) == 4


def test_a_batch_holds_the_rows_of_its_events() -> None:
    events, target = toy_events(60)
    weight = np.linspace(-1, 1, 60)
    training, validation = np.arange(40), np.arange(40, 60)
    data = EventDataModule(
        events, target, weight, training, validation, batch_size=8, seed=3, momenta=True
    )
    loader = data.train_dataloader()
    sampler = BatchSampler(training, 8, 3)
    for (packed, classes, weights), index in zip(loader, sampler, strict=True):
        assert torch.equal(classes, torch.from_numpy(target[index]))
        assert weights.dtype == torch.float32
        np.testing.assert_allclose(weights, weight[index], rtol=1e-6)
        np.testing.assert_array_equal(packed.event, events.event[index])
        for name, ragged in events.objects.items():
            rows = [np.arange(ragged.offsets[i], ragged.offsets[i + 1]) for i in index]
            np.testing.assert_array_equal(packed.objects[name], ragged.values[np.concatenate(rows)])
            assert ragged.momenta is not None
            assert packed.momenta is not None
            np.testing.assert_array_equal(
                packed.momenta[name], ragged.momenta[np.concatenate(rows)]
            )
            np.testing.assert_array_equal(packed.offsets[name].diff(), [len(r) for r in rows])


def test_validation_comes_in_order_and_momenta_only_on_demand() -> None:
    events, target = toy_events(60)
    data = EventDataModule(
        events, target, np.ones(60), np.arange(40), np.arange(40, 60),
        batch_size=3, seed=3, momenta=False,
    )  # fmt: skip
    batches = list(data.val_dataloader())
    np.testing.assert_array_equal(torch.cat([b[1] for b in batches]), target[40:])
    assert all(packed.momenta is None for packed, _, _ in batches)


def test_roles_are_checked() -> None:
    events, target = toy_events(10)

    def make(training: list[int], validation: list[int]) -> EventDataModule:
        return EventDataModule(
            events, target, np.ones(10), np.array(training, dtype=np.int64),
            np.array(validation, dtype=np.int64), batch_size=3, seed=3, momenta=False,
        )  # fmt: skip

    with pytest.raises(SampleError, match="no validation event"):
        make([1], [])
    with pytest.raises(SampleError, match="no training event"):
        make([], [1])
    with pytest.raises(SampleError, match="2 events are in both training and validation"):
        make([1, 2, 3], [2, 3, 4])
