"""Toy events whose best classifier is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.events import Events, Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray


def toy_events(number: int, seed: int = 0) -> tuple[Events, NDArray[np.int64]]:
    """Events and classes: signal has harder jets; a fifth of the events has none.

    Muons and the event feature are noise.
    """
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, number)
    counts = rng.poisson(3, number) * (rng.random(number) > 0.2)
    objects = {}
    for name, features, multiplicity, shift in (
        ("jets", 3, counts, 1.5 * target),
        ("muons", 2, rng.integers(0, 3, number), np.zeros(number)),
    ):
        total = int(multiplicity.sum())
        values = rng.normal(size=(total, features))
        values[:, 0] += np.repeat(shift, multiplicity)
        momenta = rng.normal(scale=40, size=(total, 4))
        momenta[:, 3] = np.sqrt((momenta[:, :3] ** 2).sum(1) + 25)
        objects[name] = Ragged(
            (100 + 20 * values).astype(np.float32),
            np.concatenate([[0], np.cumsum(multiplicity)]).astype(np.int64),
            momenta.astype(np.float32),
        )
    events = Events(
        objects,
        rng.normal(5, 2, (number, 1)).astype(np.float32),
        np.empty((number, 0), dtype=np.float32),
        np.ones(number),
        np.arange(number, dtype=np.int64)[:, None],
        target.astype(np.int16),
        np.zeros(number, dtype=np.int16),
        {},
    )
    return events, target.astype(np.int64)


def toy_model(**options: object) -> AnalysisObjectTransformer:
    """A small network for the toy events."""
    arguments: dict[str, object] = {
        "num_att_blocks": 2, "num_class_blocks": 1, "feedforward_factor": 2, **options
    }  # fmt: skip
    return AnalysisObjectTransformer(
        {"jets": 3, "muons": 2},
        1,
        16,
        16,
        16,
        8,
        8,
        2,
        **arguments,  # type: ignore[arg-type]
    )
