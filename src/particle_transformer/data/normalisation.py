"""The physics weight: cross-section × luminosity × weights / generated sum of weights."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import InputFileError, SampleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.data.manifest import InputRecord
    from particle_transformer.data.readers import Generated
    from particle_transformer.data.scan import ScannedFile

__all__ = ["check_stated", "generated_sum", "normalisation"]

FEMTOBARN_PER_PICOBARN = 1000.0


def generated_sum(
    stated: Generated | None, *, weighted: bool, entries: int, generator_sum: float
) -> float:
    """Generated sum of generator weights of one file.

    Parameters
    ----------
    stated
        What the file says of all its generated events, None where it says nothing.
    weighted
        Whether the analysis file names a generator weight; else every event counts 1.
    entries, generator_sum
        Number of entries in the file and the sum of their generator weights, before any
        selection of ours.
    """
    if stated is not None:
        return stated.sum_of_weights if weighted else stated.count
    return generator_sum if weighted else float(entries)


def normalisation(analysis: Analysis, inputs: Sequence[InputRecord]) -> dict[str, dict[str, float]]:
    """Factor from the product of an event's weights to its physics weight.

    cross_section [pb] × 1000 fb/pb × luminosity [fb⁻¹] / Σ generator weights of all generated
    events of the process and era, over all its files; 1 for data and for ready weights.

    Parameters
    ----------
    analysis
        The analysis file.
    inputs
        The nominal input files, or those of a variation; a process and era without any has no
        factor.

    Raises
    ------
    SampleError
        If that sum is not a positive finite number.
    """
    factors: dict[str, dict[str, float]] = {}
    for name, process in analysis.processes.items():
        factors[name] = {}
        for era in process.files:
            chosen = [record for record in inputs if (record.process, record.era) == (name, era)]
            if not chosen:
                continue  # a variation replaces only some processes and eras
            if process.cross_section is None:
                factors[name][era] = 1.0
                continue
            total = sum(record.sum_of_weights for record in chosen)
            if not np.isfinite(total) or total <= 0:
                message = (
                    f"processes.{name} (era {era}): the sum of generator weights is {total:g}; "
                    f"expected a positive number to divide by"
                )
                raise SampleError(message)
            luminosity = analysis.eras[era].luminosity
            assert luminosity is not None, "the analysis file was validated"
            factors[name][era] = process.cross_section * FEMTOBARN_PER_PICOBARN * luminosity / total
    return factors


def check_stated(analysis: Analysis, scanned: Sequence[ScannedFile]) -> None:
    """Check that all files of a process, era and variation state their generated sums, or none.

    Raises
    ------
    InputFileError
        If only some do.
    """
    groups: defaultdict[tuple[str, str, str], list[ScannedFile]] = defaultdict(list)
    for found in scanned:
        file = found.file
        if analysis.processes[file.process].cross_section is not None:
            groups[file.process, file.era, file.variation].append(found)
    for (process, era, _), members in groups.items():
        silent = [found.file.path for found in members if found.stated is None]
        if silent and len(silent) < len(members):
            message = (
                f"processes.{process} (era {era}): {len(members) - len(silent)} of {len(members)} "
                f"files state their generated sum of weights (Runs.genEventSumw), {silent[0]} "
                f"does not; all files of a process and era must, or none"
            )
            raise InputFileError(message)
