"""Batches gathered straight from the event columns, in memory or on disk."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset

from particle_transformer.errors import SampleError
from particle_transformer.events.packed import PackedBatch
from particle_transformer.training.augmentation import Augmentation, random_draws
from particle_transformer.training.sampler import BatchSampler, Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from particle_transformer.events.columns import Events
    from particle_transformer.training.sample import Sample

__all__ = ["Batch", "BatchLoader", "EventDataModule", "EventDataset"]

Batch: TypeAlias = "tuple[PackedBatch, Tensor, Tensor]"
"""Events, target int64 (events,), training weight float32 (events,)."""

_AHEAD = 131_072
"""Events that are gathered from a store at once: most of its shards are opened for any batch."""


class EventDataset(Dataset[Batch]):
    """Whole batches by the rows of their events.

    Parameters
    ----------
    sample
        The table of events, their targets and training weights.
    momenta
        Whether batches carry the objects' momenta.
    """

    def __init__(self, sample: Sample, *, momenta: bool) -> None:
        self.sample = sample
        self.momenta = momenta

    def __getitem__(self, rows: NDArray[np.int64]) -> Batch:
        """The batch of the events in `rows` (int64 (selected,)) of the table, in that order."""
        (batch,) = self.gather([rows])
        return batch

    def gather(
        self,
        batches: Sequence[NDArray[np.int64]],
        transform: Callable[[Events], Events] | None = None,
    ) -> Iterator[Batch]:
        """Several batches, whose events are read, and transformed, together."""
        events = self.sample.source.take(np.concatenate(batches))
        if transform is not None:
            events = transform(events)
        target = self.sample.target[events.process]
        weight = self.sample.weights(events.weight, events.process).astype(np.float32)
        stop = 0
        for rows in batches:
            start, stop = stop, stop + len(rows)
            packed = PackedBatch.from_events(events.slice(start, stop))
            yield (
                packed if self.momenta else replace(packed, momenta=None),
                torch.from_numpy(target[start:stop]),
                torch.from_numpy(weight[start:stop]),
            )


class BatchLoader:
    """An epoch's batches, which can be taken up again where it was left.

    `state_dict` and `load_state_dict` are those of torchdata's StatefulDataLoader. Gathering is
    faster than worker processes would be.

    Parameters
    ----------
    dataset
        Gathers a batch.
    sampler
        Says what is in it.
    augmentation
        Transforms the events, by random numbers that depend on seed, epoch and position.
    """

    def __init__(
        self,
        dataset: EventDataset,
        sampler: BatchSampler,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.augmentation = augmentation or Augmentation()
        self.batch_sampler = None  # as in a DataLoader whose sampler gives whole batches
        self._delivered = 0
        self._resume: tuple[int, int] | None = None  # epoch, batches already delivered

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # Nothing runs until `next`: Lightning asks for the iterator before it sets the epoch.
        self._delivered = 0
        if self._resume is not None:
            epoch, delivered = self._resume
            self._resume = None
            if epoch == self.sampler.epoch:
                self._delivered = delivered
        rows = self.sampler.batches_from(self._delivered)
        together = max(1, _AHEAD * len(self) * self.sampler.ranks // self.sampler.events)
        while group := list(islice(rows, together)):
            for batch in self.dataset.gather(group, self._transform(len(group))):
                self._delivered += 1
                yield batch

    def _transform(self, batches: int) -> Callable[[Events], Events] | None:
        """What happens to the events of the next batches."""
        augmentation, sampler = self.augmentation, self.sampler
        if not augmentation.transformations or sampler.seed is None:
            return None
        first = self._delivered
        spans = [sampler.span(batch) for batch in range(first, first + batches)]
        draws = random_draws(sampler.seed, sampler.epoch, spans)
        return partial(augmentation.apply, draws=draws)

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands, and of which batches; the same for every rank."""
        return {"epoch": self.sampler.epoch, "delivered": self._delivered, **self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration, if it is of the same epoch, go on where the state was taken.

        Raises
        ------
        SampleError
            If the events, the seed or the number of batches were others then.
        """
        for name, value in self._identity().items():
            if state_dict[name] != value:
                message = (
                    f"{name}: the checkpoint's batches were made with {state_dict[name]}, these "
                    f"with {value}; resume with the same events and settings"
                )
                raise SampleError(message)
        self._resume = int(state_dict["epoch"]), int(state_dict["delivered"])
        self.sampler.set_epoch(self._resume[0])

    def _identity(self) -> dict[str, Any]:
        sampler = self.sampler
        return {
            "events": [len(rows) for rows in sampler.strata],
            "batches": sampler.batches,
            "seed": sampler.seed,
            "augmentation": list(self.augmentation.transformations),
        }


class EventDataModule(LightningDataModule):
    """Training and validation batches of prepared events.

    In a distributed training each rank gets its part of each batch; give the trainer
    ``use_distributed_sampler=False``.

    Parameters
    ----------
    training, validation
        The events.
    batch_size
        Largest number of events in a batch, of all ranks together.
    seed
        Of the order of the training events.
    momenta
        Whether batches carry the objects' momenta.
    sampling
        ``"shuffled"``: one shuffle of all training events; ``"stratified"``: one of each class,
        and every batch has the classes in the same proportion.
    augmentation
        Transforms the training events; the validation events stay as they are.

    Raises
    ------
    SampleError
        If training and validation have an event in common.
    """

    def __init__(
        self,
        training: Sample,
        validation: Sample,
        *,
        batch_size: int,
        seed: int,
        momenta: bool,
        sampling: Sampling = "shuffled",
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__()
        if training.source is validation.source and (
            shared := training.rows.shared(validation.rows)
        ):
            message = f"{shared} events are in both training and validation, expected none"
            raise SampleError(message)
        self.training = training
        self.validation = validation
        self.batch_size = batch_size
        self.seed = seed
        self.momenta = momenta
        self.sampling = sampling
        self.augmentation = augmentation
        self._train_loader: BatchLoader | None = None
        self._resume: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands; Lightning keeps it in checkpoints."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader go on where the state was taken."""
        self._resume = state_dict

    def train_dataloader(self) -> BatchLoader:
        """Batches in an order that depends on (seed, epoch)."""
        training = self.training
        strata = [training.rows] if self.sampling == "shuffled" else training.strata()
        sampler = BatchSampler(strata, self.batch_size, self.seed, **self._rank())
        self._train_loader = BatchLoader(self._dataset(training), sampler, self.augmentation)
        # Lightning restores loaders too late for those that an optimizer's schedule has asked
        # for, but a datamodule always in time.
        if self._resume:
            self._train_loader.load_state_dict(self._resume)
            self._resume = {}
        return self._train_loader

    def val_dataloader(self) -> BatchLoader:
        """Batches in the order of the events; without gradients they may be larger."""
        rows = [self.validation.rows]
        sampler = BatchSampler(rows, 4 * self.batch_size, None, **self._rank())
        return BatchLoader(self._dataset(self.validation), sampler)

    def _dataset(self, sample: Sample) -> EventDataset:
        return EventDataset(sample, momenta=self.momenta)

    def _rank(self) -> dict[str, int]:
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "ranks": self.trainer.world_size}
