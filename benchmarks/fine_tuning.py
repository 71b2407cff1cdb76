"""What a pre-trained start is worth: learning curves of fine-tuning and of training from scratch.

A share of the training and of the validation events of a fold, the same share of each process, trains
networks that begin from ``--init`` and networks that begin from random weights, with the learning
rate of the file and with a third of it; all test events of the fold are scored. Seed s uses fold s and
draws its own events, the same for all: differences are paired. From scratch the network has the file's
own settings; the other one has the widths of what it begins from. With fewer events batches are smaller
and epochs more, alike for both. What is in DIR is not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from particle_transformer.config import Analysis, parse_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.evaluation import auc, roc_curve
from particle_transformer.events import split_roles
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.training import (
    NetworkTask,
    Sample,
    fit_network,
    fit_settings,
    fold_samples,
    make_sample,
    new_network,
)
from particle_transformer.training.initial import with_initial
from particle_transformer.training.network import reuse_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATES = {"": 1.0, ", a third of the rate": 1 / 3}
SCRATCH, TUNED = "from scratch", "fine-tuned"
METHODS = [start + rate for start in (SCRATCH, TUNED) for rate in RATES]
RECIPES = {  # by share of the events; of all events the file's own
    0.01: {"batch_size": 32, "epochs": 60, "patience": 15},
    0.1: {"batch_size": 64, "epochs": 20, "patience": 6},
}


@cache
def opened(out: Path, init: str | None) -> Analysis:
    """The analysis, beginning from a network or from scratch."""
    content = yaml.safe_load((out / "analysis.yaml").read_text())
    if init is not None:
        # The other settings of `model` are those of the network that it begins from.
        content["model"] = {"dropout": content.get("model", {}).get("dropout", 0.0)}
        content["training"]["init"] = init
    return with_initial(parse_analysis(content, base=out))


def part_of(sample: Sample, analysis: Analysis, share: float, seed: int, role: str) -> Sample:
    """A share of the events of each process, at least one."""
    if share == 1:
        return sample
    rows: NDArray[np.int64] = sample.rows.select(np.arange(len(sample)))
    process = np.concatenate([events.process for events in sample.chunks()])
    rng = np.random.default_rng([seed, role == "validation"])
    chosen = [
        rng.choice(rows[process == number], max(1, round(share * np.sum(process == number))), False)
        for number in np.unique(process)
    ]
    return make_sample(
        sample.source,
        np.sort(np.concatenate(chosen)),
        sample.target,
        balance=analysis.training.balance,
        negative_weights=analysis.training.negative_weights,
        role=role,
    )


def train_one(
    out: Path, store: Path, init: str, method: str, share: float, seed: int
) -> dict[str, Any]:
    """Train a network and score the test events of its fold."""
    torch.set_num_threads(1)
    start, comma, rate = method.partition(",")
    analysis = opened(out, init if start == TUNED else None)
    training = analysis.training
    recipe = RECIPES.get(share, {})
    changed = training.model_copy(
        update={
            **recipe,
            "learning_rate": training.learning_rate * RATES[comma + rate],
            "seed": seed,
        }
    )
    analysis = analysis.model_copy(update={"training": changed})
    prepared = Store(store)
    source, manifest = StoreRows(prepared), prepared.manifest
    task = NetworkTask(seed % training.folds, seed // training.folds)
    samples = fold_samples(analysis, source, manifest.classes, task.fold)[:2]
    own, validation = (
        part_of(sample, analysis, share, seed, role)
        for sample, role in zip(samples, ("training", "validation"), strict=True)
    )
    settings = fit_settings(analysis, task, own)
    model = new_network(analysis, manifest, task)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit = fit_network(
            model, own, validation, settings,
            checkpoint_dir=Path(folder), log_dir=Path(folder), loggers=(),
        )  # fmt: skip
    seconds = time.perf_counter() - started
    events = prepared.events()
    passing = np.logical_or.reduce([events.regions[name] for name in analysis.signal_regions])
    events = events.take(np.flatnonzero(passing))
    test = events.take(split_roles(events.identity, task.fold, training.folds)[2])
    score = signal_probability(score_events(model, test))
    is_signal = np.array([name == "signal" for name in manifest.classes])[test.process]
    curve = roc_curve(score, test.weight, is_signal)
    assert curve is not None, "both classes have a positive total weight"
    return {
        "method": method,
        "share": share,
        "seed": seed,
        "auc": auc(score, test.weight, is_signal).value,
        "rejection": float(1 / curve.background_at(np.array([0.5]))[0]),
        "val_loss": min(record["val_loss"] for record in fit.history),
        "epochs": len(fit.history),
        "best_epoch": fit.best_epoch,
        "training_events": len(own),
        "validation_events": len(validation),
        "test_events": len(test),
        "seconds": seconds,
    }


def shown(values: list[float], digits: int, *, sign: bool = False) -> str:
    """Mean ± standard error."""
    mean = f"{statistics.mean(values):{'+' if sign else ''}.{digits}f}"
    if len(values) < 2:
        return f"{mean} (one seed)"
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"


def print_table(results: list[dict[str, Any]]) -> None:
    """Figures by share and method, and paired differences from the better training from scratch.

    Of the two learning rates of each, the one of the lower mean validation loss counts; both are
    shown.
    """
    print(
        "| share | training events | training | AUC | difference | rejection at 50 % | ratio | "
        "validation loss | s |\n|---|---:|---|---|---|---|---|---|---:|"
    )
    for share in sorted({result["share"] for result in results}):
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for result in results:
            if result["share"] == share:
                found.setdefault(result["method"], {})[result["seed"]] = result
        scratch = [name for name in found if name.startswith(SCRATCH)]
        base = min(
            scratch, key=lambda name: statistics.mean(r["val_loss"] for r in found[name].values())
        )
        for name in (name for name in METHODS if name in found):
            of = found[name]
            both = sorted(of.keys() & found[base].keys())
            pairs = [(of[seed], found[base][seed]) for seed in both]
            difference = ratio = "–"
            if name != base:
                difference = shown([a["auc"] - b["auc"] for a, b in pairs], 4, sign=True)
                ratio = shown([a["rejection"] / b["rejection"] for a, b in pairs], 2)
            events = statistics.mean(result["training_events"] for result in of.values())
            seconds = statistics.mean(result["seconds"] for result in of.values())
            print(
                f"| {100 * share:g} % | {events:.0f} | {name}{' (reference)' if name == base else ''} | "
                f"{shown([r['auc'] for r in of.values()], 4)} | {difference} | "
                f"{shown([r['rejection'] for r in of.values()], 1)} | {ratio} | "
                f"{shown([r['val_loss'] for r in of.values()], 4)} | {seconds:.0f} |"
            )


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("analysis", type=Path, help="the target")
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--store", type=Path, help="a prepared store of it, which is only read")
    parser.add_argument("--init", default="pretrained", help="what is fine-tuned")
    parser.add_argument("--share", type=float, action="append", help="of the events (repeated)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--method", action="append", choices=METHODS, help="some only (repeated)")
    parser.add_argument("--jobs", type=int, default=2, help="networks trained at a time")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(options.analysis.read_text())
    plain = parse_analysis(content, base=options.analysis.parent.resolve())
    for name, process in plain.processes.items():
        content["processes"][name]["files"] = {
            era: list(files) for era, files in process.files.items()
        }
        if "eras" not in content:
            (content["processes"][name]["files"],) = content["processes"][name]["files"].values()
    (out / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    store = options.store or prepare(opened(out, options.init), out / "store")
    print(json.dumps(reuse_of(opened(out, options.init), Store(store).manifest), indent=1))
    file = out / "results.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(result["method"], result["share"], result["seed"]) for result in results}
    tasks = [
        (method, share, seed)
        for share in options.share or (0.01, 0.1, 1.0)
        for seed in range(options.seeds)
        for method in options.method or METHODS
        if (method, share, seed) not in done
    ]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool, file.open("a") as lines:
        futures = {pool.submit(train_one, out, store, options.init, *task): task for task in tasks}
        for future in as_completed(futures):
            results.append(future.result())
            lines.write(json.dumps(results[-1]) + "\n")
            lines.flush()
            last = results[-1]
            print(
                f"{last['share']:g}, seed {last['seed']}, {last['method']}: AUC {last['auc']:.4f}, "
                f"{last['seconds']:.0f} s",
                flush=True,
            )
    print_table(results)


if __name__ == "__main__":
    main()
