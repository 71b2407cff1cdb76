"""Batches: what is in them, in which order, for which rank, and where they are taken up again."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, Trainer

from particle_transformer.errors import SampleError
from particle_transformer.events import RowSet
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.training import datamodule, sampler
from particle_transformer.training.datamodule import BatchLoader, EventDataModule, EventDataset
from particle_transformer.training.module import EventClassifier
from particle_transformer.training.sample import Sample, make_sample
from particle_transformer.training.sampler import BatchSampler
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.training.batch import Batch


def _rows(number: int, first: int = 1000) -> RowSet:
    """Every third row from `first` on."""
    index = first + 3 * np.arange(number)
    return RowSet.from_index(index, first + 3 * number)


def _epoch(batches: BatchSampler, epoch: int) -> list[list[int]]:
    batches.set_epoch(epoch)
    return [batch.tolist() for batch in batches]


def _sample(number: int = 400, first: int = 0, stop: int | None = None) -> Sample:
    events, _ = toy_events(number)
    return make_sample(events, np.arange(first, stop or number), [0, 1])


def _tensors(batch: Batch) -> list[torch.Tensor]:
    events = batch.events
    assert events.momenta is not None
    return [
        *(events.event, *events.objects.values(), *events.offsets.values()),
        *events.momenta.values(),
        *(batch.target, batch.weight, batch.spectators, batch.physics_weight, batch.process),
    ]


def _same(left: Batch, right: Batch) -> bool:
    return all(map(torch.equal, _tensors(left), _tensors(right)))


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 100), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_is_a_permutation_in_batches_of_nearly_equal_size(
    number: int, batch_size: int, seed: int, epoch: int
) -> None:
    rows = _rows(number)
    batches = BatchSampler([rows], batch_size, seed)
    found = _epoch(batches, epoch)
    sizes = [len(batch) for batch in found]
    assert len(batches) == len(found)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert sorted(chain(*found)) == rows.select(np.arange(number)).tolist()


def test_the_multiplicity_of_consecutive_batches_is_uncorrelated() -> None:
    # The hardest order to shuffle: events sorted by multiplicity, as a file of one process after
    # the other nearly is. Nothing is padded, so nothing is sorted by length to save padding.
    number, size = 40_000, 100
    multiplicity = np.sort(np.random.default_rng(1).poisson(4, number)).astype(np.float64)
    batches = BatchSampler([RowSet.from_index(np.arange(number), number)], size, 7)
    deviations = []
    for epoch in range(5):
        batches.set_epoch(epoch)
        means = np.array([multiplicity[batch].mean() for batch in batches])
        assert len(means) == number // size
        deviations.append(means - multiplicity.mean())
    # The mean of a batch scatters as that of events drawn without replacement does ...
    expected = multiplicity.var() / size * (number - size) / (number - 1)
    pooled = np.concatenate(deviations)
    assert abs(np.mean(pooled**2) / expected - 1) < 4 * np.sqrt(2 / len(pooled))
    # ... and tells nothing about the next ones.
    for lag in (1, 2, 10):
        products = np.concatenate([d[:-lag] * d[lag:] for d in deviations]) / expected
        assert abs(products.mean()) < 4 / np.sqrt(len(products)) + 1 / (number // size)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int, batch_size: int = 10) -> tuple[int, ...]:
        return tuple(chain(*_epoch(BatchSampler([_rows(50)], batch_size, seed), epoch)))

    assert order(1, 2) == order(1, 2) == order(1, 2, 7)
    assert len({order(*pair) for pair in [(1, 1), (1, 2), (2, 1), (2, 2)]}) == 4


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=4),
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_ranks_share_each_batch_without_loss_or_overlap(
    strata: list[int], batch_size: int, ranks: int, epoch: int
) -> None:
    sets = [_rows(number, 10_000 * place) for place, number in enumerate(strata)]
    whole = BatchSampler(sets, batch_size, 1)
    expected = _epoch(whole, epoch)
    if min(map(len, expected)) < ranks:
        with pytest.raises(SampleError, match=rf"among {ranks} ranks: expected at least one"):
            BatchSampler(sets, batch_size, 1, rank=0, ranks=ranks)
        return
    parts = [
        _epoch(BatchSampler(sets, batch_size, 1, rank=rank, ranks=ranks), epoch)
        for rank in range(ranks)
    ]
    assert {len(part) for part in parts} == {len(expected)}
    for batch, shares in zip(expected, zip(*parts, strict=True), strict=True):
        assert list(chain(*shares)) == batch
        sizes = [len(share) for share in shares]
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=5), st.integers(2, 60), st.integers(1, 3))
def test_stratified_batches_have_the_classes_in_proportion(
    strata: list[int], batch_size: int, ranks: int
) -> None:
    sets = [_rows(number, 10_000 * place) for place, number in enumerate(strata)]
    total = sum(strata)
    if total // -(-total // batch_size) < ranks:
        return
    everything = []
    for rank in range(ranks):
        for batch in _epoch(BatchSampler(sets, batch_size, 1, rank=rank, ranks=ranks), 0):
            everything += batch
            of_class = np.bincount(np.array(batch) // 10_000, minlength=len(strata))
            share = np.array(strata) * len(batch) / total
            assert (abs(of_class - share) < len(strata)).all()
            if len(strata) == 2:
                assert (abs(of_class - share) < 1).all()
    expected = np.concatenate([rows.select(np.arange(len(rows))) for rows in sets])
    assert sorted(everything) == expected.tolist()


def test_the_strata_of_a_sample_are_its_classes() -> None:
    sample = _sample(300, 20, 250)
    index = np.arange(20, 250)
    process = toy_events(300)[0].process
    for value, rows in enumerate(sample.strata()):
        found = rows.select(np.arange(len(rows)))
        assert found.tolist() == index[process[index] == value].tolist()


@pytest.mark.parametrize("ahead", [1, 25, 10_000])
def test_how_far_is_read_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    sample = _sample(90)
    plain = BatchSampler([sample.rows], 8, 3)
    expected = [EventDataset(sample, momenta=True)[rows] for rows in plain]
    monkeypatch.setattr(datamodule, "_AHEAD", ahead)
    monkeypatch.setattr(sampler, "_BLOCK", ahead)
    loader = BatchLoader(EventDataset(sample, momenta=True), BatchSampler([sample.rows], 8, 3))
    assert all(_same(*pair) for pair in zip(loader, expected, strict=True))


def test_a_batch_holds_the_rows_of_its_events() -> None:
    events, target = toy_events(60)
    weight = np.linspace(-0.5, 2, 60)
    events = replace(events, weight=weight)
    training = make_sample(events, np.arange(40), [0, 1], balance="none")
    validation = make_sample(events, np.arange(40, 60), [0, 1], balance="none")
    data = EventDataModule(training, validation, batch_size=8, seed=3, momenta=True)
    batches = BatchSampler([training.rows], 8, 3)
    for (packed, classes, weights, *_), index in zip(data.train_dataloader(), batches, strict=True):
        assert torch.equal(classes, torch.from_numpy(target[index]))
        assert weights.dtype == torch.float32
        np.testing.assert_allclose(weights, weight[index] / abs(weight[:40]).mean(), rtol=1e-6)
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


def test_validation_is_mixed_always_the_same_and_has_momenta_on_demand() -> None:
    events, _ = toy_events(400)
    # As in a store: all events of a process, then those of the next one.
    events = events.take(np.argsort(events.process, kind="stable"))
    process = np.repeat([0, 1, 2], [200, 100, 100]).astype(np.int16)
    events = replace(events, process=process)
    training, validation = (
        make_sample(events, rows, [0, 0, 1])
        for rows in (np.arange(0, 400, 2), np.arange(1, 400, 2))
    )
    conditioning = Conditioning(("mass",), ((1.0,), (2.0,)), (0.5, 0.5), (-1, -1, 0))
    data = EventDataModule(
        training, validation, batch_size=10, seed=3, momenta=False, conditioning=conditioning
    )
    epochs = []
    for epoch in range(2):
        loader = data.val_dataloader()
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch.events) for batch in batches] == [40] * 5
        # 150 of the 200 are of class 0 and 50 of class 1; the two processes of class 0 are mixed.
        assert [int(batch.target.sum()) for batch in batches] == [10] * 5
        for batch in batches:
            assert 10 <= int((batch.process == 0).sum()) <= 29
        assert all(batch.events.momenta is None for batch in batches)
        epochs.append(batches)
    for first, second in zip(*epochs, strict=True):
        assert torch.equal(first.events.event, second.events.event)
    expected = conditioning.apply(events, conditioning.fixed_draws(events.identity)).event[1::2]
    found = torch.cat([batch.events.event for batch in epochs[0]]).numpy()
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(expected, axis=0))
    with_momenta = EventDataModule(training, validation, batch_size=10, seed=3, momenta=True)
    assert all(batch.events.momenta is not None for batch in with_momenta.val_dataloader())


def test_an_excerpt_of_the_training_is_evenly_spaced_and_treated_as_validation() -> None:
    events, target = toy_events(60)
    training, validation = (
        make_sample(events, rows, [0, 1]) for rows in (np.arange(40), np.arange(40, 60))
    )
    conditioning = Conditioning(("mass",), ((1.0,), (2.0,)), (0.5, 0.5), (-1, 0))
    data = EventDataModule(
        training, validation, batch_size=3, seed=3, momenta=False, conditioning=conditioning
    )
    expected = conditioning.apply(events, conditioning.fixed_draws(events.identity)).event
    for wanted, rows in (
        (10, np.arange(0, 40, 4)),
        (7, [0, 5, 11, 17, 22, 28, 34]),
        (99, range(40)),
    ):
        batches = list(data.training_excerpt(wanted))
        np.testing.assert_array_equal(torch.cat([batch.target for batch in batches]), target[rows])
        found = torch.cat([batch.events.event for batch in batches])
        np.testing.assert_array_equal(found, expected[rows])


def test_roles_are_checked() -> None:
    events, _ = toy_events(10)
    with pytest.raises(SampleError, match="no validation event"):
        make_sample(events, np.arange(0), [0, 1], role="validation")
    first, second = (
        make_sample(events, np.array(rows), [0, 1], balance="none") for rows in ([1, 2, 3], [2, 3])
    )
    with pytest.raises(SampleError, match="2 events are in both training and validation"):
        EventDataModule(first, second, batch_size=3, seed=3, momenta=False)


@pytest.mark.parametrize("sampling", ["shuffled", "stratified"])
@pytest.mark.parametrize("delivered", [0, 1, 7, 13])
def test_an_epoch_is_taken_up_at_the_exact_batch(sampling: Any, delivered: int) -> None:
    def loader() -> BatchLoader:
        training, validation = _sample(400, 0, 300), _sample(400, 300, 400)
        data = EventDataModule(
            training, validation, batch_size=23, seed=5, momenta=True, sampling=sampling
        )
        return data.train_dataloader()

    whole = loader()
    whole.sampler.set_epoch(2)
    expected = list(whole)
    assert len(expected) == 14
    stopped = loader()
    stopped.sampler.set_epoch(2)
    batches = iter(stopped)
    for _ in range(delivered):
        next(batches)
    state = stopped.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    remaining = list(resumed)
    assert len(remaining) == len(expected) - delivered
    assert all(_same(*pair) for pair in zip(remaining, expected[delivered:], strict=True))
    # Afterwards, and in another epoch than that of the state, epochs are whole.
    assert len(list(resumed)) == len(expected)
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(3)
    assert len(list(resumed)) == len(expected)


def test_a_state_of_other_batches_is_refused() -> None:
    sample = _sample(60)
    dataset = EventDataset(sample, momenta=False)
    state = BatchLoader(dataset, BatchSampler([sample.rows], 8, 3)).state_dict()
    for batch_size, seed, name in ((8, 4, "seed"), (9, 3, "batches")):
        other = BatchLoader(dataset, BatchSampler([sample.rows], batch_size, seed))
        with pytest.raises(SampleError, match=rf"{name}: the checkpoint's batches were made with"):
            other.load_state_dict(state)


class _Watch(Callback):
    """Note the targets and weights of each training batch; write a checkpoint and stop."""

    def __init__(self, checkpoint: Path | None = None, stop: int | None = None) -> None:
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.checkpoint = checkpoint
        self.stop = stop

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        batch = args[2]
        self.seen.append((batch[0].event[:, 0].clone(), batch[2].clone()))
        if trainer.global_step == self.stop:
            trainer.save_checkpoint(self.checkpoint)
            trainer.should_stop = True


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_resumes_in_mid_epoch_and_ends_with_the_same_network(tmp_path: Path) -> None:
    def fit(watch: _Watch, checkpoint: Path | None = None) -> dict[str, torch.Tensor]:
        training, validation = _sample(400, 0, 300), _sample(400, 300, 400)
        data = EventDataModule(training, validation, batch_size=32, seed=5, momenta=False)
        torch.manual_seed(0)
        model = toy_model()
        trainer = Trainer(
            accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
            use_distributed_sampler=False, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(EventClassifier(model, FitSettings(epochs=3)), data, ckpt_path=checkpoint)
        return model.state_dict()

    whole, first, second = _Watch(), _Watch(tmp_path / "mid.ckpt", stop=14), _Watch()
    expected = fit(whole)
    fit(first)
    resumed = fit(second, tmp_path / "mid.ckpt")
    assert len(whole.seen) == 30
    assert len(first.seen) == 14
    assert len(second.seen) == 16
    for left, right in zip(whole.seen, first.seen + second.seen, strict=True):
        assert all(map(torch.equal, left, right))
    for name, value in expected.items():
        assert torch.equal(resumed[name], value), name
