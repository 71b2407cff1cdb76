"""How close to the theoretical limit a network comes, on events whose density is known.

The events are those of `particle_transformer.simulation.known_density`, whose likelihood ratio no
classifier can beat. Trains networks with the pairwise bias, and beside them XGBoost on engineered
quantities (`pair_features.py`), on the same training and validation events, for several sizes of
the training sample. Both methods' settings were chosen on the events of seed 101, which is no seed of
the benchmark, before its test events were looked at.

    python benchmarks/optimum.py --out build/optimum --results benchmarks/results/optimum.json

Whatever is trained already, or half trained, is in OUT and is not trained again. Prints the shares of the
optimal AUC − ½ and of the optimal background rejection at 50 % signal efficiency, and writes them
with the errors, from the test events (paired Poisson bootstrap) and from the seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xgboost
from optimum_table import summary, table
from pair_features import engineered

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.atomic import replacing
from particle_transformer.inference.score import score_events
from particle_transformer.simulation.known_density import PairProcess
from particle_transformer.simulation.point_events import OBJECT_FEATURES, PointEvents
from particle_transformer.training import FitSettings, fit_network, make_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

NETWORK = {"width": 32, "num_att_blocks": 2, "num_class_blocks": 1}
FIT = {"batch_size": 256, "learning_rate": 3e-3}
TREES = {
    "n_estimators": 5000, "learning_rate": 0.08, "max_depth": 5, "subsample": 0.8,
    "colsample_bytree": 0.5, "min_child_weight": 10, "max_bin": 128, "early_stopping_rounds": 40,
    "eval_metric": "logloss",
}  # fmt: skip
METHODS = ("network", "xgboost")
TEST_SEED = 2**31
"""Of the test events; those of seed s are trained on 2 s and validated on 2 s + 1."""


def epochs(events: int) -> int:
    """Passes over a training sample: fewer, the larger it is (20 of 10 000, 4 of 200 000)."""
    return round(20 * (10_000 / events) ** 0.5)


def drawn(events: int, seed: int) -> PointEvents:
    """Events of both classes in equal parts."""
    return PairProcess().generate(np.arange(events) % 2 == 1, seed)


def settings_of(method: str, events: int) -> dict[str, Any]:
    """What decides the result of a training, but for its seed."""
    process = dataclasses.asdict(PairProcess())
    if method == "network":
        return {**NETWORK, **FIT, "epochs": epochs(events), "process": process}
    return {**TREES, "process": process}


def network_scores(
    parts: list[PointEvents], test: PointEvents, seed: int, folder: Path
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Logits of the network of a seed; a fit that was interrupted goes on where it was.

    Parameters
    ----------
    parts
        Training and validation events.
    test
        Events that are scored.
    seed
        Of the initial weights and of the order of events.
    folder
        Of the checkpoints.
    """
    torch.manual_seed(seed)
    width = NETWORK["width"]
    blocks = {name: value for name, value in NETWORK.items() if name != "width"}
    model = AnalysisObjectTransformer(
        {"objects": len(OBJECT_FEATURES)}, 1, width, width, width, pair_bias=True, **blocks
    )
    samples = [
        make_sample(points.to_events(), np.arange(len(points)), [0, 1], role=role)
        for points, role in zip(parts, ("training", "validation"), strict=True)
    ]
    fitted = fit_network(
        model,
        *samples,
        FitSettings(epochs=epochs(len(parts[0])), seed=seed, checkpoint_minutes=1, **FIT),
        checkpoint_dir=folder / "checkpoints",
        log_dir=folder / "logs",
        resume=True,
    )
    scores = [score_events(model, part.to_events())[:, 0] for part in test.chunks()]
    loss = fitted.history[fitted.best_epoch]["val_loss"]
    parameters = sum(weights.numel() for weights in model.parameters())
    return np.concatenate(scores).astype(np.float64), {
        "validation_loss": float(loss), "epoch": fitted.best_epoch, "parameters": parameters
    }  # fmt: skip


def tree_scores(
    parts: list[PointEvents], test: PointEvents, seed: int
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Log-odds of boosted trees, their number chosen on the validation events."""
    training, validation = parts
    trees = xgboost.XGBClassifier(**TREES, random_state=seed, n_jobs=torch.get_num_threads())
    checks = [(engineered(validation), validation.is_signal)]
    trees.fit(engineered(training), training.is_signal, eval_set=checks, verbose=False)
    margins = [trees.predict(engineered(part), output_margin=True) for part in test.chunks()]
    return np.concatenate(margins).astype(np.float64), {
        "validation_loss": float(trees.best_score), "rounds": int(trees.best_iteration) + 1
    }  # fmt: skip


def scored(
    out: Path, method: str, events: int, seed: int, test: PointEvents
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Scores of the test events, from OUT if they are there; and what is known of the training."""
    folder = out / f"{method}-{events}-{seed}"
    file = folder / "scores.npz"
    settings = {**settings_of(method, events), "test_events": len(test)}
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        start, used = time.perf_counter(), time.process_time()
        parts = [drawn(events, 2 * seed), drawn(events // 5, 2 * seed + 1)]
        if method == "network":
            scores, known = network_scores(parts, test, seed, folder)
        else:
            scores, known = tree_scores(parts, test, seed)
        known |= {
            "seed": seed,
            "seconds": time.perf_counter() - start,
            "processor_seconds": time.process_time() - used,
        }
        with replacing(file) as partial:
            np.savez(
                partial, scores=scores.astype(np.float32), settings=json.dumps(settings),
                known=json.dumps(known),
            )  # fmt: skip
        print(f"{folder.name}: {known}", flush=True)
    with np.load(file) as found:
        if json.loads(str(found["settings"])) != settings:
            message = f"{folder}: of other settings; remove it, or give another --out"
            raise SystemExit(message)
        return found["scores"], json.loads(str(found["known"]))


def provenance() -> dict[str, Any]:
    """Commit, date, versions and machine."""
    of_commit = ["git", "describe", "--always", "--dirty", "--abbrev=9"]
    here = Path(__file__).parent
    commit = subprocess.run(of_commit, cwd=here, capture_output=True, text=True, check=True)
    machine = platform.machine().replace("_", "-")
    return {
        "commit": commit.stdout.strip(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning", "numpy")},
            "xgboost": xgboost.__version__,  # one of several distributions
        },
        "machine": f"{os.cpu_count()} cores of an {machine} machine",
    }


def main() -> None:
    """Train what is missing, write the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/optimum"))
    parser.add_argument("--results", type=Path, help="a JSON file; none is written without")
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--test-events", type=int, default=1_000_000)
    parser.add_argument("--replicas", type=int, default=50, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    test = drawn(options.test_events, TEST_SEED)
    fits = {
        (method, events): [
            scored(options.out, method, events, seed, test) for seed in options.seeds
        ]
        for events in options.events
        for method in options.methods
    }
    process = PairProcess()
    results = summary(
        {key: [scores for scores, _ in seeds] for key, seeds in fits.items()},
        process.log_likelihood_ratio(test),
        process.log_likelihood_ratio(test, masses_of_pairs=False),
        test.is_signal,
        options.replicas,
    )
    results = {**provenance(), **results}
    for line in results["methods"]:
        key = line["method"], line["training_events"]
        line["trainings"] = [known for _, known in fits[key]]
        line["settings"] = settings_of(*key)
    if options.results is not None:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.results) as partial:
            partial.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
