"""The report of a whole run, from the store to the page."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import yaml

from helpers.runs import PROCESSES, small_analysis
from particle_transformer.config import load_analysis
from particle_transformer.report.numbers import figure_text
from particle_transformer.report.run import evaluate
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from pathlib import Path


def test_evaluation_of_a_run_ends_with_its_page(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["source"]["non_finite"] = "drop"
    file.write_text(yaml.safe_dump(content))
    events = ak.from_parquet(tmp_path / "wjets.parquet")
    phi = ak.to_numpy(events.MET_phi).copy()
    selected = np.flatnonzero((ak.to_numpy(events.MET_pt) > 110) & (ak.num(events.Jet_pt) > 0))
    phi[selected[:7]] = np.nan
    events["MET_phi"] = phi
    ak.to_parquet(events, tmp_path / "wjets.parquet")

    metrics, page = evaluate(train(load_analysis(file), tmp_path / "run"))

    assert page == tmp_path / "run" / "report" / "index.html"
    assert json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text()) == metrics
    text = html.unescape(page.read_text("utf-8"))
    assert figure_text(metrics["auc"]) in text
    for process in PROCESSES:
        assert process in text
    # What was dropped is told by process and feature.
    feature = "'jets: delta_phi(phi, met.phi)' in 7"
    assert f"Events of wjets with NaN or infinity were dropped: {feature}" in text
    assert "Events of ttbar with NaN" not in text
