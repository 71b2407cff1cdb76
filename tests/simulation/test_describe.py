"""The analysis file beside a sample: `aot` accepts it, or it says itself what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from particle_transformer.config import load_analysis
from particle_transformer.errors import AnalysisFileError
from particle_transformer.simulation.describe import analysis_file
from particle_transformer.simulation.processes import PROCESSES
from particle_transformer.simulation.summary import ChunkSummary, ProcessSummary

if TYPE_CHECKING:
    from pathlib import Path


def _written(folder: Path, names: list[str]) -> Path:
    summaries = {
        name: ProcessSummary(
            [ChunkSummary(name, 0, folder / name, 10, 40, 40.0, 400, 100, 2.5, 0.1)]
        )
        for name in names
    }
    path = folder / "analysis.yaml"
    path.write_text(analysis_file(summaries), encoding="utf-8")
    for name in names:
        (folder / f"{name}.root").touch()
    return path


def test_all_processes_are_an_analysis(tmp_path: Path) -> None:
    path = _written(tmp_path, list(PROCESSES))
    assert load_analysis(path).classes == ("signal", "background")
    assert path.read_text(encoding="utf-8").startswith("# Search for")


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
    path = _written(tmp_path, names)
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
    assert load_analysis(path).classes == ("signal", "background")
