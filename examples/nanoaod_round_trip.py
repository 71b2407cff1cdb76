"""From a simulated training to scores in real NanoAOD files, and every way back to the same numbers.

    python examples/nanoaod_round_trip.py FILE [FILE ...] --out FOLDER

FILEs are NanoAOD (v9 to v13) of simulated tt̄, or of anything that is to be read as if it were. In
FOLDER the program simulates a small sample, trains on it, writes the scores of the FILEs by
`aot predict` (friend trees and copies), and reads them again with uproot and with coffea; it scores
the same events inside a coffea processor, with the exported ONNX file in Python, and in C++ where
ONNX Runtime's headers are found below $ONNXRUNTIME. All have to agree, event by event.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from pathlib import Path

import awkward as ak
import numpy as np
import onnxruntime
import uproot
import yaml
from coffea import processor
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

from particle_transformer import ArrayScorer

# coffea tells which cross-references a version of NanoAOD lacks; none is needed here.
warnings.filterwarnings("ignore", category=RuntimeWarning, module="coffea")

PROCESS, ERA = "TTbar", "2018"
SIMULATED = ("ttH_HToInv", "TTbar", "ZToNuNu")
BRANCHES = {"btag": "btagDeepFlavB"}
"""What central NanoAOD calls the b-tag score that the simulated sample has as Jet_btag."""

PARITY = 1e-5
"""Of scores by other programs, which round sums of float32 in another order."""


def aot(*words: str | Path) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "particle_transformer.cli", *map(str, words)], check=True)


def simulate_and_train(folder: Path, events: int, files: list[Path]) -> Path:
    """A run whose analysis file names the simulated sample, and the files under an era of theirs."""
    sample, run = folder / "sample", folder / "run"
    chosen = [word for name in SIMULATED for word in ("--process", name)]
    aot("simulate", "--sample", "jets-met", "--events", str(events), "--out", sample, *chosen)
    analysis = yaml.safe_load((sample / "analysis.yaml").read_text())
    luminosity = analysis.pop("luminosity")
    analysis["eras"] = {
        "simulated": {"luminosity": luminosity},
        ERA: {"luminosity": luminosity, "aliases": BRANCHES},
    }
    for settings in analysis["processes"].values():
        settings["files"] = {"simulated": settings["files"]}
    # Real files of a hundred events have few with much MET: score all with two jets.
    analysis["regions"] = {
        "signal": {"select": "met.pt > 0 and count(jets) >= 2", "role": "signal"}
    }
    analysis["training"] |= {"folds": 3, "epochs": 3}
    analysis["model"] |= {"embed_dims": 32}
    analysis.pop("compare", None)
    analysis["evaluation"].pop("limit", None)
    path = sample / "real.yaml"
    path.write_text(yaml.safe_dump(analysis, sort_keys=False, allow_unicode=True))
    aot("train", path, "--out", run)
    for form in ("friend", "copy"):
        aot(
            "predict", run, *files, "--process", PROCESS, "--era", ERA, "--unseen",
            "--format", form, "--out", folder / form,
        )  # fmt: skip
    aot(
        "export",
        run,
        "--to",
        "onnx",
        "--era",
        ERA,
        "--like",
        files[0],
        "--out",
        folder / "scorer.onnx",
    )
    return run


class Scores(processor.ProcessorABC):
    """Scores of the events of each chunk."""

    def __init__(self, run: Path) -> None:
        self.scorer = ArrayScorer(run)

    def process(self, events: ak.Array) -> dict[str, processor.column_accumulator]:
        """Event numbers and scores."""
        scores = self.scorer(events, process=PROCESS, era=ERA)
        return {
            "event": processor.column_accumulator(ak.to_numpy(events.event)),
            "score": processor.column_accumulator(ak.to_numpy(scores.score)),
        }

    def postprocess(self, accumulator: dict[str, object]) -> dict[str, object]:
        """Nothing is left to do."""
        return accumulator


def in_coffea(run: Path, path: Path) -> np.ndarray:
    """Scores computed inside coffea, in the order of the file."""
    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=NanoAODSchema)
    found = runner({PROCESS: [str(path)]}, treename="Events", processor_instance=Scores(run))
    by_event = dict(zip(found["event"].value, found["score"].value, strict=True))
    with uproot.open(path) as file:
        return np.array(
            [by_event[number] for number in file["Events"]["event"].array(library="np")]
        )


def copied(path: Path) -> np.ndarray:
    """Scores that a copy of the file carries, as coffea reads them."""
    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=NanoAODSchema).events()
    assert len(events.Jet) == len(events)  # the collections are there as before
    return ak.to_numpy(events.score)


def raw_columns(session: onnxruntime.InferenceSession, path: Path) -> dict[str, np.ndarray]:
    """What the ONNX file takes: the file's branches, padded, and where they are padded."""
    names = [each.name for each in session.get_inputs()]
    with uproot.open(path) as file:
        events = file["Events"].arrays([name for name in names if not name.endswith("_mask")])
    inputs = {}
    for name in ak.fields(events):
        if events[name].ndim == 1:
            column = ak.to_numpy(events[name])
            inputs[name] = column.astype(np.int64) if column.dtype.kind in "iu" else column
        else:
            padded = ak.to_numpy(
                ak.pad_none(events[name], int(ak.max(ak.num(events[name]))), clip=True)
            )
            inputs[name] = np.ma.filled(padded, 0)
            inputs[name.split("_")[0] + "_mask"] = np.ma.getmaskarray(padded)
    return {name: inputs[name] for name in names}


def in_cpp(folder: Path, inputs: dict[str, np.ndarray]) -> np.ndarray | None:
    """Scores by the C++ example; None where there are no headers to build it with."""
    root = Path(os.environ.get("ONNXRUNTIME", "/usr/local"))
    if not (root / "include" / "onnxruntime_cxx_api.h").exists():
        return None
    source = Path(__file__).parent / "cpp"
    subprocess.run(["make", "-s", "-C", source, f"ONNXRUNTIME={root}"], check=True)
    blocks = []
    for name, values in inputs.items():
        slots = values.shape[1] if values.ndim == 2 else 1
        kind = "d" if values.dtype.kind in "bi" else ".9g"
        numbers = " ".join(format(value, kind) for value in values.reshape(-1).tolist())
        blocks.append(f"{name} {len(values)} {slots}\n{numbers}\n")
    (folder / "events.txt").write_text("".join(blocks))
    done = subprocess.run(
        [source / "score", folder / "scorer.onnx", folder / "events.txt"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return np.array([float(line) for line in done.stdout.split()])


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--events", type=int, default=300, help="simulated events of a process")
    given = parser.parse_args()
    run = simulate_and_train(given.out, given.events, given.files)
    session = onnxruntime.InferenceSession(given.out / "scorer.onnx")
    for path in given.files:
        with uproot.open(given.out / "friend" / path.name) as file:
            written = file["scores"]["score"].array(library="np")
        selected = written >= 0
        inputs = raw_columns(session, path)
        ways = {
            "the copy, read by coffea": (copied(given.out / "copy" / path.name), 0.0),
            "a coffea processor": (in_coffea(run, path), PARITY),
        }
        # The graph has no event selection: compare the events that are selected.
        graphs = {"ONNX Runtime": session.run(["score"], inputs)[0]}
        if (native := in_cpp(given.out, inputs)) is not None:
            graphs["ONNX Runtime in C++"] = native
        for name, scores in graphs.items():
            ways[name] = (np.where(selected, scores, -1.0), PARITY)
        print(f"{path}: {len(written)} events, {selected.sum()} with a score")
        for name, (scores, allowed) in ways.items():
            difference = float(np.abs(scores - written).max())
            print(f"  {name}: differs from aot predict by {difference:.1g} at most")
            if not difference <= allowed:
                message = f"{path}: {name} gives other scores than aot predict"
                raise SystemExit(message)


if __name__ == "__main__":
    main()
