"""Compare the network of an analysis with other classifiers."""

from __future__ import annotations

import json
import shutil
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer._version import __version__
from particle_transformer.atomic import replacing
from particle_transformer.config import dump_analysis
from particle_transformer.data import Store, prepare
from particle_transformer.errors import AnalysisFileError, nearest
from particle_transformer.evaluation import effective_events
from particle_transformer.inference.statistics import fit_choices
from particle_transformer.studies.compare.events import (
    ComparedEvents,
    check_comparable,
    with_quantities,
)
from particle_transformer.studies.compare.figures import (
    SeedScores,
    calibration,
    compare_figures,
    roc,
    validation_loss,
)
from particle_transformer.studies.compare.limits import (
    Limits,
    binned_limits,
    limit_figure,
    score_limits,
)
from particle_transformer.studies.compare.methods import METHODS, REFERENCE, choose_methods
from particle_transformer.studies.compare.work import MARK, train_all
from particle_transformer.studies.study_folder import alone_in
from particle_transformer.training.initial import with_initial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.studies.compare.method import Trained

__all__ = ["RESULT", "compare"]

RESULT = "compare.json"
SCHEMA_VERSION = 1

LIMIT_REPLICAS = 50
"""Of the bootstrap of limits, each of which is a fit."""


def compare(
    analysis: Analysis,
    out: Path,
    *,
    store: Path | None = None,
    methods: Sequence[str] = (),
    seeds: int | None = None,
    seeds_of: Mapping[str, int] | None = None,
    workers: int = 1,
    unblind: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Train the network and what it is compared with on the same events, and compare them.

    Every method gets the same events in regions of role signal, the same folds, training weights
    and validation events for its early stopping; every event is scored by the classifier of its
    own fold. What is in the folder already is not trained again, also after a kill; networks go on
    from their last checkpoint.

    Parameters
    ----------
    analysis
        The analysis file; its sections ``training`` and ``model`` are those of the network.
    out
        The comparison's folder: absent, empty, or with a comparison. Gets ``compare.json``.
    store
        A prepared store to use; it is brought up to date first. None prepares ``out/store``.
    methods
        Names of `METHODS`; empty: all that are installed. The network is always trained.
    seeds
        Classifiers of every method and fold; None: ``compare.seeds``.
    seeds_of
        By method another number, where its training takes long.
    workers
        Processes that train classifiers at the same time, each on its share of the cores; 1
        trains in this one. Changes no classifier, but the times that are measured.
    unblind
        Read data in blind regions, too; it is neither trained on nor scored.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    dict
        The content of ``compare.json``.

    Raises
    ------
    MissingExtraError
        If a library of a method is not installed.
    AOTError
        For every mistake in the input.
    """
    check_comparable(analysis)
    analysis = with_initial(with_quantities(analysis))
    chosen, absent = choose_methods(methods)
    plain = analysis.compare.seeds if seeds is None else seeds
    for name in seeds_of or {}:
        if name not in chosen:
            message = f"--seeds-of: {name} is not compared; {nearest(name, chosen)}"
            raise AnalysisFileError(message)
    number = {name: (seeds_of or {}).get(name, plain) for name in chosen}
    with alone_in(out, MARK, progress, command="aot compare"):
        compared = _begin(analysis, out, store, unblind, progress)
        place = store or out / "store"
        kept = train_all(compared, out, place, chosen, number, workers, progress)
        shutil.rmtree(out / "unfinished", ignore_errors=True)
        result = _result(compared, kept, absent, number, progress)
        with replacing(out / RESULT) as partial:
            partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


def _begin(
    analysis: Analysis,
    out: Path,
    store: Path | None,
    unblind: bool,
    progress: Callable[[str, int, int], None] | None,
) -> ComparedEvents:
    """Prepare the events, and mark the folder as a comparison's."""
    fresh = not (out / MARK).exists()
    place = store or out / "store"
    try:
        prepare(analysis, place, unblind=unblind, progress=progress)
        compared = ComparedEvents.of(analysis, Store(place))
    except BaseException:
        if fresh and store is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    with replacing(out / MARK) as partial:
        partial.write_text(dump_analysis(analysis), encoding="utf-8")
    return compared


def _result(
    compared: ComparedEvents,
    kept: Mapping[str, list[list[Trained]]],
    absent: Mapping[str, str],
    seeds: Mapping[str, int],
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, Any]:
    analysis = compared.analysis
    evaluation = analysis.evaluation
    folds = len(compared.folds)
    scores = {
        name: [_scores(compared, of_seed) for of_seed in of_method]
        for name, of_method in kept.items()
    }
    found = compare_figures(
        scores,
        reference=REFERENCE,
        working_points=evaluation.working_points,
        background_uncertainty=evaluation.background_uncertainty,
        folds=folds,
        replicas=evaluation.bootstrap,
        progress=None if progress is None else lambda a, b: progress("bootstrap", a, b),
    )
    test = scores[REFERENCE][0].test
    weight = test.weight[~test.is_signal]
    choices = fit_choices(analysis)
    limits: dict[str, Limits] = {}
    for name, each in scores.items():
        limits[name] = score_limits(
            compared, each, choices, replicas=min(evaluation.bootstrap, LIMIT_REPLICAS),
            progress=None if progress is None else partial(_tell, progress, f"limits ({name})"),
        )  # fmt: skip
    methods = {}
    for name, figures in found.items():
        figures["limit"] = limit_figure(limits[name], None, weight)
        if name != REFERENCE:
            figures["versus"]["limit"] = limit_figure(limits[name], limits[REFERENCE], weight)
        methods[name] = {
            "label": METHODS[name].label,
            "seeds": seeds[name],
            **figures,
            "calibration": calibration(scores[name], folds=folds, replicas=evaluation.bootstrap),
            "validation_loss": validation_loss(scores[name]),
            **_costs(kept[name]),
            "roc": roc(scores[name], replicas=evaluation.bootstrap),
        }
    binned = None
    if analysis.compare.binned:
        own = binned_limits(
            compared, compared.columns(analysis.compare.binned), scores[REFERENCE][0], choices,
            replicas=min(evaluation.bootstrap, LIMIT_REPLICAS),
        )  # fmt: skip
        binned = {
            "label": "Binned in " + " and ".join(analysis.compare.binned),
            "limit": limit_figure(own, None, weight),
            "versus": {"limit": limit_figure(own, limits[REFERENCE], weight)},
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "torch": version("torch"),
        "analysis": analysis.name,
        "store_fingerprint": compared.manifest.fingerprint,
        "signal_regions": list(analysis.signal_regions),
        "working_points": [f"{point:g}" for point in evaluation.working_points],
        "background_uncertainty": evaluation.background_uncertainty,
        "folds": folds,
        "replicas": evaluation.bootstrap,
        "reference": REFERENCE,
        "events": {
            kind: {
                "events": int(np.sum(mask)),
                "yield": float(np.sum(test.weight[mask])),
                "effective_events": effective_events(test.weight[mask]),
            }
            for kind, mask in (("signal", test.is_signal), ("background", ~test.is_signal))
        },
        "methods": methods,
        "binned": binned,
        "absent": dict(absent),
    }


def _tell(progress: Callable[[str, int, int], None], what: str, done: int, total: int) -> None:
    progress(what, done, total)


def _scores(compared: ComparedEvents, of_seed: list[Trained]) -> SeedScores:
    score = np.empty(len(compared.events))
    for fold, trained in zip(compared.folds, of_seed, strict=True):
        score[fold.test_rows] = trained.test
    return SeedScores(
        compared.test(score), compared.validation([trained.validation for trained in of_seed])
    )


def _costs(of_method: list[list[Trained]]) -> dict[str, Any]:
    """Means over folds and seeds."""
    every = [trained for of_seed in of_method for trained in of_seed]
    return {
        "seconds": float(np.mean([trained.seconds for trained in every])),
        "parameters": round(float(np.mean([trained.parameters for trained in every]))),
        "rate": float(np.median([trained.rate for trained in every])),
        "best": float(np.mean([trained.best for trained in every])),
    }
