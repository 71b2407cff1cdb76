"""A run as a folder for the Hub: it scores as the run does, and its card says what was measured."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from helpers.runs import small_analysis
from helpers.untrained import untrained_run
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.cli.main import app
from particle_transformer.config import load_analysis
from particle_transformer.data.files import input_file
from particle_transformer.data.readers import open_reader
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.hub.folder import export_folder
from particle_transformer.inference.entries import RunScorer
from particle_transformer.inference.evaluate import evaluate_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("hub")
    run = untrained_run(load_analysis(small_analysis(folder)), folder / "run")
    members = [f"fold-{fold}/network-0" for fold in range(2)]
    (run.artefact / "config.json").write_text(json.dumps({"members": members}))
    return run


@pytest.fixture(scope="module")
def evaluated(
    run: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    metrics, _ = evaluate_run(run)
    # What names a place of the machine: the run compared with, and what the networks began from.
    file = run.evaluation / "metrics.json"
    metrics["before"] = {"run": str(run.path.parent / "older")}
    file.write_text(json.dumps(metrics))
    record = run.read_record() | {"init": {"network": str(run.path.parent / "began" / "network")}}
    run.record.write_text(json.dumps(record))
    return export_folder(
        run, tmp_path_factory.mktemp("out") / "export", repository="me/small"
    ), metrics


def _card(folder: Path) -> tuple[dict[str, Any], str]:
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_its_networks_are_those_of_the_run(
    run: RunFolder, evaluated: tuple[Path, dict[str, Any]]
) -> None:
    folder, _ = evaluated
    for fold in range(2):
        model = AnalysisObjectTransformer.from_pretrained(folder, fold=fold)
        own, metadata = load_artefact(run.network(fold))
        assert model.metadata == metadata
        for name, value in own.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name


def test_it_scores_as_the_run_does(run: RunFolder, evaluated: tuple[Path, dict[str, Any]]) -> None:
    scores = []
    path = str(run.path.parent / "signal.parquet")
    for place in (run, RunFolder(evaluated[0])):
        file = input_file(path, "signal", next(iter(load_analysis(run.analysis).eras)), "Events")
        with open_reader(path, file_format=None, tree="Events") as reader:
            scores.append(RunScorer(place).open(reader, file).read(0, 200).columns)
    assert (scores[0]["score"] >= 0).sum() > 50
    assert scores[0].keys() == scores[1].keys()
    for name, values in scores[0].items():
        np.testing.assert_array_equal(values, scores[1][name])


def test_no_place_of_the_machine_goes_with_it(
    run: RunFolder, evaluated: tuple[Path, dict[str, Any]]
) -> None:
    folder, _ = evaluated
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"README.md", "analysis.yaml", "run.json", "evaluation/metrics.json"} < names
    assert not [name for name in names if re.search(r"store|checkpoints|logs|\.(ckpt|pt)$", name)]
    for file in folder.rglob("*"):
        if file.is_file():
            assert str(run.path.parent).encode() not in file.read_bytes(), file
    assert RunFolder(folder).read_record()["init"] == {"network": "network"}
    processes = load_analysis(folder / "analysis.yaml").processes
    assert [path.rpartition("/")[2] for path in next(iter(processes["signal"].files.values()))] == [
        "signal.parquet"
    ]
    with pytest.raises(InputFileError, match="an exported run, without its events"):
        RunFolder(folder).store()


def test_a_luminosity_mask_goes_with_it(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    mask = tmp_path / "places" / "golden.json"
    content = yaml.safe_load(copy.analysis.read_text())
    content["source"]["identity"] = ["run", "luminosityBlock", "event"]  # as masks need
    for era in content["eras"].values():
        era["lumi_mask"] = str(mask)
    copy.analysis.write_text(yaml.safe_dump(content))
    with pytest.raises(
        InputFileError, match=r"golden\.json: no such file; expected the luminosity"
    ):
        export_folder(copy, tmp_path / "export")
    assert not (tmp_path / "export").exists()
    mask.parent.mkdir()
    mask.write_text('{"1": [[1, 9]]}')
    folder = export_folder(copy, tmp_path / "export")
    (era,) = load_analysis(folder / "analysis.yaml").eras.values()
    assert era.lumi_mask == str(folder / "lumi_mask_0.json")
    assert (folder / "lumi_mask_0.json").read_text() == mask.read_text()


def test_the_card_says_what_was_measured(evaluated: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = evaluated
    front, text = _card(folder)
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "analysis-object-transformer"
    (index,) = front["model-index"]
    (result,) = index["results"]
    auc = result["metrics"][0]
    assert auc["type"] == "roc_auc"
    assert auc["value"] == pytest.approx(metrics["auc"]["value"], abs=1e-6)
    assert f"± {metrics['auc']['error']:.2g}" in auc["name"]
    rows = {
        cells[0]: cells
        for line in text.splitlines()
        if line.startswith("| ")
        and (cells := [cell.strip() for cell in line.strip("|").split("|")])
    }
    for process, figures in metrics["processes"].items():
        name, kind, cross_section, files, _, events, effective, yields = rows[process]
        assert (name, kind, cross_section, files) == (process, figures["class"], "1", "1")
        assert int(events) == figures["events"]
        assert float(effective) == pytest.approx(figures["effective_events"], rel=0.02)
        value, error = (float(part) for part in yields.replace("\u202f", "").split(" ± "))
        assert value == pytest.approx(figures["yield"], abs=2 * figures["yield_error"] / 10)
        assert error == pytest.approx(figures["yield_error"], rel=0.1)
    value, error = (
        float(part) for part in rows["AUC of signal against all backgrounds"][1].split(" ± ")
    )
    assert value == pytest.approx(metrics["auc"]["value"], abs=metrics["auc"]["error"] / 5)
    assert error == pytest.approx(metrics["auc"]["error"], rel=0.2)
    for name in ("Use", "Output", "Input", "Data", "Performance", "Intended use", "Limits",
                 "Citation", "Licence"):  # fmt: skip
        assert f"\n## {name}\n" in text, name
    assert "Trained with events of the signal regions alone, signal (`" in text
    assert 'from_pretrained("me/small", fold=0)' in text
    assert "hf download me/small" in text


def test_the_hub_understands_the_card(evaluated: tuple[Path, dict[str, Any]]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard.load(evaluated[0] / "README.md").data
    results = data.eval_results
    assert {result.metric_type for result in results} >= {"roc_auc", "background_rejection"}
    assert all(np.isfinite(result.metric_value) for result in results)


def test_undefined_figures_are_told_and_not_published(
    run: RunFolder, evaluated: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    file = run.evaluation / "metrics.json"
    kept = file.read_text()
    content = json.loads(kept)
    content["auc"] |= {"value": None, "error": None, "reason": "no background has weight"}
    file.write_text(json.dumps(content))
    try:
        front, text = _card(export_folder(run, tmp_path / "export"))
    finally:
        file.write_text(kept)
    assert "| undefined |" in text
    assert "no background has weight" in text
    names = [metric["name"] for metric in front["model-index"][0]["results"][0]["metrics"]]
    assert not [name for name in names if name.startswith("AUC of signal")]


def test_a_run_without_evaluation_or_store(run: RunFolder, tmp_path: Path) -> None:
    moved = [(run.evaluation, tmp_path / "evaluation"), (run.store(), tmp_path / "store")]
    for place, aside in moved:
        if place.exists():
            place.rename(aside)
    try:
        front, text = _card(export_folder(run, tmp_path / "export"))
    finally:
        for place, aside in moved:
            if aside.exists():
                aside.rename(place)
    assert "Not evaluated" in text
    assert "aot predict export FILE" in text
    assert "hf download" not in text
    assert "model-index" not in front
    assert "| signal | signal | 1 | – |" in text


def test_a_tampered_run_is_not_exported(run: RunFolder, tmp_path: Path) -> None:
    file = run.network(1) / "config.json"
    kept = file.read_text()
    file.write_text(kept.replace('"dropout": 0.0', '"dropout": 0.5'))
    try:
        with pytest.raises(InputFileError, match=r"config\.json: sha256 of its content"):
            export_folder(run, tmp_path / "export")
    finally:
        file.write_text(kept)
    assert not (tmp_path / "export").exists()


def test_nothing_is_overwritten(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(OutputError, match="exists and is not empty"):
        export_folder(run, tmp_path)


def test_the_command_exports_and_pushes(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Any] = []

    def push(folder: Path, repo: str, *, private: bool) -> str:
        pushed.append((folder, repo, private))
        return "https://hub/commit"

    monkeypatch.setattr("particle_transformer.network_files.hub.push", push)
    out = tmp_path / "export"
    words = ["export", str(run.path), "--to", "hub", "--out", str(out), "--push", "me/small"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert pushed == [(out, "me/small", False)]
    assert result.output.replace("\n", "").endswith(f"exported {out}".replace("\n", ""))
    assert (out / "artefact" / "fold-1" / "network-0" / "model.safetensors").exists()


def test_an_upload_that_fails_says_where_the_folder_is(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, repo: str, *, private: bool) -> str:
        del folder, private
        message = f"{repo}: the Hugging Face Hub cannot be reached"
        raise OutputError(message)

    monkeypatch.setattr("particle_transformer.network_files.hub.push", refuse)
    out = tmp_path / "small"
    words = ["export", str(run.path), "--to", "hub", "--out", str(out), "--push", "me/small"]
    error = CliRunner().invoke(app, words).exception
    assert str(error).endswith(f"upload it with hf upload me/small {out}")
    assert RunFolder(out).read_record()


def test_without_the_client_nothing_is_written(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    words = ["export", str(run.path), "--to", "hub", "--out", str(tmp_path / "small")]
    error = CliRunner().invoke(app, [*words, "--push", "me/small"]).exception
    assert "'analysis-object-transformer[hub]'" in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--fold", "0"], ["--float-inputs"], ["--precision", "int8"]])
def test_an_option_of_graphs_is_refused(run: RunFolder, tmp_path: Path, words: list[str]) -> None:
    command = ["export", str(run.path), "--to", "hub", "--out", str(tmp_path / "export"), *words]
    result = CliRunner().invoke(app, command)
    assert str(result.exception) == f"{words[0]}: means nothing with --to hub; leave it out"


def test_private_is_of_what_is_pushed(run: RunFolder, tmp_path: Path) -> None:
    command = ["export", str(run.path), "--to", "hub", "--out", str(tmp_path / "e"), "--private"]
    assert "there is no --push" in str(CliRunner().invoke(app, command).exception)
    assert not list(tmp_path.iterdir())
