"""Ensembles of the classifiers of a comparison: the mean over the seeds, for every method alike.

`aot compare` quotes the mean figure of single classifiers. This reads what it has trained, averages
the probabilities of each fold's classifiers over the seeds, of the network as of the trees, and
compares these ensembles. Two errors are combined: that of the seeds (jackknife: the ensembles that
lack one seed, Efron & Stein, Ann. Statist. 9 (1981) 586) and that of the test events (paired Poisson
bootstrap). Writes OUT/ensembles.json and prints it.

    python benchmarks/seed_ensembles.py FILE OUT [--store STORE] [--method NAME]… [--seeds N]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.evaluation import Ranking, poisson_bootstrap
from particle_transformer.studies.compare.events import ComparedEvents, with_quantities
from particle_transformer.studies.compare.methods import REFERENCE
from particle_transformer.studies.compare.trained import Place, fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scores_of(compared: ComparedEvents, out: Path, method: str, seeds: int) -> NDArray[np.float64]:
    """Out-of-fold probabilities of a method: float64 (seeds, events)."""
    key = fingerprint(compared.analysis, compared.digest, method)
    found = np.empty((seeds, len(compared.events)))
    for seed in range(seeds):
        for fold in compared.folds:
            place = Place(out, method, key, fold.fold, seed)
            kept = place.read()
            if kept is None:
                message = f"{place.file}: absent; run aot compare with as many seeds first"
                raise SystemExit(message)
            found[seed, fold.test_rows] = kept.test
    return found


def main() -> None:
    """Compare the ensembles."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--method", action="append", dest="methods")
    parser.add_argument("--seeds", type=int)
    given = parser.parse_args()
    analysis = with_quantities(load_analysis(given.file))
    compared = ComparedEvents.of(analysis, Store(given.store or given.out / "store"))
    seeds = given.seeds or analysis.compare.seeds
    if seeds < 2:
        parser.error(f"--seeds: got {seeds}, expected two or more")
    methods = [REFERENCE, *(given.methods or ("trees", "trees_raw"))]
    scores = {name: scores_of(compared, given.out, name, seeds) for name in methods}
    test = compared.test(scores[REFERENCE][0])
    replicas = analysis.evaluation.bootstrap

    def auc(score: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
        return Ranking(score, test.is_signal).auc(weight)

    ensembles = {name: Ranking(each.mean(axis=0), test.is_signal) for name, each in scores.items()}
    value = {name: ranking.auc(test.weight) for name, ranking in ensembles.items()}
    drawn = poisson_bootstrap(
        lambda multiplicity: {
            name: np.asarray(ranking.auc(multiplicity * test.weight))
            for name, ranking in ensembles.items()
        },
        len(test),
        replicas=replicas,
        seed=1,
    )
    without = {
        name: np.array(
            [auc(np.delete(each, seed, axis=0).mean(axis=0), test.weight) for seed in range(seeds)]
        )
        for name, each in scores.items()
    }
    result: dict[str, Any] = {
        "analysis": analysis.name,
        "events": len(test),
        "seeds": seeds,
        "methods": {},
    }
    for name, each in scores.items():
        single = [auc(score, test.weight) for score in each]
        figures = {"single": float(np.mean(single)), "ensemble": value[name]}
        if name != REFERENCE:
            left_out = without[REFERENCE] - without[name]
            jackknife = np.sqrt((seeds - 1) * np.var(left_out))
            events = np.std(drawn[REFERENCE] - drawn[name], ddof=1)
            figures["difference"] = value[REFERENCE] - value[name]
            figures["seed_error"] = float(jackknife)
            figures["event_error"] = float(events)
            figures["error"] = float(np.hypot(jackknife, events))
        result["methods"][name] = figures
        print(name, " ".join(f"{key} {number:.4f}" for key, number in figures.items()))
    (given.out / "ensembles.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
