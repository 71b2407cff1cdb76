"""What is known of a run, for its model card."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particle_transformer.config import load_analysis
from particle_transformer.data.manifest import read_manifest
from particle_transformer.errors import InputFileError
from particle_transformer.network_files import read_network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis

__all__ = ["RunFacts", "read_facts"]


@dataclass(frozen=True)
class RunFacts:
    """What a model card is written from.

    Attributes
    ----------
    analysis
        The resolved analysis file.
    record
        The content of ``run.json``.
    arguments, metadata
        Those of the first network; but for fold and number all have the same.
    metrics
        The content of ``evaluation/metrics.json``; None where the run has not been evaluated.
    files
        Input files by process; None where the store is gone.
    """

    analysis: Analysis
    record: Mapping[str, Any]
    arguments: Mapping[str, Any]
    metadata: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    files: Mapping[str, int] | None


def read_facts(run: RunFolder) -> RunFacts:
    """Read a run, and check all of its networks.

    Raises
    ------
    InputFileError
        If it is no run, or a file of it is missing, damaged or altered.
    """
    record = run.read_record()
    networks = [read_network(path) for path in run.networks()]
    return RunFacts(
        load_analysis(run.analysis),
        record,
        networks[0].arguments,
        networks[0].metadata,
        _metrics(run),
        _files(run),
    )


def _metrics(run: RunFolder) -> Mapping[str, Any] | None:
    path = run.evaluation / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read ({error}); evaluate the run again with aot evaluate"
        raise InputFileError(message) from error
    return metrics


def _files(run: RunFolder) -> Mapping[str, int] | None:
    """Nominal files by process."""
    if not run.store().is_dir():
        return None
    inputs = read_manifest(run.store()).inputs
    return Counter(record.process for record in inputs if not record.variation)
