"""A whole run with several background classes: logits, scores, figures and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from helpers.runs import small_analysis
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = {"signal": "signal", "ttbar": "top", "wjets": "electroweak"}


def test_three_classes_from_file_to_figure(tmp_path: Path) -> None:
    file = small_analysis(tmp_path, epochs=25)
    content = yaml.safe_load(file.read_text())
    for process, name in CLASSES.items():
        content["processes"][process]["class"] = name
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    # What tells the two backgrounds apart: jets of W boson events all go forward.
    events = ak.from_parquet(tmp_path / "wjets.parquet")
    events["Jet_eta"] = 2 + 0.2 * events.Jet_eta
    ak.to_parquet(events, tmp_path / "wjets.parquet")

    run = RunFolder(train(load_analysis(file), tmp_path / "run"))
    metrics, _ = evaluate_run(run)
    model, metadata = load_artefact(run.network(0))
    assert metadata["classes"] == list(CLASSES.values())
    assert model.arguments["num_outputs"] == 3

    scores = pq.read_table(run.evaluation / "scores.parquet")
    logits = np.stack([scores[f"logit_{column}"].to_numpy() for column in range(3)], 1)
    exponentials = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(
        scores["score"].to_numpy(), exponentials[:, 0] / exponentials.sum(1), rtol=1e-6
    )
    processes = np.array(scores["process"].to_pylist())
    # Column k speaks for class k.
    forward = logits.argmax(1) == 2
    assert forward[processes == "wjets"].mean() > 0.7
    assert forward[processes == "ttbar"].mean() < 0.3
    # The figure is signal against all backgrounds.
    expected = roc_auc_score(processes == "signal", scores["score"].to_numpy())
    assert metrics["auc_unweighted"]["value"] == pytest.approx(expected, abs=1e-12)
    assert expected > 0.75
