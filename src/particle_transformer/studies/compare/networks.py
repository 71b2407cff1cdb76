"""Networks, all trained by the loop and the recipe of `aot train`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from particle_transformer.atomic import replacing
from particle_transformer.inference.score import score_events
from particle_transformer.studies.compare.method import Trained, outputs_of, scored
from particle_transformer.studies.compare.peers import (
    DeepSetsNetwork,
    DenseNetwork,
    PartNetwork,
    PublishedNetwork,
)
from particle_transformer.studies.compare.tables import slots_of
from particle_transformer.training.diagnosis import Names
from particle_transformer.training.fit import fit_network
from particle_transformer.training.from_analysis import fit_settings
from particle_transformer.training.network import new_network
from particle_transformer.training.task import NetworkTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.model import EventNetwork
    from particle_transformer.studies.compare.events import ComparedEvents, FoldEvents
    from particle_transformer.training.callbacks import EpochRecord
    from particle_transformer.training.sample import Sample

__all__ = ["NETWORKS", "REFERENCE"]

_CLOCK = "seconds.json"
"""Time that the earlier parts of a training took, which an interruption cut."""


class NetworkMethod:
    """A network trained by the loop and the recipe of `aot train`."""

    def __init__(
        self,
        label: str,
        sections: Sequence[str],
        build: Callable[[Analysis, Manifest, Sample, NetworkTask], EventNetwork],
    ) -> None:
        self.label = label
        self.sections = tuple(sections)
        self._build = build

    def train(
        self,
        compared: ComparedEvents,
        fold: FoldEvents,
        seed: int,
        scratch: Path,
        report: Callable[[str], None],
    ) -> Trained:
        """See `Method.train`."""
        analysis, manifest = compared.analysis, compared.manifest
        task = NetworkTask(fold.fold, seed)
        settings = fit_settings(analysis, task, fold.training)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            model = self._build(analysis, manifest, fold.training, task)
        if self.sections != ("model",):
            settings = replace(settings, compile=False)  # it has no form for it

        clock = scratch / _CLOCK
        earlier = float(json.loads(clock.read_text())) if clock.exists() else 0.0
        started = time.perf_counter()

        def tell(done: int, total: int, rate: float | None, record: EpochRecord | None) -> None:
            del done, total, rate
            if record is not None:
                with replacing(clock) as partial:
                    partial.write_text(json.dumps(earlier + time.perf_counter() - started))
                report(f"epoch {record['epoch'] + 1}, val. loss {record['val_loss']:.4f}")

        fit = fit_network(
            model,
            fold.training,
            fold.validation,
            settings,
            checkpoint_dir=scratch,
            log_dir=scratch,
            resume=True,
            names=Names(
                manifest.objects, manifest.event, manifest.spectators, list(analysis.processes)
            ),
            loggers=(),
            progress=tell,
        )
        seconds = earlier + time.perf_counter() - started
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)  # the published network draws numbers in each call
            test, validation, rate = scored(
                lambda events: score_events(model, events), compared, fold
            )
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return Trained(test, validation, seconds, parameters, rate, fit.best_epoch)


def _sizes(manifest: Manifest) -> tuple[dict[str, int], int]:
    return {name: len(texts) for name, texts in manifest.objects.items()}, len(manifest.event)


def _dense(
    analysis: Analysis, manifest: Manifest, training: Sample, task: NetworkTask
) -> EventNetwork:
    del task
    return DenseNetwork(
        *_sizes(manifest),
        momenta=analysis.model.pair_bias,
        num_outputs=outputs_of(analysis),
        slots=slots_of(analysis, training),
        **analysis.compare.dense.model_dump(),
    )


def _deep_sets(
    analysis: Analysis, manifest: Manifest, training: Sample, task: NetworkTask
) -> EventNetwork:
    del training, task
    return DeepSetsNetwork(
        *_sizes(manifest),
        momenta=analysis.model.pair_bias,
        num_outputs=outputs_of(analysis),
        **analysis.compare.deep_sets.model_dump(),
    )


def _published(
    analysis: Analysis, manifest: Manifest, training: Sample, task: NetworkTask
) -> EventNetwork:
    del training, task
    model = analysis.model
    return PublishedNetwork(
        *_sizes(manifest),
        num_outputs=outputs_of(analysis),
        width=model.linear_dims2,
        heads=model.num_heads,
        head_widths=(model.mlp_hidden_1, model.mlp_hidden_2),
    )


def _part(
    analysis: Analysis, manifest: Manifest, training: Sample, task: NetworkTask
) -> EventNetwork:
    del training, task
    return PartNetwork(
        *_sizes(manifest),
        momenta=analysis.model.pair_bias,
        num_outputs=outputs_of(analysis),
        **analysis.compare.part.model_dump(),
    )


def _ours(
    analysis: Analysis, manifest: Manifest, training: Sample, task: NetworkTask
) -> EventNetwork:
    del training
    return new_network(analysis, manifest, task)


REFERENCE = "network"
"""What the others are compared with."""

_HEAD = ("linear_dims2", "num_heads", "mlp_hidden_1", "mlp_hidden_2")

NETWORKS: dict[str, NetworkMethod] = {
    REFERENCE: NetworkMethod("AnalysisObjectTransformer", ["model"], _ours),
    "dense": NetworkMethod("Dense network", ["model.pair_bias", "compare.dense"], _dense),
    "deep_sets": NetworkMethod(
        "Deep Sets (PFN)", ["model.pair_bias", "compare.deep_sets"], _deep_sets
    ),
    "published": NetworkMethod("Published form", [f"model.{key}" for key in _HEAD], _published),
    "part": NetworkMethod("ParT (weaver-core)", ["model.pair_bias", "compare.part"], _part),
}
"""By name."""
