"""What each option of the network and of its training is worth, on a simulated jets + MET sample.

Each variant changes one thing of the baseline, and is trained with five seeds; seed s is trained for
fold s, so that the seeds' test events are disjoint and no event is scored by a network that saw it.
Printed is the figure of the variant less that of the baseline, seed by seed: mean ± standard error
over the seeds. AUC and rejection take the physics weights.

    aot simulate --out build/ablation/sample --events 8000 --seed 7001
    python benchmarks/ablation.py network build/ablation/sample/analysis.yaml --out build/ablation
    python benchmarks/ablation.py training build/ablation/sample/analysis.yaml --out build/ablation

What was trained before is not trained again: the results are in OUT/network.jsonl and
OUT/training.jsonl.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from particle_transformer.config import Analysis, feature_symmetries, load_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.evaluation import auc, roc_curve
from particle_transformer.events import split_roles
from particle_transformer.inference.score import mean_logits, score_events, signal_probability
from particle_transformer.model import AnalysisObjectTransformer
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.fit import fit_network
from particle_transformer.training.roles import fold_samples
from particle_transformer.training.settings import FitSettings

SEEDS = range(5)
WIDTH = {"embed_dims": 64, "linear_dims1": 64, "linear_dims2": 64, "pair_bias": True}
TRAINING = {"epochs": 20, "batch_size": 256, "learning_rate": 1e-3, "patience": 6}
FLIPS = ("flip_eta", "flip_phi")
BASELINE = "baseline"
# Changes of the model's arguments, of `FitSettings`, of the features, and the number of networks whose
# mean is taken.
NETWORK: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "pair_bias: false": {"pair_bias": False},
    "layer_scale: 1": {"layer_scale": 1.0},
    "layer_scale: 0.01": {"layer_scale": 0.01},
    "layer_scale: 0.0001": {"layer_scale": 1e-4},
    "event_features: token": {"event_features": "token"},
    "event_features: both": {"event_features": "both"},
    "num_class_blocks: 1": {"num_class_blocks": 1},
    "num_class_blocks: 2": {"num_class_blocks": 2},
    "class_feedforward_factor: 4": {"class_feedforward_factor": 4},
    "feedforward: swiglu": {"feedforward": "swiglu"},
    "feature_embedding: periodic": {"feature_embedding": "periodic"},
    "feature_embedding: piecewise_linear": {"feature_embedding": "piecewise_linear"},
    "dropout: 0.1": {"dropout": 0.1},
    "augmentation: flips of η and φ": {"augmentation": FLIPS},
    "|η| and |Δφ| as features": {"features": "absolute"},
    "|η| and |Δφ| as features, pair_bias: false": {"features": "absolute", "pair_bias": False},
    "|η|, |Δφ|, event_features: both": {"features": "absolute", "event_features": "both"},
    "|η|, |Δφ|, feature_embedding: periodic": {
        "features": "absolute", "feature_embedding": "periodic"
    },
    "|η|, |Δφ|, both and periodic": {
        "features": "absolute", "event_features": "both", "feature_embedding": "periodic"
    },
    "|η|, |Δφ|, both, periodic, layer_scale: 0.01": {
        "features": "absolute", "event_features": "both", "feature_embedding": "periodic",
        "layer_scale": 0.01,
    },
    "flips of η and φ, both and periodic": {
        "augmentation": FLIPS, "event_features": "both", "feature_embedding": "periodic"
    },
}  # fmt: skip
TRAINING_OPTIONS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "learning_rate: 0.0005": {"learning_rate": 5e-4},
    "learning_rate: 0.002": {"learning_rate": 2e-3},
    "weight_decay: 0.1": {"weight_decay": 0.1},
    "batch_size: 128": {"batch_size": 128},
    "batch_size: 512": {"batch_size": 512},
    "epochs: 40, patience: 12": {"epochs": 40, "patience": 12},
    "ema: 0.99": {"ema": 0.99},
    "ema: 0.998": {"ema": 0.998},
    "dropout: 0.1": {"dropout": 0.1},
    "ensemble: 3": {"ensemble": 3},
}
SUITES = {
    "network": (NETWORK, {"event_features": "concatenated", "features": "signed"}),
    "training": (TRAINING_OPTIONS, {"features": "absolute"}),
}


def signed(text: str) -> str:
    """The analysis file with η and Δφ in the place of their absolute values."""
    return text.replace("abs(eta),", "eta,").replace(
        "abs(delta_phi(phi, met.phi))", '"delta_phi(phi, met.phi)"'
    )


def prepare_stores(file: Path, out: Path) -> dict[str, Path]:
    """A store for each kind of features."""
    stores = {}
    for kind in ("signed", "absolute"):
        text = file.read_text()
        content = yaml.safe_load(signed(text) if kind == "signed" else text)
        for process in content["processes"].values():
            process["files"] = [str((file.parent / name).resolve()) for name in process["files"]]
        analysis = out / f"{kind}.yaml"
        analysis.write_text(yaml.safe_dump(content, sort_keys=False))
        stores[kind] = prepare(load_analysis(analysis), out / f"store-{kind}")
    return stores


@cache
def opened(out: Path, kind: str) -> tuple[Analysis, Store]:
    """The analysis file and the store of a kind of features."""
    return load_analysis(out / f"{kind}.yaml"), Store(out / f"store-{kind}")


def train_one(out: Path, suite: str, name: str, seed: int) -> dict[str, Any]:
    """Train a variant with a seed and score the test events of its fold."""
    torch.set_num_threads(1)
    variants, baseline = SUITES[suite]
    options = {**WIDTH, **TRAINING, **baseline, **variants[name]}
    analysis, store = opened(out, options.pop("features"))
    symmetries = feature_symmetries(analysis)
    augmentation = options.pop("augmentation", ())
    options["augmentation"] = Augmentation(augmentation, symmetries.objects, symmetries.event)
    members = options.pop("ensemble", 1)
    of_fit = {field.name for field in fields(FitSettings)}
    fit_options = {name: value for name, value in options.items() if name in of_fit}
    model_options = {name: value for name, value in options.items() if name not in of_fit}
    source, manifest = StoreRows(store), store.manifest
    samples = fold_samples(analysis, source, manifest.classes, seed)
    events = store.events()
    events = events.take(np.flatnonzero(events.regions[analysis.signal_regions[0]]))
    test = events.take(split_roles(events.identity, seed, analysis.training.folds)[2])
    started = time.perf_counter()
    fits, logits = [], []
    for member in range(members):
        torch.manual_seed(seed + 1000 * member)
        model = AnalysisObjectTransformer(
            {collection: len(features) for collection, features in manifest.objects.items()},
            len(manifest.event),
            **model_options,
        )
        settings = FitSettings(**fit_options, seed=seed + 1000 * member)
        with tempfile.TemporaryDirectory() as folder:
            fits.append(
                fit_network(
                    model, *samples[:2], settings,
                    checkpoint_dir=Path(folder), log_dir=Path(folder),
                )
            )  # fmt: skip
        logits.append(score_events(model, test))
    score = signal_probability(mean_logits(logits))
    is_signal = np.array([label == "signal" for label in manifest.classes])[test.process]
    curve = roc_curve(score, test.weight, is_signal)
    assert curve is not None, "both classes have a positive total weight"
    return {
        "variant": name,
        "seed": seed,
        "auc": auc(score, test.weight, is_signal).value,
        "rejection": float(1 / curve.background_at(np.array([0.5]))[0]),
        "val_loss": statistics.mean(min(rec["val_loss"] for rec in fit.history) for fit in fits),
        "learning_rate": fits[0].learning_rate,
        "epochs": len(fits[0].history),
        "training_events": len(samples[0]),
        "test_events": len(test),
        "seconds": time.perf_counter() - started,
    }


def train_all(out: Path, suite: str, jobs: int) -> list[dict[str, Any]]:
    """Train what is missing in the results."""
    variants, _ = SUITES[suite]
    file = out / f"{suite}.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(result["variant"], result["seed"]) for result in results}
    missing = [(name, seed) for seed in SEEDS for name in variants if (name, seed) not in done]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, file.open("a") as lines:
        futures = {pool.submit(train_one, out, suite, *task): task for task in missing}
        for future in as_completed(futures):
            if (error := future.exception()) is not None:
                print(f"failed: {futures[future]}: {error}", flush=True)
                continue
            results.append(future.result())
            lines.write(json.dumps(results[-1]) + "\n")
            lines.flush()
            print(
                f"{len(results)}/{len(variants) * len(SEEDS)}  {results[-1]['variant']}, seed "
                f"{results[-1]['seed']}: AUC {results[-1]['auc']:.4f}, "
                f"{results[-1]['seconds']:.0f} s",
                flush=True,
            )
    return results


def change(of: dict[int, float], base: dict[int, float], *, ratio: bool = False) -> str:
    """Mean ± standard error over the seeds of difference or ratio."""
    values = [of[seed] / base[seed] if ratio else of[seed] - base[seed] for seed in SEEDS]
    error = statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.mean(values)
    return f"{mean:.3f} ± {error:.3f}" if ratio else f"{mean:+.4f} ± {error:.4f}"


def print_table(results: list[dict[str, Any]], variants: dict[str, dict[str, Any]]) -> None:
    """Print the figures of all variants as Markdown."""
    figures: dict[str, dict[str, dict[int, float]]] = {}
    for result in results:
        for figure in ("auc", "rejection", "val_loss"):
            of_variant = figures.setdefault(result["variant"], {})
            of_variant.setdefault(figure, {})[result["seed"]] = result[figure]
    base = figures[BASELINE]

    def plain(figure: str, digits: int) -> str:
        values = list(base[figure].values())
        error = statistics.stdev(values) / len(values) ** 0.5
        return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"

    print("| variant | AUC | rejection at 50 % | validation loss |\n|---|---|---|---|")
    print(f"| {BASELINE} | {plain('auc', 4)} | {plain('rejection', 1)} | {plain('val_loss', 4)} |")
    for name in list(variants)[1:]:
        of = figures[name]
        print(
            f"| {name} | {change(of['auc'], base['auc'])} | "
            f"{change(of['rejection'], base['rejection'], ratio=True)} × | "
            f"{change(of['val_loss'], base['val_loss'])} |"
        )


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", choices=SUITES, help="what is varied")
    parser.add_argument("analysis", type=Path, help="of a simulated sample")
    parser.add_argument("--out", type=Path, required=True, help="folder of stores and results")
    parser.add_argument("--jobs", type=int, default=2, help="networks trained at a time")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    prepare_stores(options.analysis, out)
    print_table(train_all(out, options.suite, options.jobs), SUITES[options.suite][0])


if __name__ == "__main__":
    main()
