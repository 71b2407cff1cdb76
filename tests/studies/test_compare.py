"""A comparison: fair, never trained twice, its figures recomputed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from helpers.runs import PROCESSES, small_analysis
from particle_transformer.cli.main import app
from particle_transformer.config import Analysis, load_analysis
from particle_transformer.data import Store
from particle_transformer.errors import (
    AnalysisFileError,
    InputFileError,
    MissingExtraError,
    OutputError,
    SampleError,
)
from particle_transformer.evaluation import effective_events, evaluate
from particle_transformer.events import fold_of
from particle_transformer.report.comparison import write_comparison
from particle_transformer.studies.compare import METHODS, compare
from particle_transformer.studies.compare import methods as methods_module
from particle_transformer.studies.compare.events import ComparedEvents
from particle_transformer.studies.compare.figures import SeedScores, compare_figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHEAP = ("trees", "deep_sets")


def analysis_in(folder: Path, *, write: bool = True, **sections: Any) -> Analysis:
    path = small_analysis(folder, epochs=1, write=write)
    content = yaml.safe_load(path.read_text())
    content["evaluation"]["bootstrap"] = 4  # of limits, too, each of which is a fit
    content["compare"] = {
        "trees": {"rounds": 20, "max_depth": 2},
        "deep_sets": {"object_widths": [8], "event_widths": [8]},
    }
    for name, values in sections.items():
        content[name] = {**content.get(name, {}), **values}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_analysis(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Analysis, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("compared")
    analysis = analysis_in(folder)
    return folder / "out", analysis, compare(analysis, folder / "out", methods=CHEAP, seeds=2)


def kept(out: Path) -> dict[str, dict[str, Any]]:
    """The outcome of every classifier, by method and name."""
    found = {}
    for path in sorted(out.glob("trained/*/*.npz")):
        with np.load(path) as content:
            found[f"{path.parent.name.rpartition('-')[0]}/{path.stem}"] = dict(content)
    return found


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Which classifiers are trained from now on: method, seed, fold."""
    seen = []

    def watched(name: str, train: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(compared: Any, fold: Any, seed: int, *rest: Any) -> Any:
            seen.append((name, seed, fold.fold))
            return train(compared, fold, seed, *rest)

        return wrapper

    for name, method in METHODS.items():
        monkeypatch.setattr(method, "train", watched(name, method.train))
    return seen


def scores_of(out: Path, analysis: Analysis, method: str, seed: int) -> SeedScores:
    """From the files alone: events by fold, in the order of the store."""
    compared = ComparedEvents.of(analysis, Store(out / "store"))
    found = kept(out)
    parts = [found[f"{method}/fold-{fold}-seed-{seed}"] for fold in range(2)]
    fold = fold_of(compared.events.identity, 2)
    score = np.empty(len(fold))
    for number, part in enumerate(parts):
        score[fold == number] = part["test"]
    validation = compared.validation([part["validation"] for part in parts])
    return SeedScores(compared.test(score), validation)


def test_figures_are_means_over_the_seeds_of_those_of_an_evaluation(
    done: tuple[Path, Analysis, dict[str, Any]],
) -> None:
    out, analysis, result = done
    assert json.loads((out / "compare.json").read_text()) == result
    assert list(result["methods"]) == ["network", *CHEAP]
    for name, method in result["methods"].items():
        each = []
        for seed in range(2):
            scores = scores_of(out, analysis, name, seed)
            each.append(
                evaluate(
                    scores.test, scores.validation, working_points=(0.3, 0.5, 0.7),
                    background_uncertainty=0.1, folds=2, bootstrap=0,
                )
            )  # fmt: skip
        for key, own in (
            ("auc", method["auc"]),
            ("significance", method["significance"]),
        ):
            values = [metrics[key]["value"] for metrics in each]
            assert own["value"] == pytest.approx(np.mean(values))
            assert own["seed_error"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(2))
        for point, own in method["rejection"].items():
            figures = [metrics["rejection"][point] for metrics in each]
            assert own["value"] == pytest.approx(np.mean([figure["value"] for figure in figures]))
            assert own["effective_events"] == pytest.approx(
                min(figure["effective_events"] for figure in figures)
            )
        if name != "network":
            ratio = method["versus"]["rejection"]["0.5"]["value"]
            ours = result["methods"]["network"]["rejection"]["0.5"]["value"]
            assert ratio == pytest.approx(ours / method["rejection"]["0.5"]["value"])
            limit = method["versus"]["limit"]["value"]
            other = result["methods"]["network"]["limit"]["value"]
            assert limit == pytest.approx(method["limit"]["value"] / other)
    scored = scores_of(out, analysis, "network", 0).test
    background = result["events"]["background"]
    assert background["effective_events"] == pytest.approx(
        effective_events(scored.weight[~scored.is_signal])
    )


def test_seeds_give_other_classifiers(done: tuple[Path, Analysis, dict[str, Any]]) -> None:
    found = kept(done[0])
    for method in ("network", *CHEAP):
        first, second = (found[f"{method}/fold-0-seed-{seed}"]["test"] for seed in range(2))
        assert not np.array_equal(first, second)


def test_nothing_is_trained_twice(
    done: tuple[Path, Analysis, dict[str, Any]], trainings: list[tuple[str, int, int]]
) -> None:
    out, analysis, result = done
    again = compare(analysis, out, methods=CHEAP, seeds=2)
    assert trainings == []
    assert again == result


def test_another_setting_trains_only_its_method_and_coming_back_nothing(
    tmp_path: Path, trainings: list[tuple[str, int, int]]
) -> None:
    analysis = analysis_in(tmp_path)
    compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
    assert trainings == [(name, 0, fold) for name in ("network", "trees") for fold in range(2)]
    trainings.clear()
    deeper = analysis_in(tmp_path, write=False, compare={"trees": {"max_depth": 3, "rounds": 5}})
    compare(deeper, tmp_path / "out", methods=("trees",), seeds=1)
    assert trainings == [("trees", 0, 0), ("trees", 0, 1)]
    trainings.clear()
    compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
    assert trainings == []
    longer = analysis_in(tmp_path, write=False, training={"patience": 2})
    compare(longer, tmp_path / "out", methods=("trees",), seeds=1)
    assert len(trainings) == 4, "the recipe of all"


def test_what_was_trained_before_an_interrupt_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: list[tuple[str, int, int]]
) -> None:
    analysis = analysis_in(tmp_path)

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(METHODS["trees"], "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
    assert not (tmp_path / "out" / "compare.json").exists()
    assert trainings == [("network", 0, 0), ("network", 0, 1)]
    trainings.clear()
    compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
    assert trainings == [("trees", 0, 0), ("trees", 0, 1)]
    assert not (tmp_path / "out" / "unfinished").exists()


@pytest.mark.parametrize(
    "chosen",
    [CHEAP, pytest.param(("trees_raw", "dense", "published"), marks=pytest.mark.slow)],
)
def test_no_method_reads_the_fold_that_it_scores(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    """Spoil all events of fold 0: its classifiers stay, by what they say of validation events."""
    found = []
    for spoil in (False, True):
        folder = tmp_path / str(spoil)
        folder.mkdir()
        analysis = analysis_in(folder)
        for process in PROCESSES:
            path = folder / f"{process}.parquet"
            events = ak.from_parquet(path)
            if spoil:
                own = fold_of(ak.to_numpy(events.event)[:, np.newaxis], 2) == 0
                # Not monotonically: trees would not notice.
                events["MET_pt"] = np.where(own, 100 + 7 * events.MET_pt % 90, events.MET_pt)
                events["Jet_pt"] = ak.where(own, 31 + 7 * events.Jet_pt % 90, events.Jet_pt)
            events["MET_pt"] = events.MET_pt + 20  # everything is selected, spoilt or not
            ak.to_parquet(events, path)
        compare(analysis, folder / "out", methods=chosen, seeds=1)
        found.append(kept(folder / "out"))
    for method in ("network", *chosen):
        for fold in range(2):
            before, after = (content[f"{method}/fold-{fold}-seed-0"] for content in found)
            same = np.array_equal(before["validation"], after["validation"])
            assert same == (fold == 0), (method, fold)
        first, second = (content[f"{method}/fold-0-seed-0"]["test"] for content in found)
        assert not np.array_equal(first, second), "the events that it scores have changed"


def test_a_method_compared_with_itself_is_equal_without_error(
    done: tuple[Path, Analysis, dict[str, Any]],
) -> None:
    """The bootstrap is paired: what the methods share cancels."""
    out, analysis, _ = done
    same = [scores_of(out, analysis, "trees", 0)]
    found = compare_figures(
        {"network": same, "copy": same}, reference="network", working_points=(0.5,),
        background_uncertainty=0.1, folds=2, replicas=20,
    )  # fmt: skip
    versus = found["copy"]["versus"]
    assert (versus["auc"]["value"], versus["auc"]["error"]) == (0.0, 0.0)
    assert versus["rejection"]["0.5"]["value"] == 1.0
    assert versus["rejection"]["0.5"]["error"] == 0.0
    assert found["copy"]["auc"]["error"] > 0
    assert found["copy"]["auc"]["seed_error"] is None, "one seed has no spread"


def test_errors_of_seeds_and_events_add_in_quadrature(
    done: tuple[Path, Analysis, dict[str, Any]],
) -> None:
    _, _, result = done
    for method in result["methods"].values():
        for figure in (method["auc"], method.get("versus", method)["auc"]):
            parts = figure["seed_error"], figure["event_error"]
            assert min(parts) > 0
            assert figure["error"] == pytest.approx(np.hypot(*parts))


def test_the_report_shows_every_method(
    done: tuple[Path, Analysis, dict[str, Any]], tmp_path: Path
) -> None:
    _, _, result = done
    page = write_comparison(tmp_path, result)
    assert page == tmp_path / "index.html"
    text = page.read_text("utf-8")
    table = (tmp_path / "compare.md").read_text("utf-8")
    for name in ("network", *CHEAP):
        assert METHODS[name].label in text
        assert f"| {METHODS[name].label} |" in table
    assert text.count("data:image/svg+xml") == 2
    assert (tmp_path / "plots" / "roc.pdf").exists()
    assert "<script" not in text
    assert "weaver is not installed" not in text, "ParT was not asked for"


def test_a_damaged_outcome_is_named(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path)
    compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
    path = next((tmp_path / "out").glob("trained/trees-*/fold-1-seed-0.npz"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputFileError, match=r"fold-1-seed-0\.npz: damaged .* remove it to train"):
        compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)


def test_trained_again_where_an_event_changes_and_not_where_the_version_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = analysis_in(tmp_path)

    def outcomes() -> dict[str, int]:
        compare(analysis, tmp_path / "out", methods=("trees",), seeds=1)
        files = (tmp_path / "out").glob("trained/*/*.npz")
        return {str(file): file.stat().st_mtime_ns for file in files}

    first = outcomes()
    stored = (tmp_path / "out" / "store" / "manifest.json").read_bytes()
    module = importlib.import_module("particle_transformer.data.prepare")
    monkeypatch.setattr(module, "__version__", "another")
    assert outcomes() == first
    assert (tmp_path / "out" / "store" / "manifest.json").read_bytes() != stored, "prepared anew"
    path = next(tmp_path.glob("*.parquet"))
    events = ak.from_parquet(path)
    pt = ak.to_numpy(events.MET_pt).copy()
    pt[np.argmax(pt)] += 0.125
    ak.to_parquet(ak.with_field(events, pt, "MET_pt"), path)
    second = outcomes()
    assert len(second) == 2 * len(first)
    assert first.items() <= second.items()


@pytest.mark.slow
def test_every_method_of_an_analysis_with_momenta_and_three_classes(tmp_path: Path) -> None:
    path = small_analysis(tmp_path, epochs=1, pair_bias=True)
    content = yaml.safe_load(path.read_text())
    content["processes"]["wjets"]["class"] = "wjets"
    content["training"]["augmentation"] = ["flip_eta"]
    content["event"]["spectators"] = ["sum(jets.mass)"]
    content["compare"] = {"features": ["sum(jets.pt)"], "trees": {"rounds": 10}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    names = [name for name in METHODS if name != "part"]
    result = compare(load_analysis(path), tmp_path / "out", methods=names, seeds=1)
    assert list(result["methods"]) == names
    for method in result["methods"].values():
        assert 0 < method["auc"]["value"] < 1
        assert method["parameters"] > 0
        assert method["rate"] > 0


def test_unknown_method() -> None:
    with pytest.raises(AnalysisFileError, match=r"--method: got 'tree'; nearest: trees"):
        methods_module.choose_methods(["tree"])


@pytest.mark.parametrize(
    ("library", "wanted", "message"),
    [
        ("xgboost", (), r"xgboost is not installed .*\[compare\]"),
        ("weaver", ("part",), r"part: weaver is not installed; it comes with pip install weaver"),
    ],
)
def test_missing_library(
    monkeypatch: pytest.MonkeyPatch, library: str, wanted: tuple[str, ...], message: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(methods_module, "is_installed", lambda name: name != library)
    with pytest.raises(MissingExtraError, match=message):
        methods_module.choose_methods(wanted)


def test_part_is_left_out_where_it_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods_module, "is_installed", lambda name: False)
    chosen, absent = methods_module.choose_methods([])
    assert chosen == tuple(name for name in METHODS if name != "part")
    assert list(absent) == ["part"]


def test_unknown_engineered_feature(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path, compare={"features": ["sum(jets.p)"]})
    with pytest.raises(
        InputFileError, match=r"field 'p' of jets .* in expression 'sum\(jets\.p\)'"
    ):
        compare(analysis, tmp_path / "out", methods=("trees",))
    assert not (tmp_path / "out").exists()


def test_an_objective_beyond_classification_is_refused(tmp_path: Path) -> None:
    analysis = analysis_in(
        tmp_path,
        event={"spectators": ["met.pt"]},
        training={"disco": {"against": ["met.pt"], "strength": 1.0}},
    )
    with pytest.raises(AnalysisFileError, match=r"training\.disco: .* compare an analysis file"):
        compare(analysis, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match=r"exists and holds no study .* give aot compare another"):
        compare(analysis, tmp_path / "other", methods=("trees",))


def test_events_that_do_not_suffice_leave_nothing(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path, training={"folds": 300})
    with pytest.raises(SampleError, match=r"use fewer folds"):
        compare(analysis, tmp_path / "out", methods=("trees",))
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    analysis_in(tmp_path)
    arguments = ["compare", str(tmp_path / "analysis.yaml"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--method", "trees", "--seeds", "1"])
    assert result.exit_code == 0, result.output
    assert "XGBoost" in result.output
    assert result.output.rstrip().endswith(f"report {tmp_path / 'out' / 'index.html'}")
    for name in ("compare.json", "compare.md", "index.html", "plots/ratios.pdf"):
        assert (tmp_path / "out" / name).exists()


def test_workers_give_the_same_classifiers(
    done: tuple[Path, Analysis, dict[str, Any]], tmp_path: Path
) -> None:
    out, analysis, _ = done
    compare(analysis, tmp_path / "out", methods=("trees",), seeds=1, workers=2)
    before, after = kept(out), kept(tmp_path / "out")
    assert len(after) == 4
    for name, content in after.items():
        assert np.array_equal(content["test"], before[name]["test"]), name


@pytest.mark.slow
def test_a_killed_comparison_goes_on_to_the_same_classifiers(tmp_path: Path) -> None:
    """Killed in the middle of a training, whose first epochs are not repeated and count."""
    analysis = analysis_in(tmp_path, training={"epochs": 30, "patience": 30})
    arguments = [
        "compare",
        str(tmp_path / "analysis.yaml"),
        "--method",
        "deep_sets",
        "--seeds",
        "1",
    ]
    command = [sys.executable, "-m", "particle_transformer.cli", *arguments, "--workers", "2"]
    with subprocess.Popen([*command, "--out", str(tmp_path / "killed")]) as program:
        clocks = "unfinished/network-*/fold-0-seed-0/seconds.json"
        while not (found := list((tmp_path / "killed").glob(clocks))):
            assert program.poll() is None
            time.sleep(0.01)
        program.kill()
        program.wait()
    time.sleep(1)  # its workers end as they see it
    before = float(found[0].read_text())
    assert not (tmp_path / "killed" / "compare.json").exists()
    subprocess.run([*command, "--out", str(tmp_path / "killed")], check=True)
    compare(analysis, tmp_path / "whole", methods=("deep_sets",), seeds=1)
    killed, whole = kept(tmp_path / "killed"), kept(tmp_path / "whole")
    assert killed.keys() == whole.keys()
    for name, content in whole.items():
        assert np.array_equal(content["test"], killed[name]["test"]), name
    assert float(killed["network/fold-0-seed-0"]["seconds"]) > before


def test_a_method_may_have_another_number_of_seeds(
    done: tuple[Path, Analysis, dict[str, Any]], trainings: list[tuple[str, int, int]]
) -> None:
    out, analysis, result = done
    fewer = compare(analysis, out, methods=CHEAP, seeds=2, seeds_of={"trees": 1})
    assert trainings == []
    assert [method["seeds"] for method in fewer["methods"].values()] == [2, 1, 2]
    trees = fewer["methods"]["trees"]
    assert trees["auc"]["seed_error"] is None
    network = fewer["methods"]["network"]
    assert network["auc"] == result["methods"]["network"]["auc"]
    difference = network["auc"]["value"] - trees["auc"]["value"]
    assert trees["versus"]["auc"]["value"] == pytest.approx(difference)
    compare(analysis, out, methods=CHEAP, seeds=2)  # as the other tests expect it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trees", "--seeds-of: got 'trees', expected METHOD=N with a number from 1 on"),
        ("tree=2", "--seeds-of: tree is not compared; nearest: trees"),
    ],
)
def test_mistakes_in_the_numbers_of_seeds(tmp_path: Path, text: str, message: str) -> None:
    analysis_in(tmp_path)
    arguments = ["compare", str(tmp_path / "analysis.yaml"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--method", "trees", "--seeds-of", text])
    assert result.exit_code != 0
    assert message in str(result.exception)
