"""Rate of delivering training batches from a store, and of training on them, on one core.

Delivered: a whole epoch of `EventDataModule` on the prepared store, all events shuffled, batches
of 512. Trained: the default network (width 128) on the first of these batches, forward, backward
and AdamW. Prints both in batches per second, and how many times faster delivery is: training waits
for its data where that is not well above one.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sample import one_core, write_sample

from particle_transformer.config import Analysis, load_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.events import split_roles
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.model import AnalysisObjectTransformer, fit_scaling
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.module import decay_groups
from particle_transformer.training.sample import make_sample

if TYPE_CHECKING:
    from particle_transformer.training.batch import Batch

SIGNAL_IS_ONE = (1, 0)  # target of each process, in the analysis file's order


def data_module(analysis: Analysis, store: Store) -> EventDataModule:
    """The first fold's training and validation batches."""
    source = StoreRows(store)
    identity = np.concatenate([chunk.identity for chunk in source.chunks()])
    training, validation, _ = split_roles(identity, 0, analysis.training.folds)
    return EventDataModule(
        make_sample(source, training, SIGNAL_IS_ONE),
        make_sample(source, validation, SIGNAL_IS_ONE),
        batch_size=analysis.training.batch_size,
        seed=1,
        momenta=analysis.model.pair_bias,
    )


def seconds_per_delivery(data: EventDataModule) -> float:
    """Seconds per batch over one epoch."""
    started = time.perf_counter()
    batches = sum(1 for _ in data.train_dataloader())
    return (time.perf_counter() - started) / batches


def seconds_per_step(analysis: Analysis, store: Store, batches: list[Batch]) -> float:
    """Median seconds of a training step."""
    torch.manual_seed(1)
    manifest = store.manifest
    model = AnalysisObjectTransformer(
        {name: len(features) for name, features in manifest.objects.items()},
        len(manifest.event),
        **analysis.model.model_dump(),
        num_outputs=1,
    )
    chunk = next(iter(StoreRows(store).chunks()))
    fit_scaling(model, {name: part.values for name, part in chunk.objects.items()}, chunk.event)
    decayed, free = decay_groups(model)
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": free, "weight_decay": 0.0}],
        lr=analysis.training.learning_rate,
    )
    seconds = []
    for batch in batches:
        started = time.perf_counter()
        loss = CrossEntropy()(model.forward_packed(batch.events), batch.target, batch.weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])  # the first allocates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="in both files together")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of delivery")
    parser.add_argument("--steps", type=int, default=30, help="training steps")
    options = parser.parse_args()
    one_core()
    with tempfile.TemporaryDirectory() as folder:
        sample = write_sample(Path(folder), compression="none", events=options.events)
        analysis = load_analysis(sample.analysis)
        store = Store(prepare(analysis, sample.folder / "store"))
        data = data_module(analysis, store)
        batches = list(islice(data.train_dataloader(), options.steps))
        delivery = [seconds_per_delivery(data) for _ in range(options.repeats)]
        step = seconds_per_step(analysis, store, batches)
    rate = 1 / statistics.median(delivery)
    print(
        f"{len(data.training):,} training events, batches of {analysis.training.batch_size}, "
        f"width {analysis.model.embed_dims}\n"
        f"  delivered  {rate:9.1f} batches/s ({1 / max(delivery):.1f} to {1 / min(delivery):.1f})\n"
        f"  trained    {1 / step:9.1f} batches/s\n"
        f"  ratio      {rate * step:9.1f}"
    )


if __name__ == "__main__":
    main()
