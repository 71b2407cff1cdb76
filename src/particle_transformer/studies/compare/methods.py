"""The methods that are compared, each behind one call on the same events."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from particle_transformer.errors import AnalysisFileError, MissingExtraError, nearest, require
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.studies.compare.peers import (
    DeepSetsNetwork,
    DenseNetwork,
    PartNetwork,
    PublishedNetwork,
)
from particle_transformer.studies.compare.tables import engineered, raw, slots_of
from particle_transformer.studies.compare.trees import (
    Table,
    fit_trees,
    nodes_of,
    predict_trees,
)
from particle_transformer.training.diagnosis import Names
from particle_transformer.training.fit import fit_network
from particle_transformer.training.network import NetworkTask, fit_settings, new_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis, Trees
    from particle_transformer.data import Manifest
    from particle_transformer.events import Events
    from particle_transformer.model import EventNetwork
    from particle_transformer.studies.compare.events import ComparedEvents, FoldEvents
    from particle_transformer.training.callbacks import EpochRecord
    from particle_transformer.training.sample import Sample

__all__ = ["METHODS", "REFERENCE", "Method", "Trained", "choose_methods", "is_installed"]

REFERENCE = "network"
"""What the others are compared with."""


@dataclass(frozen=True)
class Trained:
    """What is kept of a classifier: what it says of events, and what it costs.

    Attributes
    ----------
    test, validation
        float64 (events,): probability of signal of the fold's test and validation events.
    seconds
        Of the training, validation included.
    parameters
        Trained numbers of a network; splits and leaves of trees.
    rate
        Test events scored per second, by as many threads as in the training.
    best
        The epoch, or number of trees, of the lowest validation loss, from 0.
    """

    test: NDArray[np.float64]
    validation: NDArray[np.float64]
    seconds: float
    parameters: int
    rate: float
    best: int


class Method(Protocol):
    """One method."""

    @property
    def label(self) -> str:
        """What tables call it."""

    @property
    def sections(self) -> tuple[str, ...]:
        """Dotted keys of the analysis that decide what comes out, beside ``training``."""

    def train(
        self,
        compared: ComparedEvents,
        fold: FoldEvents,
        seed: int,
        scratch: Path,
        report: Callable[[str], None],
    ) -> Trained:
        """Train one classifier, and score its fold's test and validation events.

        Parameters
        ----------
        compared, fold
            The events; none of `fold.test_rows` is read for the training.
        seed
            Which of the classifiers of a fold, from 0.
        scratch
            A folder of this classifier's own, from which an interrupted training goes on.
        report
            Called with the state of the training.
        """


def _scores(
    logits: Callable[[Events], NDArray[np.floating]], compared: ComparedEvents, fold: FoldEvents
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Scores of test and validation events, and test events per second."""
    found, rate = [], 0.0
    for rows in (fold.validation_rows, fold.test_rows):
        events = compared.events.take(rows)
        started = time.perf_counter()
        found.append(signal_probability(logits(events)))
        rate = len(rows) / (time.perf_counter() - started)
    return found[1], found[0], rate


def _outputs(analysis: Analysis) -> int:
    classes = len(analysis.classes)
    return 1 if classes == 2 else classes


class _Network:
    """A network trained by the loop and the recipe of `aot train`."""

    def __init__(
        self,
        label: str,
        sections: Sequence[str],
        build: Callable[[Analysis, Manifest, Sample, int], EventNetwork],
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
        settings = fit_settings(analysis, NetworkTask(fold.fold, seed), fold.training)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            model = self._build(analysis, manifest, fold.training, settings.seed)
        if self.sections != ("model",):
            settings = replace(settings, compile=False)  # it has no form for it

        def tell(done: int, total: int, rate: float | None, record: EpochRecord | None) -> None:
            del done, total, rate
            if record is not None:
                report(f"epoch {record['epoch'] + 1}, val. loss {record['val_loss']:.4f}")

        started = time.perf_counter()
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
        seconds = time.perf_counter() - started
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)  # the published network draws numbers in each call
            test, validation, rate = _scores(
                lambda events: score_events(model, events), compared, fold
            )
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return Trained(test, validation, seconds, parameters, rate, fit.best_epoch)


class _Trees:
    """XGBoost on a table made of the events."""

    def __init__(self, label: str, section: str) -> None:
        self.label = label
        self.sections = (f"compare.{section}", "compare.features", "event.spectators")
        self._section = section

    def train(
        self,
        compared: ComparedEvents,
        fold: FoldEvents,
        seed: int,
        scratch: Path,
        report: Callable[[str], None],
    ) -> Trained:
        """See `Method.train`."""
        del scratch
        analysis = compared.analysis
        settings: Trees = getattr(analysis.compare, self._section)
        outputs = _outputs(analysis)
        slots = slots_of(analysis, fold.training)
        known = list(analysis.event.spectators)
        chosen = [known.index(text) for text in analysis.compare.features]

        def columns(events: Events) -> NDArray[np.float32]:
            return (
                raw(events, slots) if self._section == "trees_raw" else engineered(events, chosen)
            )

        def table(sample: Sample) -> Table:
            parts = list(sample.chunks())
            return Table(
                np.concatenate([columns(events) for events in parts]),
                np.concatenate([sample.target[events.process] for events in parts]),
                np.concatenate([sample.weights(e.weight, e.process) for e in parts]),
            )

        started = time.perf_counter()
        task = NetworkTask(fold.fold, seed)
        booster = fit_trees(
            table(fold.training),
            table(fold.validation),
            settings,
            outputs=outputs,
            seed=task.seed(analysis.training.seed) % 2**31,
        )
        seconds = time.perf_counter() - started
        best = int(booster.best_iteration)
        report(f"{best + 1} trees")
        test, validation, rate = _scores(
            lambda events: predict_trees(booster, columns(events), outputs=outputs), compared, fold
        )
        return Trained(test, validation, seconds, nodes_of(booster), rate, best)


def _sizes(manifest: Manifest) -> tuple[dict[str, int], int]:
    return {name: len(texts) for name, texts in manifest.objects.items()}, len(manifest.event)


def _dense(analysis: Analysis, manifest: Manifest, training: Sample, seed: int) -> EventNetwork:
    del seed
    return DenseNetwork(
        *_sizes(manifest),
        momenta=analysis.model.pair_bias,
        num_outputs=_outputs(analysis),
        slots=slots_of(analysis, training),
        **analysis.compare.dense.model_dump(),
    )


def _deep_sets(analysis: Analysis, manifest: Manifest, training: Sample, seed: int) -> EventNetwork:
    del training, seed
    return DeepSetsNetwork(
        *_sizes(manifest),
        momenta=analysis.model.pair_bias,
        num_outputs=_outputs(analysis),
        **analysis.compare.deep_sets.model_dump(),
    )


def _published(analysis: Analysis, manifest: Manifest, training: Sample, seed: int) -> EventNetwork:
    del training, seed
    model = analysis.model
    return PublishedNetwork(
        *_sizes(manifest),
        num_outputs=_outputs(analysis),
        width=model.linear_dims2,
        heads=model.num_heads,
        head_widths=(model.mlp_hidden_1, model.mlp_hidden_2),
    )


def _part(analysis: Analysis, manifest: Manifest, training: Sample, seed: int) -> EventNetwork:
    del training, seed
    return PartNetwork(
        *_sizes(manifest),
        momenta=analysis.model.pair_bias,
        num_outputs=_outputs(analysis),
        **analysis.compare.part.model_dump(),
    )


def _ours(analysis: Analysis, manifest: Manifest, training: Sample, seed: int) -> EventNetwork:
    del training
    return new_network(analysis, manifest, seed)


METHODS: dict[str, Method] = {
    REFERENCE: _Network("AnalysisObjectTransformer", ["model"], _ours),
    "trees": _Trees("XGBoost, engineered features", "trees"),
    "trees_raw": _Trees("XGBoost, padded inputs", "trees_raw"),
    "dense": _Network("Dense network", ["model.pair_bias", "compare.dense"], _dense),
    "deep_sets": _Network("Deep Sets (PFN)", ["model.pair_bias", "compare.deep_sets"], _deep_sets),
    "published": _Network(
        "Published form",
        [f"model.{key}" for key in ("linear_dims2", "num_heads", "mlp_hidden_1", "mlp_hidden_2")],
        _published,
    ),
    "part": _Network("ParT (weaver-core)", ["model.pair_bias", "compare.part"], _part),
}
"""By name, in the order of tables."""


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported."""
    return importlib.util.find_spec(module) is not None


def choose_methods(wanted: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Decide which methods are compared, and check that what they need is installed.

    Parameters
    ----------
    wanted
        Names; empty: all, ParT only where weaver-core is installed.

    Returns
    -------
    chosen : tuple of str
        In the order of `METHODS`; the network is always among them.
    absent : dict
        By name of what was left out: why.

    Raises
    ------
    AnalysisFileError
        If a name is unknown.
    MissingExtraError
        If a library of a wanted method is not installed.
    """
    for name in wanted:
        if name not in METHODS:
            message = f"--method: got {name!r}; {nearest(name, METHODS)}"
            raise AnalysisFileError(message)
    chosen = {REFERENCE, *(wanted or METHODS)}
    absent = {}
    if "part" in chosen and not is_installed("weaver"):
        reason = "weaver is not installed; it comes with pip install weaver-core"
        if wanted:
            message = f"part: {reason}"
            raise MissingExtraError(message)
        chosen.remove("part")
        absent["part"] = reason
    if chosen & {"trees", "trees_raw"}:
        require("xgboost", "compare")
    return tuple(name for name in METHODS if name in chosen), absent
