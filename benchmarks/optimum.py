"""How close to the theoretical limit a network comes, on events whose density is known.

The events are those of `particle_transformer.simulation.known_density`, whose likelihood ratio no
classifier can beat. Trains the default network with the pairwise bias, and beside it XGBoost on the
padded objects together with engineered quantities (numbers, sums, leading objects, masses and
angles of pairs), its depth and size chosen on the network's validation events. Prints the share of
the optimal AUC − ½ and of the optimal background rejection at 50 % signal efficiency, with the
error of a paired Poisson bootstrap of the test events and the spread of the seeds.

    python benchmarks/optimum.py [--events 200000] [--seeds 1 2 3] [--test-events 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import xgboost

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.evaluation import Ranking, poisson_bootstrap
from particle_transformer.inference.score import score_events
from particle_transformer.simulation.known_density import (
    MOST_OBJECTS,
    OBJECT_FEATURES,
    PairProcess,
    PointEvents,
)
from particle_transformer.training import FitSettings, fit_network, make_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Figures = Callable[[NDArray[np.float64]], NDArray[np.float64]]

DEPTHS = (4, 6, 8)
LEADING = 6
"""Objects, by pt, of which XGBoost gets all pairs."""


def drawn(events: int, seed: int) -> PointEvents:
    """Events of both classes in equal parts."""
    return PairProcess().generate(np.arange(events) % 2 == 1, seed)


def fitted_network(
    training: PointEvents, validation: PointEvents, settings: FitSettings, width: int
) -> AnalysisObjectTransformer:
    """The network of a seed, trained."""
    torch.manual_seed(settings.seed)
    model = AnalysisObjectTransformer(
        {"objects": len(OBJECT_FEATURES)}, 1, width, width, width, pair_bias=True
    )
    samples = [
        make_sample(points.to_events(), np.arange(len(points)), [0, 1], role=role)
        for points, role in ((training, "training"), (validation, "validation"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        checkpoints, logs = Path(folder, "checkpoints"), Path(folder, "logs")
        fit_network(model, *samples, settings, checkpoint_dir=checkpoints, log_dir=logs)
    return model


def engineered(points: PointEvents) -> NDArray[np.float32]:
    """What XGBoost is given; NaN where an event has too few objects.

    The objects by falling pt; their number and the sum of their pt; mass and angular distance of
    all pairs of the leading ones; least, quartiles and largest of both among all pairs.
    """
    rows = len(points)
    owner = np.repeat(np.arange(rows), points.counts)
    order = np.lexsort([-points.pt, owner])
    place = np.arange(len(owner)) - (np.cumsum(points.counts) - points.counts)[owner]
    grid = np.full((3, rows, MOST_OBJECTS), np.nan)
    for layer, values in zip(grid, (points.pt, points.eta, points.phi), strict=True):
        layer[owner, place] = values[order]
    pt, eta, phi = grid
    one, other = np.triu_indices(MOST_OBJECTS, 1)
    delta_eta = eta[:, one] - eta[:, other]
    delta_phi = np.abs((phi[:, one] - phi[:, other] + np.pi) % (2 * np.pi) - np.pi)
    opening = 2 * (np.cosh(delta_eta) - np.cos(delta_phi))
    masses = np.sqrt(pt[:, one] * pt[:, other] * opening)
    distances = np.hypot(delta_eta, delta_phi)
    leading = other < LEADING
    columns = [points.counts[:, np.newaxis], np.nansum(pt, axis=1, keepdims=True), pt, eta, phi]
    for quantity in (masses, distances):
        columns += [quantity[:, leading], _quartiles(quantity, points.counts)]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _quartiles(quantity: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Least, quartiles and largest over the pairs; NaN without a pair. float64 (events, 5)."""
    rising = np.sort(quantity, axis=1)  # NaN is last
    pairs = counts * (counts - 1) // 2
    place = (np.maximum(pairs - 1, 0)[:, np.newaxis] * np.linspace(0, 1, 5)).round()
    return np.take_along_axis(rising, place.astype(np.int64), axis=1)


def fitted_trees(
    training: PointEvents, validation: PointEvents, seed: int
) -> xgboost.XGBClassifier:
    """Boosted trees, their depth and number chosen on the validation events."""
    inputs, checks = (
        np.concatenate([engineered(part) for part in points.chunks()])
        for points in (training, validation)
    )
    candidates = []
    for depth in DEPTHS:
        trees = xgboost.XGBClassifier(
            n_estimators=3000,
            learning_rate=0.05,
            max_depth=depth,
            subsample=0.8,
            colsample_bytree=0.8,
            min_child_weight=5,
            early_stopping_rounds=50,
            eval_metric="logloss",
            random_state=seed,
            n_jobs=torch.get_num_threads(),
        )
        evaluated = [(checks, validation.is_signal)]
        candidates.append(trees.fit(inputs, training.is_signal, eval_set=evaluated, verbose=False))
    return min(candidates, key=lambda trees: float(trees.best_score))


def tree_scores(trees: xgboost.XGBClassifier, points: PointEvents) -> NDArray[np.float64]:
    """Log-odds of the trees."""
    margins = [trees.predict(engineered(part), output_margin=True) for part in points.chunks()]
    return np.concatenate(margins).astype(np.float64)


def figures(score: NDArray[np.float64], is_signal: NDArray[np.bool_]) -> Figures:
    """Takes weights, float64 (events,); gives AUC − ½ and the rejection at 50 % efficiency."""
    ranking = Ranking(score, is_signal)
    falling = np.argsort(score, kind="stable")[::-1]

    def weighted(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = weight[falling]
        kept = [np.cumsum(np.where(part, ordered, 0)) for part in (signal, ~signal)]
        passed = kept[1][np.searchsorted(kept[0], kept[0][-1] / 2)]
        return np.array([ranking.auc(weight) - 0.5, kept[1][-1] / passed])

    signal = is_signal[falling]
    return weighted


def shares(
    methods: Mapping[str, list[NDArray[np.float64]]],
    optimum: NDArray[np.float64],
    is_signal: NDArray[np.bool_],
    replicas: int,
) -> str:
    """The table, in Markdown.

    Parameters
    ----------
    methods
        Scores, float64 (events,), of each seed by the method's name.
    optimum
        float64 (events,): the logarithm of the likelihood ratio.
    is_signal
        bool (events,).
    replicas
        Of the bootstrap, in which all methods see the same events.
    """
    ones = np.ones(len(optimum))
    best = figures(optimum, is_signal)
    every = {
        name: [figures(score, is_signal) for score in scores] for name, scores in methods.items()
    }

    def values(weight: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        limit = best(weight)
        found = {
            name: np.array([of(weight) for of in seeds]).mean(0) for name, seeds in every.items()
        }
        return {"optimum": limit, **{name: value / limit for name, value in found.items()}}

    drawn = poisson_bootstrap(values, len(ones), replicas=replicas)
    errors = {name: part.std(0, ddof=1) for name, part in drawn.items()}
    limit = best(ones)
    optimal = (
        f"| likelihood ratio | {limit[0] + 0.5:.4f} ± {errors['optimum'][0]:.4f} "
        f"| {limit[1]:.2f} ± {errors['optimum'][1]:.2f} | 100 % | 100 % | |"
    )
    lines = [
        "| | AUC | rejection at 50 % | share of AUC − ½ | share of the rejection | seeds' spread |",
        "|---|---|---|---|---|---|",
        optimal,
    ]
    for name, seeds in every.items():
        found = np.array([of(ones) for of in seeds])  # (seeds, 2)
        share = 100 * found / limit
        mean, error = share.mean(0), 100 * errors[name]
        spread = "one seed"
        if len(seeds) > 1:
            spread = "{:.2f} %, {:.1f} %".format(*share.std(0, ddof=1))
        lines.append(
            f"| {name} | {found[:, 0].mean() + 0.5:.4f} | {found[:, 1].mean():.2f} "
            f"| {mean[0]:.2f} ± {error[0]:.2f} % | {mean[1]:.1f} ± {error[1]:.1f} % "
            f"| {spread} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train, score and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="training events")
    parser.add_argument("--validation-events", type=int, help="a quarter of the training events")
    parser.add_argument("--test-events", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=FitSettings.epochs)
    parser.add_argument("--batch-size", type=int, default=FitSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=FitSettings.learning_rate)
    parser.add_argument("--width", type=int, default=128, help="of the network, in all its blocks")
    parser.add_argument("--replicas", type=int, default=100, help="of the bootstrap")
    options = parser.parse_args()
    validation_events = options.validation_events or options.events // 4
    # Other seeds than any of training and validation, which are 2 s and 2 s + 1.
    test = drawn(options.test_events, 2**31)
    optimum = PairProcess().log_likelihood_ratio(test)
    test_events = test.to_events()
    methods: dict[str, list[NDArray[np.float64]]] = {"this network": [], "XGBoost": []}
    for seed in options.seeds:
        training = drawn(options.events, 2 * seed)
        validation = drawn(validation_events, 2 * seed + 1)
        settings = FitSettings(
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=seed,
        )
        start = time.perf_counter()
        network = fitted_network(training, validation, settings, options.width)
        trained = time.perf_counter()
        scores = score_events(network, test_events)[:, 0].astype(np.float64)
        scored = time.perf_counter()
        trees = fitted_trees(training, validation, seed)
        grown = time.perf_counter()
        methods["this network"].append(scores)
        methods["XGBoost"].append(tree_scores(trees, test))
        print(
            f"seed {seed}: network {trained - start:.0f} s, its scores {scored - trained:.0f} s, "
            f"XGBoost {grown - scored:.0f} s",
            flush=True,
        )
    print(
        f"\n{options.events} training events, {validation_events} for validation, "
        f"{options.test_events} for the test, width {options.width}\n"
    )
    print(shares(methods, optimum, test.is_signal, options.replicas))


if __name__ == "__main__":
    main()
