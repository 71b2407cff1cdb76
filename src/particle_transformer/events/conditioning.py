"""Parameters of the signal hypothesis as event features. numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError, nearest
from particle_transformer.events.folds import PRIME, identity_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.events.columns import Events

__all__ = ["Conditioning", "check_parameters"]

_SALT = -1  # of the hash by which an event has a parameter; folds have those from 0 on


@dataclass(frozen=True)
class Conditioning:
    """A classifier that is told what signal it looks for: a parametrised network.

    The parameters (a mass) are appended to the event features. Signal has its own; for background
    they have no meaning, and are drawn from the distribution that they have in signal, so that
    they alone say nothing (P. Baldi, K. Cranmer, T. Faucett, P. Sadowski, D. Whiteson,
    arXiv:1601.07913).

    Attributes
    ----------
    names
        The parameters.
    points
        The hypotheses: values of the parameters, each once.
    probabilities
        Their shares in the signal that is trained with.
    process_point
        By process: index of its point; −1 where the parameters are drawn.
    """

    names: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    probabilities: tuple[float, ...]
    process_point: tuple[int, ...]

    def apply(self, events: Events, uniform: NDArray[np.float64]) -> Events:
        """Append the parameters of each event's process, or what is drawn by `uniform`.

        Parameters
        ----------
        events
            The events.
        uniform
            float64 (events,): in [0, 1).
        """
        limits = np.cumsum(self.probabilities)[:-1]
        drawn = np.searchsorted(limits, uniform, side="right")  # (events,)
        own = np.array(self.process_point)[events.process]  # (events,)
        values = np.array(self.points, dtype=np.float32)  # (points, parameters)
        return _appended(events, values[np.where(own < 0, drawn, own)])

    def hypotheses(self) -> list[dict[str, float]]:
        """The parameters of each point, by name."""
        return [dict(zip(self.names, point, strict=True)) for point in self.points]

    def at(self, events: Events, parameters: Mapping[str, float]) -> Events:
        """Append the parameters of one hypothesis to every event, to score them under it.

        Parameters
        ----------
        events
            The events.
        parameters
            Value of each parameter: that of a point, or one between points, which the network
            interpolates to.

        Raises
        ------
        SampleError
            As `check_parameters`.
        """
        check_parameters(parameters, self.names)
        values = np.array([[parameters[name] for name in self.names]], dtype=np.float32)
        return _appended(events, np.repeat(values, len(events), axis=0))

    @staticmethod
    def fixed_draws(identity: NDArray[np.int64]) -> NDArray[np.float64]:
        """Numbers for `apply` that an event always has: float64 (events,), in [0, 1).

        For validation and evaluation; in training an event is given others each time.
        """
        return identity_hash(identity, _SALT) / PRIME

    def to_json(self) -> dict[str, Any]:
        """What an artefact says of it."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Conditioning:
        """Read what `to_json` gave."""
        return Conditioning(
            tuple(content["names"]),
            tuple(map(tuple, content["points"])),
            tuple(content["probabilities"]),
            tuple(content["process_point"]),
        )


def check_parameters(parameters: Mapping[str, float], names: Sequence[str]) -> None:
    """Check that a hypothesis gives every parameter a value, and nothing else.

    Raises
    ------
    SampleError
        If a parameter is unknown, missing, or not a finite number, or there are none.
    """
    if not names:
        message = (
            f"hypothesis: got {', '.join(parameters)}, but the networks have no parameters; train "
            "with training.condition"
        )
        raise SampleError(message)
    for name, value in parameters.items():
        if name not in names:
            message = f"hypothesis: got {name!r}, expected a parameter of the network; "
            message += nearest(name, names)
            raise SampleError(message)
        if not np.isfinite(value):
            message = f"hypothesis: {name} is {value:g}, expected a finite number"
            raise SampleError(message)
    for name in names:
        if name not in parameters:
            message = f"hypothesis: {name} is missing, expected a value of each of "
            message += ", ".join(names)
            raise SampleError(message)


def _appended(events: Events, values: NDArray[np.float32]) -> Events:
    """Events with the columns `values` (events, parameters) after their event features."""
    return replace(events, event=np.concatenate([events.event, values], axis=1))
