"""Make the network that comes with the package: simulate, train, write the artefact.

All processes of the sample ``jets-met`` are told apart, in all events that the simulation keeps
(MET > 180 GeV) and that have a jet. Signals and frequent backgrounds get ``--events`` events,
supersymmetric and multijet processes a third. The seed is no other benchmark's, so that no event of
theirs is among these. What has been simulated and trained in DIR is taken up again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from particle_transformer.artefact import load_artefact, save_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import dump_analysis, load_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.evaluation.roc import auc_unweighted
from particle_transformer.events import split_roles
from particle_transformer.inference.score import score_events
from particle_transformer.simulation import simulate
from particle_transformer.simulation.samples import find_sample
from particle_transformer.training.initial import shipped
from particle_transformer.training.network import train_network
from particle_transformer.training.progress import NetworkProgress
from particle_transformer.training.ranks import ALONE
from particle_transformer.training.task import NetworkTask

SEED = 3001
CLASSES = {  # the first one is called signal, as an analysis needs one; it is no more than a class
    "ttH_HToInv": "signal", "VBF_HToInv": "vbf", "TTbar": "top", "SingleTop": "top", "ZToNuNu": "z",
    "WToLNu": "w", "Dibosons": "dibosons", "Gluino": "gluinos", "Squark": "squarks", "Stop": "stops",
    "QCD": "qcd",
}  # fmt: skip
FREQUENT = ("ttH_HToInv", "VBF_HToInv", "TTbar", "SingleTop", "ZToNuNu", "WToLNu", "Dibosons")
LEFT_OUT = ("QCD_PT170to300",)  # of which one event in a hundred is kept
REGION = "met.pt > 180 and count(jets) >= 1"
TRAINING = {"folds": 20, "epochs": 30, "ema": 0.99, "balance": "process", "loggers": "csv"}
MODEL = {"embed_dims": 64, "pair_bias": True, "dropout": 0.1}


def simulate_all(out: Path, events: int, workers: int) -> list[Path]:
    """The analysis files of both parts of the sample."""
    rare = [
        name
        for name in find_sample("jets-met").processes
        if name not in FREQUENT and name not in LEFT_OUT
    ]
    parts = {"frequent": (FREQUENT, events), "rare": (rare, max(1, events // 3))}
    files = []
    for part, (processes, number) in parts.items():
        folder = out / part
        if not (folder / "analysis.yaml").exists():
            simulate(
                folder, events=number, sample="jets-met", seed=SEED, workers=workers,
                processes=processes,
                progress=lambda *now: print(*now, flush=True),
            )  # fmt: skip
        files += sorted(folder.glob("analysis*.yaml"))
    return files


def write_analysis(out: Path, files: list[Path]) -> Path:
    """One analysis of all processes, in events of all kinds."""
    parts = [(file, yaml.safe_load(file.read_text())) for file in files]
    processes: dict[str, dict[str, Any]] = {}
    for file, part in parts:
        for name, process in (part["processes"] or {}).items():  # a headline without its processes
            kind = next(known for known in CLASSES if name.startswith(known))
            processes[name] = {
                "class": CLASSES[kind],
                "cross_section": process["cross_section"],
                "files": [str((file.parent / path).resolve()) for path in process["files"]],
            }
    first = parts[0][1]
    content = {
        **{key: first[key] for key in ("source", "luminosity", "objects", "event", "weights")},
        "name": "jets-met-pretrained",
        "processes": dict(sorted(processes.items(), key=lambda item: item[0] != "ttH_HToInv")),
        "regions": {"all": {"select": REGION, "role": "signal"}},
        "training": TRAINING,
        "model": MODEL,
    }
    path = out / "analysis.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def separation(logits: np.ndarray, target: np.ndarray, classes: list[str]) -> list[str]:
    """Rows of a Markdown table: AUC of each class against all others, as many events of each."""
    rng = np.random.default_rng(1)
    rows = []
    for number, name in enumerate(classes):
        others = np.delete(logits, number, axis=1)
        # The log-odds of the class against the others, equally probable a priori.
        score = logits[:, number] - np.logaddexp.reduce(others, axis=1)
        figures = []
        for replica in range(101):
            chosen = (
                np.arange(len(score)) if not replica else rng.integers(0, len(score), len(score))
            )
            figures.append(auc_unweighted(score[chosen], target[chosen] == number).value)
        events = int(np.sum(target == number))
        rows.append(f"| {name} | {events} | {figures[0]:.3f} ± {np.std(figures[1:]):.3f} |")
    return rows


def main() -> None:
    """Simulate, train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of sample and training")
    parser.add_argument("--events", type=int, default=3000, help="of each frequent process")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    parser.add_argument("--artefact", type=Path, default=shipped(), help="where the network goes")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    analysis = load_analysis(
        write_analysis(out, simulate_all(out, options.events, options.workers))
    )
    store = Store(prepare(analysis, out / "store"))
    manifest, task, run = store.manifest, NetworkTask(0), RunFolder(out / "run")
    run.path.mkdir(exist_ok=True)
    run.analysis.write_text(dump_analysis(analysis))
    bar = NetworkProgress(
        lambda label, done, total: print(f"{label}: {done}/{total}", flush=True)
        if done == total or not done % 100
        else None,
        analysis.training, task, 0, 1,
    )  # fmt: skip
    record = train_network(analysis, StoreRows(store), manifest, task, run, ALONE, bar, ())

    model, metadata = load_artefact(run.network(task.fold, task.number))
    events = store.events()
    test = events.take(split_roles(events.identity, task.fold, analysis.training.folds)[2])
    class_of = [analysis.classes.index(name) for name in manifest.classes]
    target = np.array(class_of)[test.process]
    rows = separation(score_events(model, test).astype(np.float64), target, list(analysis.classes))
    card = card_of(record, metadata, rows)
    print(card)
    shutil.rmtree(options.artefact, ignore_errors=True)
    save_artefact(options.artefact, model, metadata, model_card=card)


def card_of(record: dict[str, Any], metadata: dict[str, Any], rows: list[str]) -> str:
    """The model card."""
    best = min(record["history"], key=lambda epoch: epoch["val_loss"])
    trained = "\n".join(
        f"| {name} | {CLASSES[next(known for known in CLASSES if name.startswith(known))]} | "
        f"{events['events']} | {events['effective']:.0f} |"
        for name, events in record["training_events"].items()
    )
    columns = "\n".join(
        f"- of each of the {name}: {', '.join(f'`{text}`' for text in texts)}"
        for name, texts in (*metadata["objects"].items(), ("event", metadata["event"]))
    ).replace("each of the event", "the event")
    return CARD.format(
        seed=SEED,
        classes=len(metadata["classes"]),
        trained=trained,
        columns=columns,
        epoch=best["epoch"],
        loss=best["val_loss"],
        separation="\n".join(rows),
        training=", ".join(f"{key} {value}" for key, value in TRAINING.items()),
    )


CARD = """\
# A starting point for analyses with jets and missing momentum

An AnalysisObjectTransformer of width 64 with pair bias, three attention and three class-attention
blocks, that tells {classes} kinds of LHC events at 13.6 TeV apart. It is meant to be fine-tuned on an
analysis's own events (`aot train FILE --out RUN --init pretrained`), not to be used as it is:
its classes and their proportions are nobody's search.

## Training

Events of `aot simulate --sample jets-met` with seed {seed} (Pythia 8 at leading order and a fast
detector simulation) with missing transverse momentum above 180 GeV and a jet with pt > 30 GeV and
|η| < 4.7; electrons and muons are not looked at. `benchmarks/pretrain.py` makes it:
{training}; the network of one fold.
What the unequal weights of a process are worth is its effective number of events.

| process | class | training events | effective |
|---|---|---:|---:|
{trained}

Validation loss {loss:.3f} (epoch {epoch}). AUC of each class against all others, on events that were
neither trained nor validated on, each counting one; errors by bootstrap:

| class | test events | AUC |
|---|---:|---:|
{separation}

## Input

Features in the order of their columns, before any scaling: the network scales them itself. Momenta
and masses are in GeV, angles in radians; the pair bias takes the jets' four-momenta.

{columns}

## Limits

It knows one generator at leading order and one parametrised detector. What an analysis gains by it
is measured in `benchmarks/RESULTS.md`: compare with a training from scratch. An analysis of the very
files that it was trained with is refused.

## Citation

Pythia 8.3: arXiv:2203.11601. Class attention and LayerScale: arXiv:2103.17239; pair bias:
arXiv:2202.03772.

## Licence

Apache-2.0
"""


if __name__ == "__main__":
    main()
