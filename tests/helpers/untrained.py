"""Runs whose networks are as they were drawn: what scores them is tested, not how good they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer.artefact import save_artefact
from particle_transformer.artefact.run_folder import RUN_VERSION, RunFolder
from particle_transformer.config import dump_analysis
from particle_transformer.data import Store, prepare
from particle_transformer.training.network import new_network
from particle_transformer.training.task import NetworkTask

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.events.conditioning import Conditioning
    from particle_transformer.model import AnalysisObjectTransformer


def untrained_run(
    analysis: Analysis,
    path: Path,
    *,
    conditioning: Conditioning | None = None,
    unblind: bool = False,
) -> RunFolder:
    """A run with a prepared store and networks of large random weights, which differ clearly."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    run.analysis.write_text(dump_analysis(analysis))
    store = Store(prepare(analysis, path / "store", unblind=unblind))
    settings = analysis.training
    for fold in range(settings.folds):
        for number in range(settings.ensemble):
            model = _network(analysis, store.manifest, fold, number)
            metadata = _metadata(analysis, store.manifest, fold, conditioning)
            save_artefact(run.network(fold, number), model, metadata, model_card="")
    record = {
        "format_version": RUN_VERSION,
        "store": "store",
        "store_fingerprint": store.manifest.fingerprint,
        "folds": settings.folds,
        "ensemble": settings.ensemble,
        "classes": list(analysis.classes),
    }
    run.record.write_text(json.dumps(record))
    return run


def _network(
    analysis: Analysis, manifest: Manifest, fold: int, number: int
) -> AnalysisObjectTransformer:
    model = new_network(analysis, manifest, NetworkTask(fold, number))
    generator = torch.Generator().manual_seed(100 * fold + number)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.event_scaling.scale.fill_(5)
    return model


def _metadata(
    analysis: Analysis, manifest: Manifest, fold: int, conditioning: Conditioning | None
) -> dict[str, Any]:
    regression = analysis.training.regression
    return {
        "analysis": analysis.name,
        "fold": fold,
        "folds": analysis.training.folds,
        "classes": list(analysis.classes),
        "two_scores": analysis.training.double_disco is not None,
        "objects": manifest.objects,
        "event": [*manifest.event, *analysis.training.condition],
        "conditioning": conditioning and conditioning.to_json(),
        "regression": [] if regression is None else list(regression.targets),
    }
