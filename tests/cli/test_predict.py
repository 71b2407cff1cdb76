"""The command `aot predict`: what it says, and its mistakes in one line."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import uproot
import yaml

from helpers.files import make_analysis, write_root
from helpers.untrained import untrained_run
from inference.test_entries import CHANGES, EVENTS, write_samples
from particle_transformer.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    write_samples(folder)
    untrained_run(make_analysis(folder, **CHANGES), folder / "run")
    return folder


def aot(monkeypatch, capsys, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["aot", *map(str, words)])
    with pytest.raises(SystemExit) as ending:
        main()
    printed = capsys.readouterr()
    return int(ending.value.code or 0), printed.out, printed.err


def test_it_says_what_was_written_and_what_has_no_score(base, tmp_path, monkeypatch, capsys):
    words = ("predict", base / "run", base / "s.root", base / "d.root", "--out", tmp_path / "out")
    status, out, _ = aot(monkeypatch, capsys, *words, "--fill", -5)
    assert status == 0
    flat = out.replace("\n", "")
    assert f"scores {tmp_path}/out/s.root: {EVENTS} events, " in flat
    assert "in a region, the others have -5; no ensemble mean for " in flat
    assert "jets beyond max, not seen as in the training" in flat
    assert flat.count("no ensemble mean") == 1  # data has one
    blind = "recorded events of blind regions (signal) are in none without --unblind"
    assert flat.count(blind) == 1
    assert blind in flat.partition("d.root")[2]
    with uproot.open(tmp_path / "out" / "s.root") as file:
        assert file["scores"]["score"].array(library="np").min() == -5
    _, again, _ = aot(monkeypatch, capsys, *words, "--fill", -5)
    assert again.replace("\n", "").count("scored before: ") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at", "mass"], "aot: --at: got 'mass', expected NAME=VALUE, or several behind commas"),
        (["--at", "mass=9"], "aot: hypothesis: got mass, but the networks have no parameters"),
        (["--process", "sgi"], "aot: --process sgi: not in the analysis file; nearest: sig"),
    ],
)
def test_mistakes_in_one_line(base, tmp_path, monkeypatch, capsys, words, message):
    status, _, said = aot(
        monkeypatch, capsys, "predict", base / "run", base / "s.root", "--out", tmp_path, *words
    )
    assert status == 1
    assert said.startswith(message)
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_places_that_are_no_run_and_no_folder(base, tmp_path, monkeypatch, capsys):
    (file := tmp_path / "file").write_text("")
    network = base / "run" / "artefact" / "fold-0" / "network-0"
    for run, out, message in (
        (file, tmp_path / "out", f"{file}: is a file; expected a run, the folder that"),
        (network, tmp_path / "out", f"{network}: the folder of one network; give the whole run"),
        (base / "run", file, f"{file}: exists and is not a folder; give --out"),
    ):
        status, _, said = aot(monkeypatch, capsys, "predict", run, base / "s.root", "--out", out)
        assert status == 1
        assert said.startswith(f"aot: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_was_not_copied_whole(base, tmp_path, monkeypatch, capsys):
    shutil.copytree(base / "run", tmp_path / "run")
    shutil.rmtree(missing := tmp_path / "run" / "artefact" / "fold-1" / "network-0")
    status, _, said = aot(
        monkeypatch, capsys, "predict", tmp_path / "run", base / "s.root", "--out", tmp_path / "out"
    )
    assert status == 1
    assert said.startswith(f"aot: {missing}: no such folder; the run it should be in is incomplete")
    assert not (tmp_path / "out").exists()


def test_another_years_names_are_an_era_that_is_added_later(base, tmp_path, monkeypatch, capsys):
    shutil.copytree(base / "run", tmp_path / "run")
    sample = write_samples(tmp_path)["s"]
    renamed = {("PuppiMET_pt" if k == "MET_pt" else k): v for k, v in sample.flat.items()}
    file = write_root(tmp_path / "new.root", replace(sample, flat=renamed))
    words = ("predict", tmp_path / "run", file, "--process", "sig", "--out", tmp_path / "out")
    status, _, said = aot(monkeypatch, capsys, *words)
    assert status == 1
    assert "'MET_pt' is neither in the file nor defined" in said
    assert "nearest: PuppiMET_pt" in said

    analysis = yaml.safe_load((tmp_path / "run" / "analysis.yaml").read_text())
    analysis["eras"]["later"] = {"aliases": {"MET_pt": "PuppiMET_pt"}}
    (tmp_path / "run" / "analysis.yaml").write_text(yaml.safe_dump(analysis, sort_keys=False))
    assert aot(monkeypatch, capsys, *words, "--era", "later")[0] == 0
    before = ("predict", base / "run", base / "s.root", "--out", tmp_path / "old")
    assert aot(monkeypatch, capsys, *before)[0] == 0
    found = [
        uproot.open(path)["scores"]["score"].array(library="np")
        for path in (tmp_path / "out" / "new.root", tmp_path / "old" / "s.root")
    ]
    assert found[0].max() > 0
    np.testing.assert_array_equal(*found)
