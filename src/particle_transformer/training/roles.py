"""Which events of a store the network of a fold is trained and validated on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.events import RowSetBuilder, split_roles
from particle_transformer.events.classes import DATA
from particle_transformer.training.sample import Sample, make_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis
    from particle_transformer.events import Events, EventSource

__all__ = ["check_folds", "fold_samples"]


def _target_names(analysis: Analysis) -> tuple[str, ...]:
    """Class of each training target: with two classes 1 is signal, else signal is 0."""
    classes = analysis.classes
    return classes[::-1] if len(classes) == 2 else classes


def _targets(analysis: Analysis) -> NDArray[np.int64]:
    """Training target of each process; -1 for data."""
    targets = {name: target for target, name in enumerate(_target_names(analysis))}
    return np.array([targets.get(analysis.class_of(name), -1) for name in analysis.processes])


def check_folds(analysis: Analysis, source: EventSource, classes: Sequence[str]) -> None:
    """Check that every network has events of every class to train, to validate and to test with.

    Parameters
    ----------
    analysis, source, classes
        As in `fold_samples`; the events are read once.

    Raises
    ------
    SampleError
        If one has not; the first such fold is named.
    """
    folds = analysis.training.folds
    target, names = _targets(analysis), _target_names(analysis)
    count = np.zeros((folds, len(_ROLES), len(names)), dtype=np.int64)
    for chunk in source.chunks():
        chosen = _chosen(analysis, chunk, classes)
        for fold in range(folds):
            split = split_roles(chunk.identity[chosen], fold, folds)
            for number, index in enumerate(split):
                of_class = target[chunk.process[chosen[index]]]
                count[fold, number] += np.bincount(of_class, minlength=len(names))
    for fold in range(folds):
        for role, found in zip(_ROLES, count[fold], strict=True):
            missing = [name for name, events in zip(names, found, strict=True) if not events]
            if missing:
                message = (
                    f"fold {fold}: no {role} event of class {', '.join(missing)} among "
                    f"{count[fold].sum()} events; use fewer folds or more events"
                )
                raise SampleError(message)


_ROLES = ("training", "validation", "test")


def _chosen(analysis: Analysis, events: Events, classes: Sequence[str]) -> NDArray[np.int64]:
    """Which of some events are of classes that are trained on, in regions of role signal."""
    data = np.array([name == DATA for name in classes])
    passing = [events.regions[name] for name in analysis.signal_regions]
    return np.flatnonzero(np.logical_or.reduce(passing) & ~data[events.process])


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
        If a role has no event, or the weights cannot be normalised.
    """
    settings = analysis.training
    builders = [RowSetBuilder(len(source)) for _ in _ROLES]
    for chunk in source.chunks():
        chosen = _chosen(analysis, chunk, classes)
        split = split_roles(chunk.identity[chosen], fold, settings.folds)
        for index, builder in zip(split, builders, strict=True):
            flags = np.zeros(len(chunk), dtype=np.bool_)
            flags[chosen[index]] = True
            builder.extend(flags)
    training, validation, test = (builder.finish() for builder in builders)
    # The weights of each role are normalised by its own events only.
    samples = [
        make_sample(
            source,
            rows,
            _targets(analysis),
            balance=settings.balance,
            negative_weights=settings.negative_weights,
            class_names=_target_names(analysis),
            process_names=list(analysis.processes),
            role=role,
        )
        for role, rows in (("training", training), ("validation", validation))
    ]
    return samples[0], samples[1], len(test)
