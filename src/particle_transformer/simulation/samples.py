"""The samples: which processes, which detector, and which analyses are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from particle_transformer.errors import SampleError, nearest
from particle_transformer.simulation.catalogue import PROCESSES
from particle_transformer.simulation.detector import Detector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from particle_transformer.simulation.processes import Process

__all__ = ["SAMPLES", "AnalysisChoice", "Sample", "find_sample"]


@dataclass(frozen=True)
class AnalysisChoice:
    """One analysis file of a sample.

    Attributes
    ----------
    file
        Its name.
    name
        The analysis's name in it.
    title
        What is searched for, in words.
    processes
        Names of its processes.
    """

    file: str
    name: str
    title: str
    processes: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """A named set of processes seen by one detector.

    Attributes
    ----------
    name
        What ``aot simulate --sample`` is given.
    processes
        Names in `PROCESSES`.
    detector
        The detector.
    analyses
        The analysis files; the first is the headline.
    lepton_veto
        Whether events with isolated leptons are a control region; else leptons are objects of the
        network.
    shares
        By process which part of the events that are asked for is simulated, where it is not 1.
    """

    name: str
    processes: tuple[str, ...]
    detector: Detector
    analyses: tuple[AnalysisChoice, ...]
    lepton_veto: bool
    shares: Mapping[str, float] = field(default_factory=dict)

    def wanted(self, process: str, events: int) -> int:
        """How many of `events` events a process gets, at least 1."""
        return max(1, round(self.shares.get(process, 1.0) * events))

    def find(self, names: Sequence[str] | None) -> list[Process]:
        """Processes by name, in the order of the sample; all of them for None.

        Raises
        ------
        SampleError
            If the sample has no process of a name, or no name is given.
        """
        if names is None:
            names = self.processes
        for name in names:
            if name not in self.processes:
                message = (
                    f"unknown process {name!r} of the sample {self.name}; "
                    f"{nearest(name, self.processes)}"
                )
                raise SampleError(message)
        if not names:
            message = (
                f"no process to simulate; expected at least one of {', '.join(self.processes)}"
            )
            raise SampleError(message)
        return [PROCESSES[name] for name in self.processes if name in names]


_TTH = ("ttH_HToInv", "TTbar", "ZToNuNu", "WToLNu")
_BACKGROUNDS = ("TTbar", "SingleTop", "ZToNuNu", "WToLNu", "Dibosons")
_SUSY = tuple(name for name, process in PROCESSES.items() if process.mass is not None)
_QCD = tuple(name for name, process in PROCESSES.items() if process.role == "qcd")
_TTH_TITLE = "an invisibly decaying Higgs boson in tt̄H"

SAMPLES = {
    sample.name: sample
    for sample in (
        Sample(
            "ttH",
            _TTH,
            Detector(),
            (AnalysisChoice("analysis.yaml", "ttH-invisible", _TTH_TITLE, _TTH),),
            lepton_veto=False,
        ),
        Sample(
            "jets-met",
            ("ttH_HToInv", "VBF_HToInv", *_SUSY, *_BACKGROUNDS, *_QCD),
            Detector(tail_fraction=0.01),
            (
                AnalysisChoice(
                    "analysis.yaml", "ttH-invisible", _TTH_TITLE, ("ttH_HToInv", *_BACKGROUNDS)
                ),
                AnalysisChoice(
                    "analysis-vbf.yaml",
                    "VBF-invisible",
                    "an invisibly decaying Higgs boson in vector boson fusion",
                    ("VBF_HToInv", *_BACKGROUNDS),
                ),
                AnalysisChoice(
                    "analysis-susy.yaml",
                    "gluinos-squarks-stops",
                    "pairs of gluinos, squarks and top squarks",
                    (*_SUSY, *_BACKGROUNDS),
                ),
                AnalysisChoice(
                    "analysis-qcd.yaml",
                    "ttH-invisible-qcd",
                    f"{_TTH_TITLE}, with multijet events as a class of their own",
                    ("ttH_HToInv", *_BACKGROUNDS, *_QCD),
                ),
            ),
            lepton_veto=True,
            # Simulation goes where the yield is: of what would carry the greatest weights more,
            # less of what is rare, or takes long.
            shares={
                "ZToNuNu": 2.0,
                "WToLNu": 2.0,
                "SingleTop": 0.25,
                "Dibosons": 0.25,
                **dict.fromkeys(_QCD, 0.1),
            },
        ),
    )
}
"""Every sample, by name."""


def find_sample(name: str) -> Sample:
    """A sample by name.

    Raises
    ------
    SampleError
        If there is none of that name.
    """
    if name not in SAMPLES:
        message = f"unknown sample {name!r}; {nearest(name, SAMPLES)}"
        raise SampleError(message)
    return SAMPLES[name]
