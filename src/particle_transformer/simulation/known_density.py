"""Events of known density: what the best possible classifier makes of them can be computed.

Both classes are marked point processes of up to 16 objects, each with a transverse momentum,
pseudorapidity, azimuth, mass and tag. Those of a background event are independent. A signal event
has as many as two resonances among its objects, each decayed into two of them, and nothing says
which two. Their decay products are tagged and heavy somewhat more often than other objects; that
the mass of the two together is near the resonance's is what tells them apart.

By the lemma of Neyman and Pearson (Phil. Trans. R. Soc. A 231 (1933) 289) no classifier is better
than a cut on the ratio of the two densities, which `PairProcess.log_likelihood_ratio` gives without
approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import SampleError
from particle_transformer.simulation.point_events import MOST_OBJECTS, PointEvents

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PairProcess"]

_CHUNK = 20_000  # events, or pairs drawn, that are handled at once


@dataclass(frozen=True)
class PairProcess:
    """The densities of both classes.

    The number of objects n is Poisson, truncated to 0 … 16. The objects are independent: log pt, η
    and log(mass / pt) are normal, φ is uniform, the tag has the density (1 − κ tag) / 2. But a
    signal event has min(2, ⌊n/2⌋) disjoint pairs, any choice of them equally likely, whose
    objects have the density (1 + κ tag) / 2 of the tag and a larger median of mass / pt, and
    whose (pt, η, φ)₁, (pt, η, φ)₂ have the density of two independent objects times g / Z,

        g = exp(−ln²(m² / M²) / 2w²),   m² = 2 pt₁ pt₂ (cosh Δη − cos Δφ),

    Z being the mean of g over pairs of independent objects.

    Attributes
    ----------
    mean_background, mean_signal
        Means of the number of objects before truncation.
    pt
        Median transverse momentum, GeV.
    pt_width, eta_width
        Standard deviations of log pt and of η.
    resonance
        Mass M of the resonance, GeV.
    resolution
        Width w of the peak in log m²: twice that of the relative mass.
    tag_slope
        κ, below 1.
    mass_ratio, mass_ratio_width
        Median of mass / pt, and standard deviation of its logarithm.
    mass_ratio_shift
        How much larger that logarithm is for the decay products of a resonance.
    """

    mean_background: float = 5.0
    mean_signal: float = 6.0
    pt: float = 60.0
    pt_width: float = 0.5
    eta_width: float = 1.0
    resonance: float = 60.0
    resolution: float = 0.4
    tag_slope: float = 0.4
    mass_ratio: float = 0.12
    mass_ratio_width: float = 0.4
    mass_ratio_shift: float = 0.2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < np.inf:
                message = f"{name}: got {value}, expected a positive number"
                raise SampleError(message)
        if not self.tag_slope < 1:
            message = f"tag_slope: got {self.tag_slope}, expected a number between 0 and 1"
            raise SampleError(message)

    def count_probabilities(self, is_signal: bool) -> NDArray[np.float64]:
        """Probabilities of 0 … 16 objects; float64 (17,)."""
        mean = self.mean_signal if is_signal else self.mean_background
        numbers = np.arange(MOST_OBJECTS + 1)
        logs = numbers * np.log(mean) - np.cumsum(np.log(np.maximum(numbers, 1)))
        terms = np.exp(logs - logs.max())
        return np.asarray(terms / terms.sum())

    @cached_property
    def peak_mean(self) -> float:
        """Z, the mean of g over pairs of independent objects.

        That over pt is a convolution of two normal densities; what remains of Δη and Δφ is smooth
        and periodic or falling, so that sums over equal steps converge faster than any power.
        """
        spread = np.sqrt(2) * self.eta_width
        delta_eta = spread * np.linspace(-9, 9, 1201)[:, np.newaxis]
        delta_phi = (np.arange(400) + 0.5) * np.pi / 400
        variance = self.resolution**2 + 2 * self.pt_width**2
        away = _log_opening(delta_eta, delta_phi) + 2 * np.log(self.pt / self.resonance)
        over_pt = self.resolution / np.sqrt(variance) * np.exp(-(away**2) / (2 * variance))
        weight = np.exp(-((delta_eta / spread) ** 2) / 2)
        return float((over_pt.mean(1, keepdims=True) * weight).sum() / weight.sum())

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
        pt, eta = self._kinematics(total, rng)
        phi = rng.uniform(-np.pi, np.pi, total)
        start = np.cumsum(counts) - counts
        product = np.zeros(total, dtype=np.bool_)
        # The objects are independent so far, hence any two of them will do: the first and second,
        # the third and fourth. They are mixed afterwards.
        for first in (0, 2):
            one = start[is_signal & (counts >= first + 2)] + first
            both = np.stack([one, one + 1], axis=1)  # (pairs, 2)
            pt[both], eta[both], angle = self._decays(len(one), rng)
            phi[one + 1] = (phi[one] + angle + np.pi) % (2 * np.pi) - np.pi
            product[both] = True
        shift = np.where(product, self.mass_ratio_shift, 0)
        logs = shift + self.mass_ratio_width * rng.standard_normal(total)
        mass = pt * self.mass_ratio * np.exp(logs)
        slope = np.where(product, self.tag_slope, -self.tag_slope)
        # The density (1 + slope × tag) / 2 has the distribution (1 + tag) / 2 + slope (tag² − 1) / 4.
        tag = (np.sqrt((1 - slope) ** 2 + 4 * slope * rng.random(total)) - 1) / slope
        order = np.lexsort([rng.random(total), np.repeat(np.arange(len(counts)), counts)])
        return PointEvents(
            counts, pt[order], eta[order], phi[order], mass[order], tag[order], is_signal
        )

    def log_likelihood_ratio(
        self, events: PointEvents, *, masses_of_pairs: bool = True
    ) -> NDArray[np.float64]:
        """Logarithm of signal's density over background's; float64 (events,).

        With r the ratio of a pair's density to that of two independent objects, the ratio for n
        objects is that of the probabilities of n, times the mean over all choices of disjoint
        pairs of the product of their r. All terms of the sum are positive: no digit is lost.

        Parameters
        ----------
        events
            Of any class.
        masses_of_pairs
            Without them g / Z is left out of r: what the number of objects and the marks of single
            objects tell.
        """
        counts = events.counts
        start = np.cumsum(counts) - counts
        single = self.object_ratio(events.mass / events.pt, events.tag)
        ratio = np.ones(len(events))
        for number in range(2, MOST_OBJECTS + 1):
            one, other = np.triu_indices(number, 1)
            rows = np.flatnonzero(counts == number)
            for some in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
                place = start[some, np.newaxis] + np.arange(number)
                first, second = place[:, one], place[:, other]
                of_pairs = single[first] * single[second]  # (events, pairs)
                if masses_of_pairs:
                    of_pairs *= self.peak_ratio(
                        (events.pt[first], events.pt[second]),
                        events.eta[first] - events.eta[second],
                        events.phi[first] - events.phi[second],
                    )
                ratio[some] = _mean_over_choices(of_pairs, number)
        prior = np.log(self.count_probabilities(True) / self.count_probabilities(False))
        return np.asarray(prior[counts] + np.log(ratio))

    def object_ratio(
        self, mass_ratio: NDArray[np.float64], tag: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Density of a decay product's marks over that of another object's.

        Parameters
        ----------
        mass_ratio
            float64 (objects,): mass / pt.
        tag
            float64 (objects,).

        Returns
        -------
        float64 (objects,)
        """
        logs = np.log(mass_ratio / self.mass_ratio)
        shift = self.mass_ratio_shift
        heavy = np.exp(shift * (logs - shift / 2) / self.mass_ratio_width**2)
        return np.asarray(heavy * (1 + self.tag_slope * tag) / (1 - self.tag_slope * tag))

    def peak_ratio(
        self,
        pt: tuple[NDArray[np.float64], NDArray[np.float64]],
        delta_eta: NDArray[np.float64],
        delta_phi: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Density of a pair's momenta over that of two independent objects: g / Z.

        Parameters
        ----------
        pt
            Float64 arrays of one shape, GeV: of either object.
        delta_eta, delta_phi
            float64, of that shape: differences of pseudorapidity and of azimuth, any representative.

        Returns
        -------
        float64, of that shape
        """
        log_m2 = np.log(pt[0]) + np.log(pt[1]) + _log_opening(delta_eta, delta_phi)
        away = (log_m2 - 2 * np.log(self.resonance)) / self.resolution
        return np.asarray(np.exp(-(away**2) / 2) / self.peak_mean)

    def _kinematics(
        self, shape: int | tuple[int, int], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw pt and η of independent objects; float64 of `shape` each."""
        pt = self.pt * np.exp(self.pt_width * rng.standard_normal(shape))
        return pt, self.eta_width * rng.standard_normal(shape)

    def _decays(
        self, pairs: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Draw pt and η (pairs, 2), and Δφ (pairs,), of decay products of a resonance.

        Pairs of independent objects are kept with the probability g, which is at most 1.
        """
        found = []
        missing = pairs
        while missing > 0:
            pt, eta = self._kinematics((_CHUNK, 2), rng)
            angle = rng.uniform(-np.pi, np.pi, _CHUNK)
            peak = self.peak_mean * self.peak_ratio(
                (pt[:, 0], pt[:, 1]), eta[:, 0] - eta[:, 1], angle
            )
            kept = np.flatnonzero(rng.random(_CHUNK) < peak)[:missing]
            found.append((pt[kept], eta[kept], angle[kept]))
            missing -= len(kept)
        if not found:
            return np.empty((0, 2)), np.empty((0, 2)), np.empty(0)
        pt, eta, angle = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return pt, eta, angle


def _log_opening(
    delta_eta: NDArray[np.float64], delta_phi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of 2 (cosh Δη − cos Δφ) = m² / (pt₁ pt₂), without that difference's loss of digits."""
    opening = 4 * np.sinh(delta_eta / 2) ** 2 + 4 * np.sin(delta_phi / 2) ** 2
    # Two objects in one direction have no mass: far below any peak.
    return np.asarray(np.log(np.maximum(opening, np.finfo(np.float64).tiny)))


def _mean_over_choices(ratio: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Mean of the products of the ratios of disjoint pairs, over all choices of one or two.

    Parameters
    ----------
    ratio
        float64 (events, pairs), in the order of ``np.triu_indices(number, 1)``.
    number
        Objects of each event: two pairs of four and more, else one.

    Returns
    -------
    float64 (events,)
    """
    if number < 4:
        return np.asarray(ratio.mean(1))
    one, other = np.triu_indices(number, 1)
    apart = (
        (one != one[:, np.newaxis])
        & (one != other[:, np.newaxis])
        & (other != one[:, np.newaxis])
        & (other != other[:, np.newaxis])
    ).astype(np.float64)  # (pairs, pairs): 1 where two pairs have no object in common
    return np.asarray((ratio @ apart * ratio).sum(1) / apart.sum())
