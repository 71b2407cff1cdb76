"""The tail of the jets' response: jets of which a large part is lost, and fake missing momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.simulation.jets import jet_of_objects
from particle_transformer.simulation.reconstruct import ELECTRON, MUON, Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from particle_transformer.simulation.detector import Detector

__all__ = ["ENHANCED_PT", "lose_jets", "tail_response"]

ENHANCED_PT = 100.0
"""Above this pt in GeV a jet's tail may be enhanced: softer jets would only scatter the weights."""


def tail_response(
    pt: NDArray[np.float64], fraction: float, enhancement: float, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw each jet's response, and the weight that undoes an enhancement of the tail.

    A share `fraction` of jets lies in the tail, where the response falls linearly on (0, 1), with
    density 2r: a quarter of these jets loses more than half of its momentum. All others keep
    theirs; the detector's resolution comes from its tracks and towers.

    Importance sampling: jets above `ENHANCED_PT` are put into the tail with probability
    q = `enhancement`·`fraction`, with weight `fraction`/q in it and (1 - `fraction`)/(1 - q)
    outside, so that the expectation of any quantity is that without enhancement.

    Parameters
    ----------
    pt
        float64 (jets,), GeV.
    fraction
        `Detector.tail_fraction`, in (0, 1).
    enhancement
        At least 1, and less than 1/`fraction`.
    random
        Source of all randomness.

    Returns
    -------
    response : float64 (jets,)
        By which the jet's momentum is multiplied.
    weight : float64 (jets,)
        An event's weight is the product over its jets.
    """
    drawn = np.where(pt > ENHANCED_PT, enhancement * fraction, fraction)
    in_tail = random.random(len(pt)) < drawn
    response = np.where(in_tail, np.sqrt(random.random(len(pt))), 1.0)
    weight = np.where(in_tail, fraction / drawn, (1 - fraction) / (1 - drawn))
    return response, weight


def lose_jets(
    objects: Objects,
    events: int,
    detector: Detector,
    enhancement: float,
    random: np.random.Generator,
) -> tuple[Objects, NDArray[np.float64]]:
    """Apply the response's tail to the detector's objects, jet by jet.

    Jets are those of all objects but tracked electrons and muons, which are measured by the tracker
    (and the electromagnetic calorimeter) alone and have no such tail.

    Parameters
    ----------
    objects
        What the detector sees.
    events
        Number of events.
    detector
        Gives the jets' radius and least pt and the tail's fraction.
    enhancement
        See `tail_response`.
    random
        Source of all randomness.

    Returns
    -------
    objects : Objects
        The same objects with what is left of their momenta.
    weight : float64 (events,)
        By which to multiply the events' weights; 1 without enhancement.
    """
    hadronic = ~np.isin(np.abs(objects.kind), (ELECTRON, MUON))
    event, pt, jet = jet_of_objects(
        objects.event[hadronic], objects.momenta[hadronic], events, detector
    )
    response, weight = tail_response(pt, detector.tail_fraction, enhancement, random)
    scale = np.ones(len(objects.event))
    # Objects in no jet have index -1: the last entry, 1.
    scale[hadronic] = np.append(response, 1.0)[jet]
    lost = Objects(objects.event, objects.momenta * scale[:, None], objects.kind)
    product = np.ones(events)
    np.multiply.at(product, event, weight)
    return lost, product
