"""A HistFactory model of templates, as the JSON that pyhf reads.

The model is that of CERN-OPEN-2012-016 (K. Cranmer et al., "HistFactory"): in each bin of each
region the expected events are the sum over processes of yields times factors,

    ν_bin = Σ_process γ_bin · Π κ(α) · (yield_bin + Σ_variations Δ_bin(α)),

all regions in one likelihood, with these parameters:

``mu``
    The signal strength, a free factor of every signal process.
``norm_PROCESS``
    A free factor of a background whose normalisation the control regions shall determine.
``unc_PROCESS``
    Log-normal uncertainty of the normalisation, factor 1 + u at +1σ and 1/(1 + u) at −1σ.
A variation's own name
    One parameter with a unit Gaussian constraint moves all regions and processes together: the
    change of the process's total as ``normsys``, that of its shape at fixed total as ``histosys``.
``stat_background_REGION``, ``stat_signal_REGION``
    One factor for each bin with the relative statistical error √Σw²/Σw of all backgrounds
    together (R. Barlow, C. Beeston, Comp. Phys. Comm. 77 (1993) 219, in the lighter form of
    J. Conway, arXiv:1103.0354), and another of the signal, whose error must not depend on ``mu``.

What simulation cannot give a meaning to is an error or a note, never silent: see `build`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.errors import SampleError, nearest
from particle_transformer.evaluation.channel_writer import PARAMETER, ChannelWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from particle_transformer.evaluation.fit_regions import FitRegion

__all__ = ["Workspace", "build"]


@dataclass(frozen=True)
class Workspace:
    """A HistFactory workspace.

    Attributes
    ----------
    spec
        Content of the JSON file (schema 1.0.0 of pyhf). The observations are those that the
        background-only model expects, unless others were given.
    notes
        What was changed in the templates, one line each.
    """

    spec: dict[str, Any]
    notes: tuple[str, ...]


def build(
    regions: Sequence[FitRegion],
    signals: Collection[str],
    *,
    free: Collection[str] = (),
    normalisation: Mapping[str, float] | None = None,
    observed: Mapping[str, NDArray[np.float64]] | None = None,
    statistical: bool = True,
) -> Workspace:
    """Write the model of templates.

    Parameters
    ----------
    regions
        Signal and control regions, all fitted at once.
    signals
        The signal processes; all others are background.
    free
        Backgrounds whose normalisation is free.
    normalisation
        Relative uncertainty of the normalisation by process, more than 0.
    observed
        Observed events by region, float64 (bins,).
    statistical
        Whether the statistical error of the simulation is part of the model; without it the
        result is that of infinitely much simulation.

    Returns
    -------
    Workspace
        Its notes name every process and region where a template, nominal or varied, had bins
        with a negative sum of weights: these are set to 0, their Σw² kept. A process without
        any yield in a region is left out there.

    Raises
    ------
    SampleError
        If a name is unknown or used twice; a bin has no background (then no fit is defined:
        merge bins); there is no signal at all; a free background has no yield; or a variation
        leaves nothing of a process in a region.
    """
    uncertainties = dict(normalisation or {})
    _check_names(regions, signals, free, uncertainties, observed)
    writer = ChannelWriter(tuple(signals), tuple(free), uncertainties, statistical)
    channels = [writer.channel(region) for region in regions]
    present = {sample["name"] for channel in channels for sample in channel["samples"]}
    if not present & set(signals):
        message = f"signal ({', '.join(signals)}): no yield in any region of the fit "
        message += f"({', '.join(region.name for region in regions)}), expected some"
        raise SampleError(message)
    for process in free:
        if process not in present:
            message = f"process {process}: its normalisation is free, but it has no yield in any "
            message += "region of the fit; give it a region or an uncertainty instead"
            raise SampleError(message)
    observations = [
        {
            "name": region.name,
            "data": (
                writer.background[region.name] if observed is None else observed[region.name]
            ).tolist(),
        }
        for region in regions
    ]
    bound = writer.widest_strength(channels)
    parameter = {"name": PARAMETER, "bounds": [[0.0, bound]], "inits": [bound / 100]}
    spec = {
        "channels": channels,
        "observations": observations,
        "measurements": [
            {"name": "limit", "config": {"poi": PARAMETER, "parameters": [parameter]}}
        ],
        "version": "1.0.0",
    }
    return Workspace(spec, tuple(writer.notes))


def _check_names(
    regions: Sequence[FitRegion],
    signals: Collection[str],
    free: Collection[str],
    normalisation: Mapping[str, float],
    observed: Mapping[str, NDArray[np.float64]] | None,
) -> None:
    if not regions or not signals:
        message = f"{len(regions)} regions and {len(signals)} signal processes to fit, "
        message += "expected at least one of each"
        raise SampleError(message)
    names = [region.name for region in regions]
    for name in names:
        if names.count(name) > 1:
            message = f"region {name} is given {names.count(name)} times, expected once"
            raise SampleError(message)
    processes = {process for region in regions for process in region.nominal}
    named = {"signal": signals, "free normalisation": free, "uncertainty": normalisation}
    for role, given in named.items():
        for process in given:
            if process not in processes:
                message = f"{role}: unknown process {process!r} ({nearest(process, processes)})"
                raise SampleError(message)
    for process in free:
        if process in signals:
            message = f"process {process} is signal: its normalisation is mu, not free besides"
            raise SampleError(message)
        if process in normalisation:
            message = f"process {process}: its normalisation is free and has an uncertainty, "
            message += "expected one of them"
            raise SampleError(message)
    for process, value in normalisation.items():
        if not 0 < value < math.inf:
            message = f"process {process}: uncertainty {value:g}, expected more than 0"
            raise SampleError(message)
    reserved = {PARAMETER, *(f"stat_background_{name}" for name in names)}
    reserved |= {f"stat_signal_{name}" for name in names}
    reserved |= {f"{kind}_{process}" for kind in ("norm", "unc") for process in processes}
    for region in regions:
        for variation in region.varied:
            if variation in reserved:
                message = f"variation {variation}: the name belongs to another parameter of the "
                message += "fit; rename the variation"
                raise SampleError(message)
    for region in regions if observed is not None else ():
        counts = (observed or {}).get(region.name)
        if counts is None or counts.shape != (region.bins,) or not np.all(counts >= 0):
            found = "none" if counts is None else str(counts.tolist())
            message = f"region {region.name}: observed events are {found}, expected "
            message += f"{region.bins} numbers that are not negative"
            raise SampleError(message)
