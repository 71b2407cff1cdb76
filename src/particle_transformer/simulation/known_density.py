"""Events of known density: what the best possible classifier makes of them can be computed.

Both classes are marked point processes of up to 16 massless objects. Those of a background event
are independent. A signal event has as many as two resonances among its objects, each decayed into
two of them, and nothing says which two. The transverse momenta, the pseudorapidities and each
single azimuth are distributed in signal as in background: besides the number of objects only the
masses of pairs tell the classes apart.

By the lemma of Neyman and Pearson (Phil. Trans. R. Soc. A 231 (1933) 289) no classifier is better
than a cut on the ratio of the two densities, which `PairProcess.log_likelihood_ratio` gives without
approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.events import Events, Ragged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MOST_OBJECTS", "OBJECT_FEATURES", "PairProcess", "PointEvents"]

MOST_OBJECTS = 16
"""Objects of an event at most."""

OBJECT_FEATURES = ("log(pt)", "eta", "cos(phi)", "sin(phi)")
"""Features of the objects in `PointEvents.to_events`, in order."""

_CHUNK = 20_000  # events of one multiplicity that are handled at once: 120 pairs each


@dataclass(frozen=True)
class PointEvents:
    """Events of massless objects, in double precision.

    Attributes
    ----------
    counts
        int64 (events,): objects of each event.
    pt, eta, phi
        float64 (objects,): transverse momentum in GeV, pseudorapidity, azimuth in [−π, π); the
        objects of the first event first, in no particular order within an event.
    is_signal
        bool (events,).
    """

    counts: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    is_signal: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.counts.max(initial=0) > MOST_OBJECTS or self.counts.min(initial=0) < 0:
            worst = max(self.counts, key=abs)
            message = f"counts: got {worst} objects in an event, expected 0 to {MOST_OBJECTS}"
            raise SampleError(message)
        total, rows = int(self.counts.sum()), len(self.counts)
        for name, expected in (
            ("pt", total), ("eta", total), ("phi", total), ("is_signal", rows)
        ):  # fmt: skip
            if (found := getattr(self, name).shape) != (expected,):
                message = f"{name}: got {found}, expected ({expected},)"
                raise SampleError(message)

    def __len__(self) -> int:
        return len(self.counts)

    def chunks(self) -> Iterator[PointEvents]:
        """All events in order, in pieces small enough for all their pairs to be in memory."""
        ends = np.cumsum(self.counts)
        for start in range(0, len(self), _CHUNK):
            some = slice(start, start + _CHUNK)
            rows = slice(ends[start] - self.counts[start], ends[some][-1])
            yield PointEvents(
                self.counts[some], self.pt[rows], self.eta[rows], self.phi[rows],
                self.is_signal[some],
            )  # fmt: skip

    def to_events(self) -> Events:
        """What a network sees: one collection ``objects``, and their number.

        Returns
        -------
        Events
            Process 0 is background, 1 is signal; the features are `OBJECT_FEATURES`.
        """
        across, along = np.cos(self.phi), np.sin(self.phi)
        features = np.stack([np.log(self.pt), self.eta, across, along], axis=1)
        momenta = self.pt[:, np.newaxis] * np.stack(
            [across, along, np.sinh(self.eta), np.cosh(self.eta)], axis=1
        )
        objects = {"objects": Ragged.of(features, self.counts, momenta)}
        return Events.of(objects, self.counts[:, np.newaxis], self.is_signal)


@dataclass(frozen=True)
class PairProcess:
    """The densities of both classes.

    The number of objects n is Poisson, truncated to 0 … 16. log pt and η are normal and φ is
    uniform, all independent, but for the pairs of a signal event: min(2, ⌊n/2⌋) disjoint pairs, any
    choice of them equally likely. For each pair log m² is drawn from a logistic distribution, and
    the objects' angle Δφ is that which gives the pair

        m² = 2 pt₁ pt₂ (cosh Δη − cos Δφ)

    this mass, Δφ and −Δφ equally likely; if no angle does, Δφ is uniform. So the density of Δφ is
    known given the pair's pt and η, and φ₁ itself stays uniform.

    Attributes
    ----------
    mean_background, mean_signal
        Means of the number of objects before truncation.
    pt
        Median transverse momentum, GeV.
    pt_width, eta_width
        Standard deviations of log pt and of η.
    mass
        Median mass of the resonance, GeV.
    mass_width
        Scale of the logistic distribution of log m²: twice that of the relative mass.
    """

    mean_background: float = 5.0
    mean_signal: float = 6.0
    pt: float = 60.0
    pt_width: float = 0.5
    eta_width: float = 0.5
    mass: float = 30.0
    mass_width: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < np.inf:
                message = f"{name}: got {value}, expected a positive number"
                raise SampleError(message)

    def count_probabilities(self, is_signal: bool) -> NDArray[np.float64]:
        """Probabilities of 0 … 16 objects; float64 (17,)."""
        mean = self.mean_signal if is_signal else self.mean_background
        numbers = np.arange(MOST_OBJECTS + 1)
        logs = numbers * np.log(mean) - np.cumsum(np.log(np.maximum(numbers, 1)))
        terms = np.exp(logs - logs.max())
        return np.asarray(terms / terms.sum())

    def generate(self, is_signal: NDArray[np.bool_], seed: int) -> PointEvents:
        """Draw events.

        Parameters
        ----------
        is_signal
            bool (events,): the class of each.
        seed
            Of the random numbers.
        """
        rng = np.random.default_rng(seed)
        most = np.arange(MOST_OBJECTS + 1)
        counts = np.empty(len(is_signal), dtype=np.int64)
        for which in (False, True):
            chosen = is_signal == which
            counts[chosen] = rng.choice(most, chosen.sum(), p=self.count_probabilities(which))
        total = int(counts.sum())
        pt = self.pt * np.exp(self.pt_width * rng.standard_normal(total))
        eta = self.eta_width * rng.standard_normal(total)
        phi = rng.uniform(-np.pi, np.pi, total)
        start = np.cumsum(counts) - counts
        # The objects are independent so far, hence any two of them will do: the first and second,
        # the third and fourth. They are mixed afterwards.
        for first in (0, 2):
            one = start[is_signal & (counts >= first + 2)] + first
            angle = self._decay_angle(pt[one], pt[one + 1], eta[one] - eta[one + 1], rng)
            phi[one + 1] = (phi[one] + angle + np.pi) % (2 * np.pi) - np.pi
        order = np.lexsort([rng.random(total), np.repeat(np.arange(len(counts)), counts)])
        return PointEvents(counts, pt[order], eta[order], phi[order], is_signal)

    def log_likelihood_ratio(self, events: PointEvents) -> NDArray[np.float64]:
        """Logarithm of signal's density over background's; float64 (events,).

        With r the ratio of a pair's density to that of two independent objects, the ratio for n
        objects is that of the probabilities of n, times the mean over all choices of disjoint
        pairs of the product of their r. All terms of the sum are positive: no digit is lost.
        """
        counts = events.counts
        start = np.cumsum(counts) - counts
        ratio = np.ones(len(events))
        for number in range(2, MOST_OBJECTS + 1):
            rows = np.flatnonzero(counts == number)
            for some in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
                place = start[some, np.newaxis] + np.arange(number)
                ratio[some] = self._mean_over_pairs(
                    events.pt[place], events.eta[place], events.phi[place]
                )
        prior = np.log(self.count_probabilities(True) / self.count_probabilities(False))
        return np.asarray(prior[counts] + np.log(ratio))

    def pair_ratio(
        self,
        pt: tuple[NDArray[np.float64], NDArray[np.float64]],
        delta_eta: NDArray[np.float64],
        delta_phi: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Density of the decay products of a resonance over that of two independent objects.

        Parameters
        ----------
        pt
            float64 (pairs,), GeV, of either object.
        delta_eta, delta_phi
            float64 (pairs,): differences of pseudorapidity and of azimuth, any representative.

        Returns
        -------
        float64 (pairs,)
            2π q(Δφ), q being the density of Δφ on the circle.
        """
        scale = np.log(pt[0]) + np.log(pt[1])
        # 2 (cosh Δη − cos Δφ) = 4 sinh²(Δη/2) + 4 sin²(Δφ/2), without its loss of digits.
        apart = 4 * np.sinh(delta_eta / 2) ** 2
        sine = np.sin(delta_phi / 2)
        opening = apart + 4 * sine**2
        # Two objects in the same direction have no mass: below any peak.
        opening = np.maximum(opening, np.finfo(np.float64).tiny)
        peak = self._logistic_density(scale + np.log(opening))
        slope = np.abs(2 * np.sin(delta_phi)) / opening  # |d log m² / dΔφ|
        lost = self._out_of_reach(scale, apart)
        return np.asarray(np.pi * peak * slope + lost)

    def _mean_over_pairs(
        self, pt: NDArray[np.float64], eta: NDArray[np.float64], phi: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Mean of the products of `pair_ratio` over all choices of pairs; columns are objects."""
        number = pt.shape[1]
        one, other = np.triu_indices(number, 1)
        ratio = self.pair_ratio(
            (pt[:, one], pt[:, other]),
            eta[:, one] - eta[:, other],
            phi[:, one] - phi[:, other],
        )
        total = ratio.sum(1)
        if number < 4:
            return np.asarray(total / len(one))
        apart = (
            (one != one[:, np.newaxis])
            & (one != other[:, np.newaxis])
            & (other != one[:, np.newaxis])
            & (other != other[:, np.newaxis])
        ).astype(np.float64)  # (pairs, pairs): 1 where two pairs have no object in common
        return np.asarray((ratio @ apart * ratio).sum(1) / apart.sum())

    def _decay_angle(
        self,
        pt_one: NDArray[np.float64],
        pt_other: NDArray[np.float64],
        delta_eta: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Draw Δφ of the decay products of a resonance; float64 (pairs,)."""
        log_m2 = rng.logistic(2 * np.log(self.mass), self.mass_width, len(pt_one))
        cosine = np.cosh(delta_eta) - np.exp(log_m2) / (2 * pt_one * pt_other)
        reached = np.abs(cosine) < 1
        angle = np.arccos(np.where(reached, cosine, 0)) * rng.choice([-1, 1], len(pt_one))
        return np.where(reached, angle, rng.uniform(-np.pi, np.pi, len(pt_one)))

    def _out_of_reach(
        self, scale: NDArray[np.float64], apart: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Probability of a mass that no Δφ gives; from the least and largest 2(cosh Δη − cos Δφ)."""
        with np.errstate(divide="ignore"):
            least = self._standardised(scale + np.log(apart))
        largest = self._standardised(scale + np.log(apart + 4))
        return np.asarray(_sigmoid(least) + _sigmoid(-largest))

    def _standardised(self, log_m2: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((log_m2 - 2 * np.log(self.mass)) / self.mass_width)

    def _logistic_density(self, log_m2: NDArray[np.float64]) -> NDArray[np.float64]:
        below = _sigmoid(self._standardised(log_m2))
        above = _sigmoid(-self._standardised(log_m2))
        return np.asarray(below * above / self.mass_width)


def _sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(−value)), exact in both tails."""
    small = np.exp(-np.abs(value))
    return np.asarray(np.where(value < 0, small, 1.0) / (1 + small))
