"""Speed of `aot predict` on ROOT files against a loop by hand, and its memory by number of events.

The loop is what one writes without this package: uproot's `iterate`, selection and features in
awkward, jets padded to the longest event of a batch, an ONNX file of the same network (exported from
its padded form) in ONNX Runtime, scores into a tree. It scores with one network, has no folds,
variations or checks, and keeps nothing to go on from; `aot predict` runs with `--no-ensemble`, each
event by the network of its fold. Both write a score for every event; the scores of the fold whose
network the loop has are compared. Each runs `--repeats` times in turn, the fastest counts.

The memory is that of `aot predict` in a process of its own, as in `memory.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import onnxruntime as ort
import torch
import uproot
from memory import peak_of
from sample import MAX_JETS, one_core, write_sample

from particle_transformer.artefact import load_artefact, save_artefact
from particle_transformer.artefact.run_folder import RUN_VERSION, RunFolder
from particle_transformer.config import dump_analysis, load_analysis
from particle_transformer.inference.predict import ScoreOptions, predict
from particle_transformer.model import AnalysisObjectTransformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from particle_transformer.config import Analysis

FOLDS = 5
BATCH = 1024
BRANCHES = [
    *(f"Jet_{name}" for name in ("pt", "eta", "phi", "mass", "area", "btag")),
    "MET_pt",
    "MET_phi",
]


def write_run(analysis: Analysis, path: Path) -> RunFolder:
    """A run with networks as they are drawn: what they have learnt changes no speed."""
    run = RunFolder(path)
    path.mkdir()
    run.analysis.write_text(dump_analysis(analysis))
    objects = {name: list(settings.features) for name, settings in analysis.objects.items()}
    metadata = {
        "two_scores": False, "conditioning": None, "regression": [], "objects": objects,
        "event": list(analysis.event.features),
    }  # fmt: skip
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        model = AnalysisObjectTransformer(
            {name: len(features) for name, features in objects.items()},
            len(analysis.event.features),
            **analysis.model.model_dump(),
        )
        save_artefact(run.network(fold), model, metadata, model_card="")
    record = {"format_version": RUN_VERSION, "store": "none", "folds": FOLDS, "ensemble": 1}
    run.record.write_text(json.dumps(record))
    return run


class Dense(torch.nn.Module):
    """The padded form with plain arguments, as the exporter wants it."""

    def __init__(self, model: AnalysisObjectTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, jets: torch.Tensor, event: torch.Tensor, mask: torch.Tensor, momenta: torch.Tensor
    ) -> torch.Tensor:
        """Probability of signal, (events, 1)."""
        vectors = {"jets": momenta} if self.model.arguments["pair_bias"] else None
        return torch.sigmoid(
            self.model.forward_dense({"jets": jets}, event, {"jets": mask}, momenta=vectors)
        )


def export(run: RunFolder, path: Path) -> None:
    """The network of fold 0 as an ONNX file."""
    model, _ = load_artefact(run.network(0))
    width = model.arguments["input_dim_obj"]["jets"]
    shapes = (4, 3, width), (4, model.arguments["input_dim_event"]), (4, 3), (4, 3, 4)
    inputs = [torch.rand(shape) for shape in shapes]
    inputs[2] = torch.zeros(shapes[2], dtype=torch.bool)
    batch, jets = torch.export.Dim("batch"), torch.export.Dim("n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Dense(model).eval(), tuple(inputs), str(path), dynamo=True, external_data=False, verbose=False,
            input_names=["jets", "event", "mask", "momenta"],
            dynamic_shapes=({0: batch, 1: jets}, {0: batch}, {0: batch, 1: jets}, {0: batch, 1: jets}),
        )  # fmt: skip


def padded(array: ak.Array, length: int) -> NDArray[np.float32]:
    """Lists as (events, length), zero where there is no jet."""
    filled = ak.fill_none(ak.pad_none(array, length, clip=True), 0)
    return ak.to_numpy(filled).astype(np.float32)


def by_hand(network: Path, source: Path, target: Path) -> None:
    """The loop."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    names = {argument.name for argument in session.get_inputs()}
    with uproot.recreate(target) as file:
        file.mktree("scores", {"score": np.float64})
        for arrays in uproot.iterate(f"{source}:Events", BRANCHES, step_size=100_000):
            score = np.full(len(arrays), -1.0)
            rows = np.flatnonzero(ak.to_numpy(arrays.MET_pt) > 30)
            fields = [name.removeprefix("Jet_") for name in BRANCHES[:6]]
            jets = ak.zip({name: arrays[f"Jet_{name}"] for name in fields})
            jets = jets[(jets.pt > 30) & (abs(jets.eta) < 4.7)]
            jets = jets[ak.argsort(jets.pt, ascending=False)]
            ht, count = (ak.to_numpy(each) for each in (ak.sum(jets.pt, axis=1), ak.num(jets)))
            met = ak.to_numpy(arrays.MET_pt)
            event = np.stack([np.log(met), np.log(np.maximum(ht, 1)), count], axis=1).astype(
                np.float32
            )
            turn = jets.phi - arrays.MET_phi
            features = [
                np.log(jets.pt), jets.eta, (turn + np.pi) % (2 * np.pi) - np.pi,
                np.log(np.maximum(jets.mass, 0.1)), jets.area, jets.btag,
            ]  # fmt: skip
            px, py = jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi)
            pz = jets.pt * np.sinh(jets.eta)
            vectors = [px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + jets.mass**2)]
            for start in range(0, len(rows), BATCH):
                chosen = rows[start : start + BATCH]
                length = max(1, min(MAX_JETS, int(count[chosen].max())))
                feeds: dict[str, Any] = {
                    "jets": np.stack([padded(each[chosen], length) for each in features], axis=2),
                    "event": event[chosen],
                    "mask": np.arange(length) >= count[chosen][:, None],
                }
                if "momenta" in names:
                    feeds["momenta"] = np.stack(
                        [padded(each[chosen], length) for each in vectors], axis=2
                    )
                score[chosen] = session.run(None, feeds)[0][:, 0]
            file["scores"].extend({"score": score})


def timed(work: Callable[[], object]) -> float:
    """Seconds of the work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speed(folder: Path, events: int, repeats: int) -> None:
    """Measure both, and print."""
    sample = write_sample(folder, compression="zlib", events=2 * events)
    source = sample.files["background"]
    run = write_run(load_analysis(sample.analysis), folder / "run")
    export(run, folder / "network.onnx")
    options = ScoreOptions(ensemble=False)
    seconds: dict[str, list[float]] = {"aot predict": [], "by hand": []}
    for attempt in range(repeats):
        out = folder / f"scores-{attempt}"
        work = partial(predict, run.path, [str(source)], out, options=options)
        seconds["aot predict"].append(timed(work))
        loop = partial(by_hand, folder / "network.onnx", source, folder / "by-hand.root")
        seconds["by hand"].append(timed(loop))
    with uproot.open(out / source.name) as ours, uproot.open(folder / "by-hand.root") as theirs:
        own = ours["scores"]["fold"].array(library="np") == 0
        found = ours["scores"]["score"].array(library="np")[own]
        difference = np.abs(found - theirs["scores"]["score"].array(library="np")[own]).max()
    best = {name: min(values) for name, values in seconds.items()}
    for name, value in best.items():
        print(f"  {name:12s} {events / value:10,.0f} events/s ({value:.2f} s)", flush=True)
    print(
        f"  aot predict is {best['by hand'] / best['aot predict']:.2f} times as fast (goal: 3); the "
        f"scores of {own.sum()} events of fold 0 differ by {difference:.1e} at the most"
    )


def score(run: Path, source: Path, out: Path) -> None:
    """What memory is measured of."""
    predict(run, [str(source)], out, options=ScoreOptions(ensemble=False))


def memory(folder: Path, events: int) -> None:
    """Measure and print."""
    folder.mkdir()
    sample = write_sample(folder, compression="zlib", events=2 * events)
    run = write_run(load_analysis(sample.analysis), folder / "run")
    work = partial(score, run.path, sample.files["background"], folder / "out")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        peak = process.submit(peak_of, work).result()
    print(
        f"  {events:10,d} events: {peak.resident / 1e6:6,.0f} MB above the imports, "
        f"{peak.anonymous / 1e6:,.0f} MB of it anonymous; {peak.seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000, help="events whose speed is taken")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--memory", type=int, nargs="*", default=[10_000, 100_000, 1_000_000],
        help="numbers of events whose memory is taken",
    )  # fmt: skip
    parser.add_argument("--cores", action="store_true", help="all cores; one by default")
    parser.add_argument("--folder", type=Path, help="where the files go for the time being")
    options = parser.parse_args()
    if not options.cores:
        one_core()
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.events:
            print(f"{options.events:,} events, {torch.get_num_threads()} threads")
            speed(Path(name), options.events, options.repeats)
        for number in options.memory:
            memory(Path(name) / str(number), number)


if __name__ == "__main__":
    main()
