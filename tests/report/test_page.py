"""The page: complete, self-contained, equal to the metrics, whole or absent."""

from __future__ import annotations

import base64
import html.parser
import io
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from evaluation.samples import PROCESSES, realistic
from particle_transformer.errors import MissingExtraError, OutputError, SampleError
from particle_transformer.evaluation import evaluate, sculpting
from particle_transformer.report import ReportContent, write_report
from particle_transformer.report.curves import auc_by_fold
from particle_transformer.report.drawings import Drawing
from particle_transformer.report.numbers import figure_text, with_error
from particle_transformer.report.style import styled


@dataclass
class Row:
    process: str
    era: str
    cut: str
    events: int
    yield_: float
    yield_error: float


@pytest.fixture(scope="module")
def content():
    test = realistic(3000)
    metrics = evaluate(
        test,
        realistic(2000, seed=2, share=0.4),
        working_points=[0.3, 0.5, 0.7],
        background_uncertainty=0.1,
        folds=3,
        signal_regions=["signal"],
        bootstrap=20,
    )
    return ReportContent(
        title="tt̄H <invisible> & co",
        metrics=metrics,
        test=test,
        luminosity="59.8 fb⁻¹ (13 TeV)",
        signal_regions=["signal"],
        cutflow=[
            Row(name, "2018", cut, 1000, 1234.0, 12.0)
            for name in PROCESSES
            for cut in ("all events", "met.pt > 200")
        ],
        history={
            fold: [{"epoch": e, "train_loss": 1 / (1 + e), "val_loss": 0.5} for e in range(3)]
            for fold in range(3)
        },
        features={"MET [GeV]": np.linspace(0, 500, len(test))},
        settings={"Folds": 3},
        provenance={"Version": "0.1.0"},
        notes=["Cross-sections are of leading order."],
    )


@pytest.fixture(scope="module")
def page(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "report" / "index.html"
    assert write_report(path, content=content) == path
    return path


class Outline(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "srcset", "data"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_and_loads_nothing(page):
    text = page.read_text("utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert len(outline.links) == 8
    assert all(link.startswith("data:image/svg+xml;base64,") for link in outline.links)
    assert not {"script", "link", "iframe", "object"} & set(outline.tags)
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    for link in outline.links:
        drawing = base64.b64decode(link.partition(",")[2]).decode()
        # Namespaces are names, not addresses that anybody loads.
        assert not re.search(r'(?:href|src)="(?!#)', drawing)


def test_page_shows_the_figures_of_the_metrics(page, content):
    text = page.read_text("utf-8")
    metrics = content.metrics
    figures = [metrics["auc"], metrics["auc_unweighted"], metrics["significance"]]
    figures += metrics["rejection"].values()
    for process in PROCESSES[1:]:
        figures.append(metrics["processes"][process]["auc"])
        figures += metrics["processes"][process]["rejection"].values()
    figures += [region["auc"] for region in metrics["regions"].values()]
    for figure in figures:
        assert "±" in figure_text(figure)
        assert figure_text(figure) in text
    card = re.search(r'<div class="value">(.*?)</div>', text)
    assert card is not None
    assert card[1] == figure_text(metrics["auc"])


def test_page_tells_the_roles_the_limits_and_the_cutflow(page):
    text = page.read_text("utf-8")
    assert "that never saw it" in text
    assert "Cross-sections are of leading order." in text
    assert "59.8 fb⁻¹ (13 TeV)" in text
    assert "tt̄H &lt;invisible&gt; &amp; co" in text
    assert text.count("1\u202f234 ± 12") == 8
    assert "met.pt &gt; 200" in text


def test_plots_are_saved_beside_the_page(page):
    names = {path.name for path in (page.parent / "plots").iterdir()}
    assert {"score.pdf", "roc.pdf", "training.pdf", "features.pdf"} < names
    assert all(p.read_bytes().startswith(b"%PDF") for p in (page.parent / "plots").iterdir())
    assert sorted(p.name for p in page.parent.iterdir()) == ["index.html", "plots"]


def test_equal_content_gives_equal_plots(page, content):
    with styled():
        figure = auc_by_fold(content.metrics)
        again = io.BytesIO()
        figure.savefig(again, format="svg", metadata={"Date": None})
    text = page.read_text("utf-8")
    assert base64.b64encode(again.getvalue()).decode() in text


@pytest.fixture(scope="module")
def decorrelated(content):
    """The content with spectators, and another run before."""
    test, validation = content.test, realistic(2000, seed=2, share=0.4)
    earlier = replace(test, score=test.score**2)
    rng = np.random.default_rng(1)
    spectators = {"met.pt": rng.exponential(100, len(test)), "m_jj < 2": test.score + 0.0}
    regions: dict[str, Any] = {"folds": 3, "signal_regions": ["signal"]}
    metrics = dict(content.metrics)
    metrics["sculpting"] = sculpting(test, validation, spectators, **regions)
    other = evaluate(
        earlier, validation, working_points=[0.3, 0.5, 0.7], background_uncertainty=0.1,
        bootstrap=5, **regions,
    )  # fmt: skip
    metrics["before"] = {
        "run": "runs/plain",
        "auc": other["auc"],
        "rejection": other["rejection"],
        "sculpting": sculpting(earlier, validation, spectators, **regions),
    }
    return replace(content, metrics=metrics, spectators=spectators, before=earlier)


def test_sculpting_is_shown_before_and_after(decorrelated, tmp_path):
    page = write_report(tmp_path / "index.html", content=decorrelated)
    text = page.read_text("utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert len(outline.links) == 10
    metrics = decorrelated.metrics
    section = text.partition("<h2>Background sculpting</h2>")[2].partition("<h2>")[0]
    for run in (metrics, metrics["before"]):
        for figure in run["sculpting"]["spectators"].values():
            assert f"<td>{with_error(figure['value'], None, 2)}</td>" in section
    assert "<td>m_jj &lt; 2</td>" in section
    effective = metrics["sculpting"]["spectators"]["met.pt"]["effective_events"]
    assert f"<td>{with_error(np.sqrt(2) / effective, None, 1)}</td>" in section
    assert section.count("<figure") == 2
    assert section.count("dCorr²<br>before") == 1
    compared = text.partition("<h2>Before and after</h2>")[2].partition("<h2>")[0]
    assert "the networks of runs/plain" in compared
    for figure in (metrics["auc"], metrics["before"]["auc"], *metrics["rejection"].values()):
        assert f"<td>{figure_text(figure)}</td>" in compared
    assert {"sculpting_0.pdf", "sculpting_1.pdf"} < {
        path.name for path in (tmp_path / "plots").iterdir()
    }


def test_sculpting_of_one_run(decorrelated, tmp_path, monkeypatch):
    drawing = Drawing("sculpting_0", "", "", False, 5.6, b"svg", b"pdf")
    monkeypatch.setattr(
        "particle_transformer.report.drawings.draw", lambda *_: {"sculpting_0": drawing}
    )
    metrics = {key: value for key, value in decorrelated.metrics.items() if key != "before"}
    alone = replace(decorrelated, metrics=metrics, before=None)
    text = write_report(tmp_path / "index.html", content=alone).read_text("utf-8")
    assert "Before and after" not in text
    section = text.partition("<h2>Background sculpting</h2>")[2].partition("<h2>")[0]
    assert "before" not in section
    assert section.count("<figure><img") == 1


def test_a_run_without_spectators_has_no_such_section(page):
    text = page.read_text("utf-8")
    assert "Background sculpting" not in text
    assert "Before and after" not in text


def test_undefined_figures_are_shown_with_their_reason(content, tmp_path):
    signal = content.test.select(content.test.is_signal)
    metrics = evaluate(
        signal, signal, working_points=[0.5], background_uncertainty=0.1, folds=3, bootstrap=5
    )
    bare = ReportContent(title="x", metrics=metrics, test=signal, luminosity="1 fb⁻¹")
    text = write_report(tmp_path / "index.html", content=bare).read_text("utf-8")
    assert '<div class="value">undefined</div>' in text
    assert "no background event" in text


def test_no_event_in_the_signal_region(content, tmp_path):
    nothing = content.test.select(np.zeros(len(content.test), dtype=bool))
    metrics = evaluate(
        nothing, nothing, working_points=[0.5], background_uncertainty=0.1, folds=3, bootstrap=5
    )
    bare = ReportContent(title="x", metrics=metrics, test=nothing, luminosity="1 fb⁻¹")
    text = write_report(tmp_path / "index.html", content=bare).read_text("utf-8")
    assert "no signal event" in text


def test_unwritable_place(content, tmp_path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(OutputError, match=r"plots: cannot be written"):
        write_report(tmp_path / "report" / "index.html", content=content)


def test_link_to_the_explanation_where_it_is(content, page, tmp_path):
    assert "explain.html" not in page.read_text("utf-8")
    (tmp_path / "explain.html").touch()
    text = write_report(tmp_path / "index.html", content=content).read_text("utf-8")
    assert '<a href="explain.html">' in text


def test_page_that_fails_leaves_the_old_one(content, tmp_path, monkeypatch):
    path = tmp_path / "index.html"
    path.write_text("old")

    drawing = Drawing("roc", "", "", False, 6.4, b"svg", b"pdf")
    monkeypatch.setattr("particle_transformer.report.drawings.draw", lambda *_: {"roc": drawing})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(path, content=content)
    assert path.read_text() == "old"
    assert not list(tmp_path.rglob("*.partial*"))


def test_misaligned_feature(content):
    with pytest.raises(SampleError, match=r"feature 'MET' has shape \(2,\), expected \(3000,\)"):
        replace(content, features={"MET": np.zeros(2)})
    with pytest.raises(SampleError, match=r"spectator 'x' has shape \(2,\), expected \(3000,\)"):
        replace(content, spectators={"x": np.zeros(2)})
    with pytest.raises(SampleError, match=r"before has shape \(5,\), expected \(3000,\)"):
        replace(content, before=content.test.select(np.arange(5)))


def test_missing_library_is_one_sentence(content, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mplhep", None)
    with pytest.raises(
        MissingExtraError, match=r"pip install 'analysis-object-transformer\[report"
    ):
        write_report(tmp_path / "index.html", content=content)
    assert not (tmp_path / "index.html").exists()


def test_import_is_light():
    code = (
        "import sys, particle_transformer.report as r; "
        "heavy = {'matplotlib', 'mplhep', 'hist', 'jinja2', 'torch'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
