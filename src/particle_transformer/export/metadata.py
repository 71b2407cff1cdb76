"""What an exported file says of itself."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.export.check import Parity
    from particle_transformer.export.graph import RawGraph

__all__ = ["FORMAT_VERSION", "describe"]

FORMAT_VERSION = 1

LICENCE = "Apache-2.0"


def describe(
    run: RunFolder,
    graph: RawGraph,
    network: Mapping[str, Any],
    *,
    folds: list[int],
    parity: Parity,
    precision: Mapping[str, Any],
) -> dict[str, Any]:
    """The metadata of an exported graph.

    Parameters
    ----------
    run
        The run.
    graph
        What is exported.
    network
        Metadata of one of its networks.
    folds
        The folds whose networks it holds.
    parity
        What the check has found.
    precision
        ``precision`` and what it costs.

    Returns
    -------
    dict
        What JSON can hold, by key; docs/exporting.md says what each means.
    """
    analysis = graph.raw.names.analysis
    record = run.read_record()
    classes = list(network["classes"])
    return {
        "format_version": FORMAT_VERSION,
        "description": (
            f"{analysis.name}: {' or '.join(classes)} of collision events, from raw columns in "
            "physical units; selection, overlap removal, order and cap of the objects, features "
            "and scaling are in the graph, event selections and MET propagation are not"
        ),
        "analysis": analysis.name,
        "classes": classes,
        "two_scores": graph.two_scores,
        "inputs": [
            {
                "name": each.name,
                "kind": each.kind,
                "dtype": "float32" if graph.float_inputs else str(each.tensor_dtype),
                "shape": ["batch"] if each.group is None else ["batch", f"{each.group}_slots"],
                "unit": each.unit,
            }
            for each in graph.inputs
        ],
        "outputs": graph.outputs,
        "features": {
            name: {
                "features": list(settings.features),
                "select": settings.select,
                "clean": settings.clean and settings.clean.model_dump(mode="json"),
                "sort_by": settings.sort_by,
                "max": settings.max,
                "mask": f"{graph.raw.groups[name]}_mask",
            }
            for name, settings in analysis.objects.items()
        },
        "event_features": list(network["event"]),
        "regression": list(network["regression"]),
        "conditioning": network["conditioning"],
        "padding": "mask: True (1 where all inputs are float32) = padded; any value there",
        "identity": list(graph.raw.identity),
        "fold": folds[0] if len(folds) == 1 else None,
        "folds": int(record["folds"]),
        "networks_per_fold": int(record["ensemble"]),
        "store_fingerprint": record["store_fingerprint"],
        "training_fingerprint": _fingerprint(run, folds, int(record["ensemble"])),
        "licence": LICENCE,
        "versions": {
            "analysis-object-transformer": __version__,
            "torch": torch.__version__,
            "training": record["versions"],
        },
        "parity": {
            "max_abs_logit_difference": parity.difference,
            "events": parity.events,
            "multiplicities": {name: list(met) for name, met in parity.multiplicities.items()},
        },
        **precision,
    }


def _fingerprint(run: RunFolder, folds: list[int], number: int) -> str:
    """SHA-256 over those of the networks' weights: another training, another fingerprint."""
    found = hashlib.sha256()
    for fold in folds:
        for each in range(number):
            config = json.loads((run.network(fold, each) / "config.json").read_text())
            found.update(config["sha256"]["weights"].encode())
    return found.hexdigest()
