"""The report of a whole run, from the store to the page."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from helpers.runs import PROCESSES, small_analysis
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import InputFileError
from particle_transformer.evaluation import distance_correlation_squared
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.report.numbers import figure_text
from particle_transformer.report.run import evaluate
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.config import Analysis


def test_evaluation_of_a_run_ends_with_its_page(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["source"]["non_finite"] = "drop"
    content["eras"] = {"18": {"luminosity": content.pop("luminosity")}, "24": {"luminosity": 1000}}
    for settings in content["processes"].values():
        settings["files"] = {"18": settings["files"]}
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
    assert "· 10 fb⁻¹ ·" in text  # an era without files, for scoring alone, adds nothing
    # What was dropped is told by process and feature.
    feature = "'jets: delta_phi(phi, met.phi)' in 7"
    assert f"Events of wjets with NaN or infinity were dropped: {feature}" in text
    assert "Events of ttbar with NaN" not in text


def _variant(file: Path, name: str, **changes: Any) -> Analysis:
    """The analysis with other keys in some sections."""
    content = yaml.safe_load(file.read_text())
    for section, keys in changes.items():
        content[section] = {**content[section], **keys}
    other = file.with_name(f"{name}.yaml")
    other.write_text(yaml.safe_dump(content))
    return load_analysis(other)


SPECTATORS = {"spectators": ["met.pt", "sum(jets.pt)"]}
DISCO = {"disco": {"against": ["met.pt"], "strength": 5.0}}


def test_a_decorrelated_run_beside_the_one_before(tmp_path: Path) -> None:
    file = small_analysis(tmp_path, epochs=1)
    # That before has no spectators and another number of folds: its events are the same.
    plain = train(_variant(file, "plain", training={"folds": 3}), tmp_path / "plain")
    after = train(
        _variant(file, "after", event=SPECTATORS, training={"batch_size": 256, **DISCO}),
        tmp_path / "after",
    )

    metrics, page = evaluate(after, before=plain)

    assert json.loads((after / "evaluation" / "metrics.json").read_text()) == metrics
    assert not (plain / "evaluation").exists()
    alone, _ = evaluate_run(RunFolder(plain))
    assert "sculpting" not in alone
    assert metrics["before"]["run"] == str(plain)
    assert metrics["before"]["auc"]["value"] == alone["auc"]["value"]
    for point, figure in metrics["before"]["rejection"].items():
        assert figure["thresholds"].keys() == {"0", "1", "2"}
        assert figure["value"] == alone["rejection"][point]["value"]
    # Recomputed from what the two runs say of their scores.
    store = Store(RunFolder(after).store())
    spectators = store.events().spectators
    for run, block in ((after, metrics), (plain, metrics["before"])):
        scores = pq.read_table(run / "evaluation" / "scores.parquet")
        chosen = np.array([name != "signal" for name in scores["process"].to_pylist()])
        chosen &= store.events().regions["signal"]
        for column, name in enumerate(SPECTATORS["spectators"]):
            expected = distance_correlation_squared(
                scores["score"].to_numpy()[chosen],
                spectators[chosen, column].astype(float),
                scores["weight"].to_numpy()[chosen],
            )
            found = block["sculpting"]["spectators"][name]
            assert found["value"] == pytest.approx(expected.value)
            assert found["effective_events"] == pytest.approx(expected.effective_events)
    text = html.unescape(page.read_text("utf-8"))
    assert "Background sculpting" in text
    assert f"the networks of {plain}" in text


def test_runs_on_other_events_are_not_compared(tmp_path: Path) -> None:
    file = small_analysis(tmp_path, epochs=1)
    run = train(load_analysis(file), tmp_path / "run")
    others: dict[str, Any] = {
        r"\d+ simulated there, \d+ here": {"event": {"select": "met.pt > 130"}},
        r"physics weight differs in (\d+) of \1": {
            "weights": {"generator": "genWeight", "two": "2"}
        },
    }
    for number, (message, changes) in enumerate(others.items()):
        other = train(_variant(file, f"other{number}", **changes), tmp_path / f"other{number}")
        with pytest.raises(InputFileError) as caught:
            evaluate(run, before=other)
        assert re.fullmatch(
            rf"{other}: has other events than {run} \({message}\); compare runs of the same input "
            "files, selections and weights",
            str(caught.value),
        )
    with pytest.raises(InputFileError, match=r"not a run \(no run.json\)"):
        evaluate(run, before=tmp_path)
    assert not (run / "evaluation").exists()


def test_page_lists_how_the_networks_were_trained(tmp_path: Path) -> None:
    analysis = _variant(
        small_analysis(tmp_path), "two", event={**SPECTATORS},
        training={**DISCO, "ensemble": 2, "ema": 0.9, "loss": "focal", "learning_rate": "auto"},
    )  # fmt: skip
    run = train(analysis, tmp_path / "run")
    _, page = evaluate(run)
    rates = [network["learning_rate"] for network in RunFolder(run).read_record()["networks"]]
    text = " ".join(html.unescape(page.read_text("utf-8")).split())
    for value in (
        f"auto: {min(rates):.2g} to {max(rates):.2g}", "focal, gamma 2",
        "against met.pt, strength 5, classes background", "0.9",
    ):  # fmt: skip
        assert f'<td class="text">{value}</td>' in text
    folds = analysis.training.folds
    assert (
        f"{2 * folds} networks were trained, and each event is scored by the mean of the 2" in text
    )
    assert "Shown is network 0 of each fold." in text
