"""Boosted trees on what a run's networks saw: the same inputs, folds, validation and weights.

The inputs are the store's features and, where the network has the pairwise bias, the momenta.

For each RUN (several runs of one analysis with different seeds are averaged) XGBoost is trained per
fold on the store's features, padded, with missing objects as NaN; its depth and number of trees are
chosen on the validation events of the fold, which the network uses for early stopping. Prints the
weighted out-of-fold AUC and the background rejection of both, in all signal regions together and in
every other region, with errors of a paired Poisson bootstrap of the test events.

    python benchmarks/boosted_trees.py RUN [RUN …]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import xgboost

from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import Analysis, load_analysis
from particle_transformer.data import Store
from particle_transformer.evaluation import auc, roc_curve
from particle_transformer.events import Events, fold_of, split_roles
from particle_transformer.events.classes import SIGNAL
from particle_transformer.losses.weights import training_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTHS = (3, 4, 6)
REPLICAS = 200


def padded(events: Events) -> NDArray[np.float32]:
    """All features of all objects in fixed columns, NaN where an event has fewer objects."""
    columns = [events.event]
    for ragged in events.objects.values():
        most = int(np.quantile(ragged.counts, 0.999)) if len(ragged.counts) else 0
        values = ragged.values
        if ragged.momenta is not None:
            values = np.concatenate([values, ragged.momenta], axis=1)
        grid = np.full((len(events), most, values.shape[1]), np.nan, dtype=np.float32)
        owner = np.repeat(np.arange(len(events)), ragged.counts)
        place = np.arange(len(owner)) - ragged.offsets[owner]
        inside = place < most
        grid[owner[inside], place[inside]] = values[inside]
        columns.append(grid.reshape(len(events), -1))
    return np.concatenate(columns, axis=1)


def tree_scores(
    events: Events, is_signal: NDArray[np.bool_], analysis: Analysis
) -> NDArray[np.float64]:
    """Out-of-fold scores of the boosted trees; depth and size chosen on the validation events."""
    inputs, target = padded(events), is_signal.astype(np.int64)
    scores = np.empty(len(events))
    folds = analysis.training.folds
    for fold in range(folds):
        training, validation, test = split_roles(events.identity, fold, folds)
        weights = [
            training_weights(
                events.weight[role], target[role], events.process[role], negative_weights="abs"
            )
            for role in (training, validation)
        ]
        best: xgboost.XGBClassifier | None = None
        for depth in DEPTHS:
            trees = xgboost.XGBClassifier(
                n_estimators=2000,
                learning_rate=0.05,
                max_depth=depth,
                subsample=0.8,
                colsample_bytree=0.8,
                min_child_weight=5,
                early_stopping_rounds=50,
                eval_metric="logloss",
                random_state=fold,
                n_jobs=2,
            )
            trees.fit(
                inputs[training],
                target[training],
                sample_weight=weights[0],
                eval_set=[(inputs[validation], target[validation])],
                sample_weight_eval_set=[weights[1]],
                verbose=False,
            )
            if best is None or trees.best_score < best.best_score:
                best = trees
        assert best is not None
        scores[test] = best.predict_proba(inputs[test])[:, 1]
    return scores


def rejection(
    score: NDArray[np.float64], weight: NDArray[np.float64], is_signal: NDArray[np.bool_]
) -> float:
    """Background rejection at 50 % signal efficiency, read off the ROC curve."""
    curve = roc_curve(score, weight, is_signal)
    assert curve is not None, "both classes have a positive total weight"
    return float(1 / curve.background_at(np.array([0.5]))[0])


def compare(
    label: str,
    networks: list[NDArray[np.float64]],
    trees: NDArray[np.float64],
    weight: NDArray[np.float64],
    is_signal: NDArray[np.bool_],
) -> None:
    """Print figures of both methods, and their difference in a paired bootstrap."""
    rng = np.random.default_rng(1)
    differences, ratios = [], []
    figures = np.array([[auc(s, weight, is_signal).value for s in [*networks, trees]]], dtype=float)
    for _ in range(REPLICAS):
        replica = weight * rng.poisson(1.0, len(weight))
        own = np.mean([auc(score, replica, is_signal).value for score in networks])
        differences.append(own - (auc(trees, replica, is_signal).value or np.nan))
        ratios.append(
            np.mean([rejection(score, replica, is_signal) for score in networks])
            / rejection(trees, replica, is_signal)
        )
    own = figures[0, :-1]
    spread = f" (sd over {len(own)} seeds {own.std(ddof=1):.4f})" if len(own) > 1 else ""
    print(f"{label}: {len(weight)} events")
    print(f"  AUC  network {own.mean():.4f}{spread}   boosted trees {figures[0, -1]:.4f}")
    print(f"  AUC difference {own.mean() - figures[0, -1]:+.4f} ± {np.std(differences):.4f}")
    mean = np.mean([rejection(score, weight, is_signal) for score in networks])
    base = rejection(trees, weight, is_signal)
    print(
        f"  rejection at 50 %  network {mean:.2f}   boosted trees {base:.2f}   "
        f"ratio {mean / base:.3f} ± {np.std(ratios):.3f}"
    )


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    runs = [RunFolder(path) for path in parser.parse_args().runs]
    analysis = load_analysis(runs[0].analysis)
    store = Store(runs[0].store())
    events = store.events()
    is_signal = np.array([name == SIGNAL for name in store.manifest.classes])[events.process]
    networks = []
    for run in runs:
        scores = pq.read_table(run.evaluation / "scores.parquet")
        fold = fold_of(events.identity, analysis.training.folds)
        if not np.array_equal(scores["fold"].to_numpy(), fold):
            parser.error(f"{run.path}: its events or folds differ from those of {runs[0].path}")
        networks.append(scores["score"].to_numpy())
    trees = tree_scores(events, is_signal, analysis)
    for name, region in analysis.regions.items():
        chosen = events.regions[name]
        compare(
            f"region {name} ({region.role})",
            [score[chosen] for score in networks],
            trees[chosen],
            events.weight[chosen],
            is_signal[chosen],
        )


if __name__ == "__main__":
    main()
