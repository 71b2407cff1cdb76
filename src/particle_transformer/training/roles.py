"""Which events of a store the network of a fold is trained and validated on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.config import DATA
from particle_transformer.errors import SampleError
from particle_transformer.events import RowSetBuilder, split_roles
from particle_transformer.training.sample import Sample, make_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.events import EventSource

__all__ = ["fold_samples"]


def _target_names(analysis: Analysis) -> tuple[str, ...]:
    """Class of each training target: with two classes 1 is signal, else signal is 0."""
    classes = analysis.classes
    return classes[::-1] if len(classes) == 2 else classes


def _targets(analysis: Analysis) -> NDArray[np.int64]:
    """Training target of each process; -1 for data."""
    targets = {name: target for target, name in enumerate(_target_names(analysis))}
    return np.array([targets.get(analysis.class_of(name), -1) for name in analysis.processes])


def fold_samples(
    analysis: Analysis, source: EventSource, classes: Sequence[str], fold: int
) -> tuple[Sample, Sample, int]:
    """Training and validation events of the network of one fold, and how many test events.

    The events are those of the classes that are trained on, in regions of role signal.

    Parameters
    ----------
    analysis
        Names the classes, the regions and how training weights are made.
    source
        The prepared events; they are read in three passes, of which none keeps them.
    classes
        Class of each process, as in the store's manifest.
    fold
        Whose events the network must not read.

    Returns
    -------
    training, validation, test
        Two samples, and the number of test events.

    Raises
    ------
    SampleError
        If a class has no event in one of the three roles, or the weights cannot be normalised.
    """
    settings = analysis.training
    data = np.array([name == DATA for name in classes])
    target = _targets(analysis)
    names = _target_names(analysis)
    roles = ("training", "validation", "test")
    builders = [RowSetBuilder(len(source)) for _ in roles]
    count = np.zeros((len(roles), len(names)), dtype=np.int64)
    for chunk in source.chunks():
        passing = [chunk.regions[name] for name in analysis.signal_regions]
        chosen = np.flatnonzero(np.logical_or.reduce(passing) & ~data[chunk.process])
        split = split_roles(chunk.identity[chosen], fold, settings.folds)
        for number, (index, builder) in enumerate(zip(split, builders, strict=True)):
            flags = np.zeros(len(chunk), dtype=np.bool_)
            flags[chosen[index]] = True
            builder.extend(flags)
            count[number] += np.bincount(target[chunk.process[flags]], minlength=len(names))
    for role, found in zip(roles, count, strict=True):
        missing = [name for name, events in zip(names, found, strict=True) if not events]
        if missing:
            message = (
                f"no {role} event of class {', '.join(missing)} among {count.sum()} events; "
                f"use fewer folds or more events"
            )
            raise SampleError(message)
    # The weights of each role are normalised by its own events only.
    training, validation = (
        make_sample(
            source,
            builder.finish(),
            target,
            balance=settings.balance,
            negative_weights=settings.negative_weights,
            class_names=names,
            process_names=list(analysis.processes),
            role=role,
        )
        for role, builder in zip(roles[:2], builders[:2], strict=True)
    )
    return training, validation, int(count[2].sum())
