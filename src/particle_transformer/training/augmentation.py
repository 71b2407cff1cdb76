"""Training events transformed at random by the symmetries of the collider.

Each event, each time it is seen, gets an independent choice of η → −η and φ → −φ, with probability
1/2 each, and of φ → φ + α with α uniform in [0, 2π). Reflections come before the rotation. The
stored columns follow exactly: features by the behaviour of their expressions, momenta as vectors.
Which objects are there, and their order, is what the selection of the event as recorded has left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import AnalysisFileError, SampleError, nearest
from particle_transformer.events.columns import Ragged
from particle_transformer.expressions import parse
from particle_transformer.expressions.quantities import presumed, quantity
from particle_transformer.expressions.rotation import Keys
from particle_transformer.expressions.symmetry import (
    TRANSFORMATIONS,
    Symmetry,
    Transformation,
    symmetry,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events.columns import Events

__all__ = ["Augmentation", "Draws", "random_draws"]


@dataclass(frozen=True)
class Draws:
    """What is done to each event; each float64 (events,).

    Attributes
    ----------
    eta, phi
        What η and φ are multiplied by: 1 or −1.
    alpha
        The rotation that follows, in radians.
    uniform
        In [0, 1), for what is drawn besides.
    """

    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    alpha: NDArray[np.float64]
    uniform: NDArray[np.float64]


def random_draws(seed: int, epoch: int, spans: Iterable[tuple[int, int]]) -> Draws:
    """Draw for the events at some positions of an epoch's order.

    The event at position p gets the four numbers that Philox4x64 (Salmon et al., SC 2011) makes
    of the key (seed, epoch) and the counter p + 1, whatever was drawn before: the same for any
    number of ranks, and for an epoch that is taken up again.

    Parameters
    ----------
    seed, epoch
        Non-negative.
    spans
        First position and end of each piece, in the order of the events.
    """
    pieces = [
        np.random.Philox(key=[seed, epoch], counter=start)
        .random_raw(4 * (stop - start))
        .reshape(-1, 4)
        for start, stop in spans
    ]
    bits = np.concatenate(pieces)  # uint64 (events, 4)
    signs = np.where(bits[:, :2] >> np.uint64(63), -1.0, 1.0)  # (events, 2)
    unit = (bits[:, 2:] >> np.uint64(11)).astype(np.float64) / 2**53  # (events, 2), in [0, 1)
    return Draws(signs[:, 0], signs[:, 1], 2 * np.pi * unit[:, 0], unit[:, 1])


@dataclass(frozen=True)
class Augmentation:
    """The transformations, and how the features behave under them.

    ``Augmentation.of(["flip_eta"], {"jets": ["log(pt)", "eta"]}, ["log(met.pt)"])`` makes one from
    expressions of quantities whose names tell what they are.

    Attributes
    ----------
    transformations
        Any of ``flip_eta``, ``flip_phi``, ``rotate_phi``; none: nothing is done.
    objects
        Behaviour of the features by collection.
    event
        Behaviour of the event features.

    Raises
    ------
    AnalysisFileError
        If a transformation is unknown, or the behaviour of a feature under it.
    """

    transformations: tuple[Transformation, ...] = ()
    objects: Mapping[str, Sequence[Symmetry]] = field(default_factory=dict)
    event: Sequence[Symmetry] = ()

    def __post_init__(self) -> None:
        for name in self.transformations:
            if name not in TRANSFORMATIONS:
                message = f"augmentation: got {name!r}; {nearest(str(name), TRANSFORMATIONS)}"
                raise AnalysisFileError(message)
            for owner, features in (*self.objects.items(), ("event", self.event)):
                for number, feature in enumerate(features):
                    if not feature.knows(name):
                        message = (
                            f"augmentation: got {name}, but what it makes of feature {number} of "
                            f"{owner} is not known; expected features of known behaviour"
                        )
                        raise AnalysisFileError(message)

    @staticmethod
    def of(
        transformations: Iterable[Transformation],
        objects: Mapping[str, Iterable[str]],
        event: Iterable[str] = (),
    ) -> Augmentation:
        """Find the behaviour of features from their expressions.

        A name stands for the quantity that it names (``eta``, ``met.phi``), else for a number
        without direction; see `particle_transformer.expressions.quantities`.
        """
        keys = Keys()

        def behaviour(text: str, owner: str) -> Symmetry:
            def lookup(name: str) -> Symmetry:
                return quantity(name, owner, keys) or presumed(name)

            return symmetry(parse(text), lookup, keys, owner)

        return Augmentation(
            tuple(transformations),
            {name: [behaviour(text, name) for text in texts] for name, texts in objects.items()},
            [behaviour(text, "event") for text in event],
        )

    def check(self, events: Events) -> None:
        """Check that these are events whose features this describes.

        Raises
        ------
        SampleError
            If a collection or a number of features is another, or an angle is not in [−π, π].
        """
        if not self.transformations:
            return
        self._check_columns(events)
        if "rotate_phi" in self.transformations:
            for name, ragged in events.objects.items():
                _check_angles(name, ragged.values, self.objects[name])
            _check_angles("event", events.event, self.event)

    def _check_columns(self, events: Events) -> None:
        found = {name: ragged.values.shape[1] for name, ragged in events.objects.items()}
        expected = {name: len(features) for name, features in self.objects.items()}
        if found != expected or events.event.shape[1] != len(self.event):
            message = (
                f"augmentation: got the behaviour of {expected} features and {len(self.event)} "
                f"event features, expected that of {found} and {events.event.shape[1]}"
            )
            raise SampleError(message)

    def apply(self, events: Events, draws: Draws) -> Events:
        """Transform each event by its own draw; the columns given are not written to.

        Raises
        ------
        SampleError
            If a collection or a number of features is not what this describes.
        """
        self._check_columns(events)
        chosen = {
            "flip_eta": draws.eta,
            "flip_phi": draws.phi,
            "rotate_phi": draws.alpha,
        }
        change = {name: chosen[name] for name in self.transformations}
        objects = {}
        for name, ragged in events.objects.items():
            counts = ragged.counts
            own = {key: np.repeat(each, counts) for key, each in change.items()}  # (objects,) each
            momenta = None if ragged.momenta is None else _momenta(ragged.momenta, own)
            values = _features(ragged.values, self.objects[name], own)
            objects[name] = Ragged(values, ragged.offsets, momenta)
        event = _features(events.event, self.event, change)
        return replace(events, objects=objects, event=event)


def _features(
    values: NDArray[np.float32], features: Sequence[Symmetry], change: dict[Any, NDArray[Any]]
) -> NDArray[np.float32]:
    """Transform features (rows, features) by `change` (rows,) of each transformation."""
    values = values.copy()
    for column, feature in enumerate(features):
        for flip in ("flip_eta", "flip_phi"):
            if flip in change and feature.sign(flip) == -1:
                values[:, column] *= change[flip]
        if "rotate_phi" in change and feature.turns:
            turned = values[:, column] + feature.turns * change["rotate_phi"]
            values[:, column] = _wrapped(turned)
    return values


def _wrapped(angle: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring angles into [−π, π) of float32."""
    wrapped = (angle - 2 * np.pi * np.rint(angle / (2 * np.pi))).astype(np.float32)
    wrapped[wrapped >= np.float32(np.pi)] = -np.float32(np.pi)
    return wrapped


def _momenta(momenta: NDArray[np.float32], change: dict[Any, NDArray[Any]]) -> NDArray[np.float32]:
    """Transform px, py, pz, E (rows, 4)."""
    momenta = momenta.copy()
    if "flip_eta" in change:
        momenta[:, 2] *= change["flip_eta"]
    if "flip_phi" in change:
        momenta[:, 1] *= change["flip_phi"]
    if "rotate_phi" in change:
        cos, sin = np.cos(change["rotate_phi"]), np.sin(change["rotate_phi"])
        px, py = momenta[:, 0].astype(np.float64), momenta[:, 1].astype(np.float64)
        momenta[:, 0] = px * cos - py * sin
        momenta[:, 1] = px * sin + py * cos
    return momenta


def _check_angles(owner: str, values: NDArray[np.float32], features: Sequence[Symmetry]) -> None:
    for number, feature in enumerate(features):
        if not feature.turns:
            continue
        largest = np.abs(values[:, number]).max(initial=0)
        if largest > np.float32(np.pi):
            message = (
                f"rotate_phi: feature {number} of {owner} is an angle, but has the absolute value "
                f"{largest:g}; expected it within [-pi, pi], as delta_phi(x, 0) gives it"
            )
            raise SampleError(message)
