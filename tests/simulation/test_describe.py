"""The analysis file beside a sample: `aot` accepts it, or it says itself what is missing."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING

import pytest

from particle_transformer.config import load_analysis
from particle_transformer.errors import AnalysisFileError
from particle_transformer.simulation.analyses import analysis_files
from particle_transformer.simulation.describe import sample_description, sample_settings
from particle_transformer.simulation.samples import SAMPLES
from particle_transformer.simulation.summary import ChunkSummary, ProcessSummary
from particle_transformer.studies.compare.events import check_comparable

if TYPE_CHECKING:
    from pathlib import Path


def _written(folder: Path, names: list[str], sample: str = "ttH") -> list[Path]:
    summaries = {
        name: ProcessSummary(
            [ChunkSummary(name, 0, folder / name, 10, 40, 40.0, 400, 100, 2.5, 0.1)]
        )
        for name in names
    }
    paths = []
    for file, text in analysis_files(SAMPLES[sample], summaries).items():
        paths.append(folder / file)
        paths[-1].write_text(text, encoding="utf-8")
    for name in names:
        (folder / f"{name}.root").touch()
    return paths


def test_all_processes_are_an_analysis(tmp_path: Path) -> None:
    (path,) = _written(tmp_path, list(SAMPLES["ttH"].processes))
    assert load_analysis(path).classes == ("signal", "top", "z", "w")
    assert path.read_text(encoding="utf-8").startswith("# Search for")


def test_the_analyses_of_the_benchmark(tmp_path: Path) -> None:
    paths = _written(tmp_path, list(SAMPLES["jets-met"].processes), "jets-met")
    analyses = {path.name: load_analysis(path) for path in paths}
    assert list(analyses) == [
        "analysis.yaml",
        "analysis-vbf.yaml",
        "analysis-susy.yaml",
        "analysis-qcd.yaml",
    ]
    classes = {name: analysis.classes for name, analysis in analyses.items()}
    of_headline = ("signal", "top", "z", "w", "dibosons")
    assert classes.pop("analysis-qcd.yaml") == (*of_headline, "qcd")
    assert set(classes.values()) == {of_headline}
    for analysis in analyses.values():
        assert analysis.signal_regions == ("signal",)
        assert "leptons == 0" in analysis.regions["signal"].select
        for name in ("one_lepton_b", "one_lepton_no_b"):
            assert analysis.regions[name].role == "control"
            assert "leptons == 1" in analysis.regions[name].select
        assert {"TTbar", "SingleTop", "ZToNuNu", "WToLNu", "Dibosons"} <= set(analysis.processes)
    susy = analyses["analysis-susy.yaml"]
    assert susy.training.condition == ("mass",)
    for name, analysis in analyses.items():
        if name == "analysis-susy.yaml":
            assert not analysis.compare.features, "aot compare refuses a condition"
        else:
            check_comparable(analysis)
            assert analysis.compare.features
    masses = {
        name: process.parameters["mass"]
        for name, process in susy.processes.items()
        if process.class_name == "signal"
    }
    assert masses == {
        "Gluino_M1200": 1200,
        "Gluino_M1600": 1600,
        "Gluino_M2000": 2000,
        "Squark_M1000": 1000,
        "Squark_M1400": 1400,
        "Stop_M700": 700,
        "Stop_M1000": 1000,
    }


def test_a_part_of_the_benchmark_has_the_analyses_of_its_signals(tmp_path: Path) -> None:
    names = ["Gluino_M1200", "TTbar"]
    headline, susy = _written(tmp_path, names, "jets-met")
    assert susy.name == "analysis-susy.yaml"
    analysis = load_analysis(susy)
    assert list(analysis.processes) == names
    assert analysis.training.condition == ()  # one mass is no condition
    assert headline.read_text(encoding="utf-8").startswith("# No signal process: add one")


@pytest.mark.parametrize(
    ("names", "missing", "message"),
    [
        (["ttH_HToInv"], "background", "no process is a background"),
        (["TTbar", "ZToNuNu"], "signal", "no process has class: signal"),
    ],
)
def test_the_first_line_says_which_class_is_missing(
    tmp_path: Path, names: list[str], missing: str, message: str
) -> None:
    (path,) = _written(tmp_path, names)
    with pytest.raises(AnalysisFileError, match=message):
        load_analysis(path)
    text = path.read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    assert first == f"# No {missing} process: add one before aot can train."
    # Mended as the line asks, it is an analysis.
    added = {"signal": "ttH_HToInv", "background": "WToLNu"}[missing]
    line = f"  {added}: {{class: {missing}, cross_section: 1.5, files: [{added}.root]}}\n"
    path.write_text(rest.replace("processes:\n", "processes:\n" + line), encoding="utf-8")
    (tmp_path / f"{added}.root").touch()
    assert load_analysis(path).classes[0] == "signal"


def test_the_description_has_all_that_a_process_was_made_with(tmp_path: Path) -> None:
    for generator in ("pythia8mc", "fastjet"):
        pytest.importorskip(generator)
    sample = SAMPLES["jets-met"]
    names = ["Stop_M700", "TTbar", "QCD_PT170to300"]
    settings = sample_settings(sample, sample.find(names), 5, 1000)
    chunks = [
        ChunkSummary("", number, tmp_path, 10, 40, 40.0, 400, 100, 2.5, 0.3) for number in (0, 1)
    ]
    described = json.loads(
        sample_description(settings, {name: ProcessSummary(chunks) for name in names})
    )
    assert (described["sample"], described["seed"]) == ("jets-met", 5)
    assert described["detector"]["tail_fraction"] == 0.01
    assert described["versions"]["pythia8mc"] == importlib.metadata.version("pythia8mc")
    stop, top, multijets = (described["processes"][name] for name in names)
    assert (stop["class"], stop["mass"], stop["generator_filter"]) == ("signal", 700, None)
    lines = stop["slha"].splitlines()
    assert " 1000006 7.000000e+02" in lines
    assert lines[lines.index("DECAY 1000006 1.000000e+00") + 1] == " 1.00000000 2 6 1000022"
    assert top["generator_filter"] == {"hard_pt": 60, "evolved_pt": 150, "scale": 15}
    assert (top["mass"], top["slha"]) == (None, None)
    assert (multijets["tail_enhancement"], multijets["share"]) == (20, 0.1)
    assert "PhaseSpace:pTHatMax = 300." in multijets["pythia_settings"]
    for process in (stop, top, multijets):
        assert process["cross_section"] == 2.5
        assert process["cross_section_error"] == pytest.approx(0.3 / 2**0.5)
        assert (process["generated"], process["kept"], process["chunks"]) == (80, 20, 2)
        assert process["filter_efficiency"] == 0.4
        assert process["skim_efficiency"] == 0.25
