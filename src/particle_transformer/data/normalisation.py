"""The physics weight: cross-section × luminosity × weights / generated sum of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particle_transformer.errors import InputFileError, SampleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.data.manifest import InputRecord
    from particle_transformer.data.readers import Generated

__all__ = ["generated_sum", "normalisation"]

FEMTOBARN_PER_PICOBARN = 1000.0


def generated_sum(
    stated: Generated | None, *, weighted: bool, entries: int, generator_sum: float
) -> tuple[float, bool]:
    """Generated sum of generator weights of one file, and whether the file itself states it.

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
        return (stated.sum_of_weights if weighted else stated.count), True
    return (generator_sum if weighted else float(entries)), False


def normalisation(
    analysis: Analysis, inputs: Sequence[InputRecord], stated: Sequence[bool]
) -> dict[str, dict[str, float]]:
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
    stated
        For each of them, whether it states its generated sum itself.

    Raises
    ------
    InputFileError
        If only some files of a process and era state their generated sum.
    SampleError
        If that sum is not a positive finite number.
    """
    factors: dict[str, dict[str, float]] = {}
    for name, process in analysis.processes.items():
        factors[name] = {}
        for era in process.files:
            chosen = [
                (record, known)
                for record, known in zip(inputs, stated, strict=True)
                if (record.process, record.era) == (name, era)
            ]
            if not chosen:
                continue  # a variation replaces only some processes and eras
            if process.cross_section is None:
                factors[name][era] = 1.0
                continue
            silent = [record.path for record, known in chosen if not known]
            if silent and len(silent) < len(chosen):
                message = (
                    f"processes.{name} (era {era}): {len(chosen) - len(silent)} of {len(chosen)} "
                    f"files state their generated sum of weights (Runs.genEventSumw), {silent[0]} "
                    f"does not; all files of a process and era must, or none"
                )
                raise InputFileError(message)
            total = sum(record.sum_of_weights for record, _ in chosen)
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
