"""Batches gathered straight from the event columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from particle_transformer.errors import SampleError
from particle_transformer.events.packed import PackedBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from particle_transformer.events.columns import Events

__all__ = ["BatchSampler", "EventDataModule", "EventDataset"]


class EventDataset(Dataset[tuple[PackedBatch, "Tensor", "Tensor"]]):
    """Whole batches by the indices of their events.

    Parameters
    ----------
    events
        The columns.
    target
        int64 (events,): index of the class.
    weight
        float64 (events,): training weights.
    momenta
        Whether batches carry the objects' momenta.
    """

    def __init__(
        self,
        events: Events,
        target: NDArray[np.int64],
        weight: NDArray[np.float64],
        *,
        momenta: bool,
    ) -> None:
        if not momenta:
            # Spares gathering what the network does not read.
            events = replace(
                events,
                objects={
                    name: replace(ragged, momenta=None) for name, ragged in events.objects.items()
                },
            )
        self.events = events
        self.target = target
        self.weight = weight

    def __getitem__(self, index: NDArray[np.int64]) -> tuple[PackedBatch, Tensor, Tensor]:
        """Gather the batch of the events `index` (int64 (selected,)), in that order."""
        return (
            PackedBatch.from_events(self.events.take(index)),
            torch.from_numpy(self.target[index]),
            torch.from_numpy(self.weight[index].astype(np.float32)),
        )


class BatchSampler(Sampler["NDArray[np.int64]"]):
    """Cut event indices into batches of nearly equal size.

    A rest of a few events would get a step of its own; so the sizes differ by one at most.

    Parameters
    ----------
    index
        int64 (selected,): the events.
    batch_size
        Largest size of a batch.
    seed
        Of the order, which depends on nothing but (seed, epoch); None keeps the given order.
    """

    def __init__(self, index: NDArray[np.int64], batch_size: int, seed: int | None) -> None:
        self.index = index
        self.batches = -(-len(index) // batch_size)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        index = self.index
        if self.seed is not None:
            index = np.random.default_rng((self.seed, self.epoch)).permutation(index)
        return iter(np.array_split(index, self.batches))

    def __len__(self) -> int:
        return self.batches


class EventDataModule(LightningDataModule):
    """Training and validation batches of prepared events.

    Parameters
    ----------
    events
        The columns.
    target
        int64 (events,): index of the class; 1 is signal for a network with one logit.
    weight
        float64 (events,): training weights; only those of training and validation are read.
    training, validation
        int64: indices of events.
    batch_size
        Largest number of events in a batch.
    seed
        Of the order of the training events.
    momenta
        Whether batches carry the objects' momenta.

    Raises
    ------
    SampleError
        If training or validation is empty, or both have an event in common.
    """

    def __init__(
        self,
        events: Events,
        target: NDArray[np.int64],
        weight: NDArray[np.float64],
        training: NDArray[np.int64],
        validation: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        momenta: bool,
    ) -> None:
        super().__init__()
        for name, index in (("training", training), ("validation", validation)):
            if not len(index):
                message = f"no {name} event; loosen the selection or add events"
                raise SampleError(message)
        shared = np.intersect1d(training, validation)
        if shared.size:
            message = f"{shared.size} events are in both training and validation, expected none"
            raise SampleError(message)
        self.dataset = EventDataset(events, target, weight, momenta=momenta)
        self.training = training
        self.validation = validation
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader[tuple[PackedBatch, Tensor, Tensor]]:
        """Batches in an order that depends on (seed, epoch)."""
        return self._loader(BatchSampler(self.training, self.batch_size, self.seed))

    def val_dataloader(self) -> DataLoader[tuple[PackedBatch, Tensor, Tensor]]:
        """Batches in the order of the events; without gradients they may be larger."""
        return self._loader(BatchSampler(self.validation, 4 * self.batch_size, None))

    def _loader(self, sampler: BatchSampler) -> DataLoader[tuple[PackedBatch, Tensor, Tensor]]:
        # Gathering a batch takes well under a millisecond: worker processes would cost more.
        return DataLoader(
            self.dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=0,
            collate_fn=_as_is,
        )


def _as_is(batch: Any) -> Any:
    return batch
