"""The command line: exit status, one-line errors, nothing half-written, light start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from helpers.runs import small_analysis
from particle_transformer import __version__
from particle_transformer.cli import commands, tables

if TYPE_CHECKING:
    from pathlib import Path


def aot(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "particle_transformer.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def assert_one_line(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("aot: ")
    for part in parts:
        assert part in lines[0]


def test_version() -> None:
    result = aot("--version")
    assert (result.returncode, result.stdout.strip()) == (0, __version__)


def test_starting_loads_no_heavy_library() -> None:
    code = (
        "import sys, particle_transformer.cli.main; "
        "heavy = {'torch', 'lightning', 'awkward', 'uproot', 'pyarrow', 'matplotlib', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_every_documented_command_has_help() -> None:
    shown = aot("--help").stdout
    for command in (
        "demo",
        "simulate",
        "validate",
        "prepare",
        "train",
        "evaluate",
        "predict",
        "tune",
        "compare",
        "explain",
        "export",
    ):
        assert f" {command} " in shown
        assert aot(command, "--help").returncode == 0


def test_validate_says_what_it_found(tmp_path: Path) -> None:
    result = aot("validate", small_analysis(tmp_path))
    assert result.returncode == 0
    assert "3 processes, 3 files, 1200 entries" in result.stdout


def test_a_luminosity_in_inverse_picobarns_is_doubted(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    for luminosity, said in ((59_800, "59800 fb^-1 is more than the LHC will ever"), (3000, "")):
        file.write_text(yaml.safe_dump({**content, "luminosity": luminosity}))
        result = aot("validate", file)
        assert result.returncode == 0
        *remarks, last = result.stdout.splitlines()
        assert "valid; 3 processes" in last
        assert len(remarks) == bool(said)
        assert said in "".join(remarks)


def test_missing_analysis_file(tmp_path: Path) -> None:
    assert_one_line(aot("validate", tmp_path / "none.yaml"), "none.yaml", "No such file")


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    file.write_text(file.read_text().replace("features:", "featurs:", 1))
    assert_one_line(aot("validate", file), "featurs", "nearest: features")


def test_a_sample_has_a_name_and_processes_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulate = ("simulate", "--out", out, "--sample")
    assert_one_line(aot(*simulate, "jets"), "unknown sample 'jets'; nearest: jets-met")
    assert_one_line(
        aot(*simulate, "jets-met", "--process", "Stop_M70"), "'Stop_M70'", "nearest: Stop_M700"
    )
    assert not out.exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    for words in (["--debug", "validate", missing], ["validate", missing, "--debug"]):
        result = aot(*words)
        assert result.returncode == 1
        assert "Traceback" in result.stderr


def test_prepare_writes_a_store_and_shows_the_cutflow(tmp_path: Path) -> None:
    result = aot("prepare", small_analysis(tmp_path), "--out", tmp_path / "store")
    assert result.returncode == 0
    assert "Cutflow" in result.stdout
    assert result.stdout.strip().endswith(f"prepared {tmp_path / 'store'}")
    assert (tmp_path / "store" / "manifest.json").exists()


def test_a_failing_command_leaves_no_result(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["event"]["select"] = "met.pt > 1e9"
    file.write_text(yaml.safe_dump(content))
    before = set(tmp_path.iterdir())
    for command in (
        ["prepare", file, "--out", tmp_path / "s"],
        ["train", file, "--out", tmp_path / "r"],
    ):
        assert_one_line(aot(*command), "none of its 400 events is left", "met.pt > 1e9")
    # What was read serves the next preparation.
    assert set(tmp_path.iterdir()) - before == {tmp_path / "s"}
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["shards"]


def test_prepare_tells_what_was_dropped_and_truncated(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["source"]["non_finite"] = "drop"
    content["objects"]["jets"]["max"] = 1
    content["event"]["features"].append("log(met.pt - 120)")
    file.write_text(yaml.safe_dump(content))
    shown = aot("prepare", file, "--out", tmp_path / "store").stdout
    assert "events of signal with NaN or infinity in event: log(met.pt - 120)" in shown
    assert "jets of ttbar, beyond `max`" in shown


def test_prepare_tells_of_which_era_nothing_is_left(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    content = yaml.safe_load(file.read_text())
    luminosity = content.pop("luminosity")
    name, process = next(iter(content["processes"].items()))
    (pattern,) = process["files"]
    shutil.copyfile(tmp_path / pattern, tmp_path / "later.parquet")
    content["eras"] = {
        "early": {"luminosity": luminosity},
        "late": {"luminosity": 1, "trigger": "MET_pt > 1e9"},
    }
    for entry in content["processes"].values():
        entry["files"] = {"early": entry["files"]}
    process["files"]["late"] = ["later.parquet"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    result = aot("prepare", file, "--out", tmp_path / "store")
    assert result.returncode == 0
    found = [line for line in result.stdout.splitlines() if "no event is left" in line]
    assert found == [f"no event is left: {name} in era late"]


def test_demo_refuses_other_settings_and_foreign_folders(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"events": 700, "seed": 1}')
    result = aot("demo", "--out", tmp_path, "--events", 800)
    assert_one_line(result, "'events': 700", "'events': 800", "another --out")
    (tmp_path / "demo.json").rename(tmp_path / "other.json")
    assert_one_line(aot("demo", "--out", tmp_path), "not a demo's folder")


def test_train_refuses_a_folder_with_content(tmp_path: Path) -> None:
    file = small_analysis(tmp_path)
    assert_one_line(aot("train", file, "--out", tmp_path), "not empty", "another --out")


def test_evaluate_refuses_what_is_no_run(tmp_path: Path) -> None:
    assert_one_line(aot("evaluate", tmp_path), "not a run", "aot train")


def test_the_table_of_figures_has_spectators_and_the_run_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")

    def figure(value: float | None) -> dict[str, object]:
        return {"value": value, "error": None, "effective_events": 12.0, "reason": "too few"}

    metrics = {
        "auc": figure(0.81), "auc_unweighted": figure(0.82), "rejection": {"0.5": figure(33.0)},
        "significance": figure(1.5), "sculpting": {"spectators": {"met.pt": figure(0.0021)}},
        "folds": {"0": {"auc": figure(0.81)}},
    }  # fmt: skip
    before = {
        "auc": figure(0.91), "rejection": {"0.5": figure(None)},
        "sculpting": {"spectators": {"met.pt": figure(0.21)}},
    }  # fmt: skip
    tables.print_metrics(metrics)
    alone = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    tables.print_metrics({**metrics, "before": before})
    both = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    values = [(row[1].strip(), row[2].strip()) for row in alone]
    assert values == [
        ("AUC", "0.81"), ("AUC, unweighted", "0.82"), ("rejection at 50% signal efficiency", "33"),
        ("expected significance (Asimov)", "1.5"), ("dCorr²(score, met.pt), background", "0.0021"),
    ]  # fmt: skip
    assert [row[3].strip() for row in both] == [value for _, value in values]
    assert [row[2].strip() for row in both] == ["0.91", "", "undefined: too few", "", "0.21"]


def test_plots_of_the_epochs_are_drawn_unless_they_are_not_wanted_or_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = small_analysis(tmp_path, epochs=1)
    commands.train(file, tmp_path / "drawn", store=tmp_path / "store")
    for fold in range(2):
        plots = tmp_path / "drawn" / "logs" / f"fold-{fold}" / "network-0" / "plots"
        assert sorted(path.name for path in plots.iterdir()) == [
            "epoch-000-correlation.png", "epoch-000-roc.png", "epoch-000-score.png"
        ]  # fmt: skip
    commands.train(file, tmp_path / "bare", store=tmp_path / "store", plots=False)
    assert "no plots" not in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "mplhep", None)
    commands.train(file, tmp_path / "lean", store=tmp_path / "store")
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "no plots" in line]
    assert told.startswith("no plots of the epochs: mplhep is not installed")
    assert told.endswith("pip install 'analysis-object-transformer[report]'")
    for name in ("bare", "lean"):
        assert not list((tmp_path / name).rglob("plots"))


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [("fastjet", "sim", ["simulate", "--events", "1", "--out", "x"])],
)
def test_a_missing_extra_is_one_sentence_with_the_command(
    tmp_path: Path, module: str, extra: str, command: list[str]
) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['aot', *{command!r}]; "
        "from particle_transformer.cli.main import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert_one_line(result, module, f"pip install 'analysis-object-transformer[{extra}]'")
    assert not list(tmp_path.iterdir())
