"""Scores inside a coffea processor: a histogram of the score for each process.

    python examples/coffea_processor.py RUN PROCESS=FILE [PROCESS=FILE ...]

RUN is what `aot train` left (or `aot export --to hub`), PROCESS a process of its analysis file and
FILE one of its NanoAOD files. coffea comes with pip install 'analysis-object-transformer[coffea]'.
"""

import sys

import hist
import numpy as np
from coffea import processor
from coffea.nanoevents import NanoAODSchema

from particle_transformer import ArrayScorer


class ScoreHistogram(processor.ProcessorABC):
    """Fills the score of the selected events, weighted by the generator weight."""

    def __init__(self, run: str) -> None:
        self.scorer = ArrayScorer(run)  # pickled as its path: workers load the networks once

    def process(self, events):
        """The histogram of a chunk."""
        # A row for each event; the process is the dataset that coffea notes in the metadata. Only
        # the branches that the analysis needs are read.
        scores = self.scorer(events)
        selected = scores.score >= 0  # the others are in no region of the analysis
        dataset = events.metadata["dataset"]
        filled = hist.Hist(
            hist.axis.StrCategory([], growth=True, name="dataset"),
            hist.axis.Regular(20, 0, 1, name="score", label="score"),
            storage=hist.storage.Weight(),
        )
        weight = events.genWeight[selected]
        filled.fill(dataset=dataset, score=scores.score[selected], weight=weight)
        return {"events": {dataset: len(events)}, "score": filled}

    def postprocess(self, accumulator):
        """Nothing is left to do when all chunks are added."""
        return accumulator


def main(run: str, files: list[str]) -> None:
    """Run the processor on the files, one chunk after the other."""
    fileset: dict[str, list[str]] = {}
    for each in files:
        process, _, path = each.partition("=")
        fileset.setdefault(process, []).append(path)
    NanoAODSchema.warn_missing_crossrefs = False
    # FuturesExecutor(workers=8) or DaskExecutor(client=...) in its place do the same on many cores.
    runner = processor.Runner(
        executor=processor.IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=100_000
    )
    found = runner(fileset, treename="Events", processor_instance=ScoreHistogram(run))
    for dataset, events in found["events"].items():
        row = found["score"][dataset, :]
        total, variance = np.sum(row.values()), np.sum(row.variances())
        print(f"{dataset}: {events} events, sum of weights {total:.6g} ± {variance**0.5:.2g}")
        mean = np.average(row.axes[0].centers, weights=row.values())
        print(f"{dataset}: mean score {mean:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
