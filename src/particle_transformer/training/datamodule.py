"""Batches gathered straight from the event columns, in memory or on disk."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset

from particle_transformer.errors import SampleError
from particle_transformer.events.packed import PackedBatch
from particle_transformer.events.rowset import RowSet
from particle_transformer.training.augmentation import Augmentation, random_draws
from particle_transformer.training.batch import Batch
from particle_transformer.training.sampler import BatchSampler, Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events.columns import Events
    from particle_transformer.events.conditioning import Conditioning
    from particle_transformer.training.sample import Sample

__all__ = ["BatchLoader", "EventDataModule", "EventDataset"]

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
        (batch,) = self.gather([rows], lambda events: events)
        return batch

    def gather(
        self,
        batches: Sequence[NDArray[np.int64]],
        transform: Callable[[Events], Events],
    ) -> Iterator[Batch]:
        """Several batches, whose events are read, and transformed, together."""
        events = transform(self.sample.source.take(np.concatenate(batches)))
        target = self.sample.target[events.process]
        weight = self.sample.weights(events.weight, events.process).astype(np.float32)
        columns = [
            torch.from_numpy(column)
            for column in (
                target,
                weight,
                events.spectators,
                events.weight.astype(np.float32),
                events.process.astype(np.int64),
            )
        ]
        stop = 0
        for rows in batches:
            start, stop = stop, stop + len(rows)
            packed = PackedBatch.from_events(events.slice(start, stop))
            seen = packed if self.momenta else replace(packed, momenta=None)
            target_, weight_, spectators, physics_weight, process = (
                column[start:stop] for column in columns
            )
            yield Batch(seen, target_, weight_, spectators, physics_weight, process)


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
        Transforms the events, by random numbers that depend on seed, epoch and position; not
        without a seed.
    conditioning
        Appends parameters to the event features, drawn in the same way; always the same ones where
        the order is.
    """

    def __init__(
        self,
        dataset: EventDataset,
        sampler: BatchSampler,
        augmentation: Augmentation | None = None,
        conditioning: Conditioning | None = None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.augmentation = augmentation or Augmentation()
        self.conditioning = conditioning
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
                share = self.sampler.share(self._delivered)
                self._delivered += 1
                yield batch._replace(share=share)

    def _transform(self, batches: int) -> Callable[[Events], Events]:
        """What happens to the events of the next batches."""
        sampler, first = self.sampler, self._delivered
        draws = None
        wanted = self.augmentation.transformations or self.conditioning
        if sampler.seed is not None and sampler.reshuffle and wanted:
            spans = [sampler.span(batch) for batch in range(first, first + batches)]
            draws = random_draws(sampler.seed, sampler.epoch, spans)

        def transform(events: Events) -> Events:
            if draws is not None and self.augmentation.transformations:
                events = self.augmentation.apply(events, draws)
            if self.conditioning is not None:
                fixed = self.conditioning.fixed_draws(events.identity)
                events = self.conditioning.apply(events, fixed if draws is None else draws.uniform)
            return events

        return transform

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
        Largest number of events in a step, of all ranks together.
    seed
        Of the order of the training events.
    momenta
        Whether batches carry the objects' momenta, where the events have them; only a network with
        a pair bias reads them.
    parts
        Batches per step, whose gradients are accumulated.
    sampling
        ``"shuffled"``: one shuffle of all training events; ``"stratified"``: one of each class,
        and every batch has the classes in the same proportion.
    augmentation
        Transforms the training events; the validation events stay as they are.
    conditioning
        Appends parameters to the event features.

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
        batch_size: int = 256,
        seed: int = 1,
        momenta: bool = True,
        sampling: Sampling = "shuffled",
        augmentation: Augmentation | None = None,
        conditioning: Conditioning | None = None,
        parts: int = 1,
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
        self.conditioning = conditioning
        self.parts = parts
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
        sampler = BatchSampler(strata, self.batch_size, self.seed, parts=self.parts, **self._rank())
        self._train_loader = BatchLoader(
            self._dataset(training), sampler, self.augmentation, self.conditioning
        )
        # Lightning restores loaders too late for those that an optimizer's schedule has asked
        # for, but a datamodule always in time.
        if self._resume:
            self._train_loader.load_state_dict(self._resume)
            self._resume = {}
        return self._train_loader

    def val_dataloader(self) -> BatchLoader:
        """Batches in an order that is always the same; without gradients they may be larger.

        Each has the classes and processes in proportion: a store has them one after the other, and
        a distance correlation is that of a whole batch.
        """
        strata = self.validation.strata()
        sampler = BatchSampler(
            strata, 4 * self.batch_size, self.seed, **self._rank(), reshuffle=False
        )
        return BatchLoader(self._dataset(self.validation), sampler, conditioning=self.conditioning)

    def training_excerpt(self, events: int) -> BatchLoader:
        """At most so many training events, evenly spaced, treated as validation events are.

        To compare what the network does with both; the same events in every rank.
        """
        rows = self.training.rows
        positions = np.arange(min(events, len(rows))) * len(rows) // min(events, len(rows))
        chosen = RowSet.from_index(rows.select(positions), rows.size)
        sampler = BatchSampler([chosen], 4 * self.batch_size, None)
        return BatchLoader(self._dataset(self.training), sampler, conditioning=self.conditioning)

    def _dataset(self, sample: Sample) -> EventDataset:
        return EventDataset(sample, momenta=self.momenta)

    def _rank(self) -> dict[str, Any]:
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "ranks": self.trainer.world_size}
