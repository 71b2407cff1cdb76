"""The wheel and the source distribution: what they contain, and that they work where installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from release.environments import environment, installable

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
pytest.importorskip("build")
if not (REPOSITORY / ".git").exists():
    pytest.skip("no git checkout to build from", allow_module_level=True)

VERSION = "1.2.3"
ANALYSIS = """
name: made-up
source: {event_number: event}
luminosity: 10
processes:
  signal: {class: signal, cross_section: 1, files: events.parquet}
  background: {class: background, cross_section: 10, files: other.parquet}
objects: {jets: {collection: Jet, features: [pt]}}
event: {features: [MET_pt], select: MET_pt > 0}
"""
CORRECTED = ANALYSIS + "weights: {pu: {file: c.json, correction: x, inputs: [MET_pt]}}\n"


class Command(NamedTuple):
    """A command line, the extra it needs, and what it says where the extra is installed."""

    words: Sequence[str]
    extra: str
    otherwise: str


COMMANDS = [
    Command(["simulate", "--out", "analysis.yaml"], "sim", "analysis.yaml"),
    Command(
        ["prepare", "analysis.yaml", "--out", "s", "--dask", "tcp://127.0.0.1:1"],
        "dask",
        "127.0.0.1:1",
    ),
    Command(["evaluate", "run"], "report", "run"),
    Command(["explain", "run"], "report", "run"),
    Command(["compare", "nothing.yaml", "--out", "c"], "compare", "nothing.yaml: cannot read"),
    Command(["tune", "nothing.yaml", "--out", "t"], "tune", "nothing.yaml: cannot read"),
    Command(["export", "run", "--to", "onnx", "--out", "x.onnx"], "export", "run"),
    Command(["validate", "corrected.yaml"], "corrections", "c.json"),
]


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Not even PYTHONPATH: the environment has what it has.
    clean = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd,
        env={**clean, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel, made from the source distribution, of a tagged clone."""
    folder = tmp_path_factory.mktemp("built")
    clone, out = folder / "clone", folder / "dist"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    subprocess.run(["git", "-C", clone, "tag", f"v{VERSION}"], check=True)
    made = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, clone)
    assert made.returncode == 0, made.stdout + made.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and no extra."""
    return environment(tmp_path_factory.mktemp("bare"), wheel)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with analysis files and the events they name."""
    columns = {
        "event": np.arange(4),
        "MET_pt": [1.0, 2.0, 3.0, 4.0],
        "Jet_pt": [[5.0], [], [6.0], []],
    }
    table = pa.table(columns)
    for name in ("events", "other"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    (tmp_path / "analysis.yaml").write_text(ANALYSIS)
    (tmp_path / "corrected.yaml").write_text(CORRECTED)
    (tmp_path / "c.json").write_text("{}")  # no correction
    return tmp_path


def test_the_version_is_the_tags(built: Path) -> None:
    assert sorted(file.name for file in built.iterdir()) == [
        f"analysis_object_transformer-{VERSION}-py3-none-any.whl",
        f"analysis_object_transformer-{VERSION}.tar.gz",
    ]


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    listed = run("git", "-C", REPOSITORY, "ls-tree", "-r", "--name-only", "HEAD", "src/")
    tracked = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    assert len(tracked) > 100
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == tracked | {"particle_transformer/_version.py"}


def test_the_source_distribution_has_what_builds_tests_and_documents_it(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md",
        "constraints.txt", "Makefile", "noxfile.py", "docs/conf.py", "examples/nanoaod.yaml",
        "benchmarks/RESULTS.md", "tests/release/test_wheel.py", "src/particle_transformer/py.typed",
    ):  # fmt: skip
        assert name in names


def test_without_extras_it_answers_and_computes(bare: Path, work: Path) -> None:
    assert run(bare / "aot", "--version").stdout == f"{VERSION}\n"
    valid = run(bare / "aot", "validate", "analysis.yaml", cwd=work)
    assert "valid; 2 processes" in valid.stdout, valid.stderr
    code = (
        "import torch; from particle_transformer import AnalysisObjectTransformer as A; "
        "print(tuple(A(6, 2)(torch.ones(3, 4, 6), torch.ones(3, 2)).shape))"
    )
    computed = run(bare / "python", "-c", code, cwd=work)
    assert computed.stdout == "(3, 1)\n", computed.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words[0])
def test_a_missing_extra_is_one_sentence(bare: Path, work: Path, command: Command) -> None:
    said = run(bare / "aot", *command.words, cwd=work)
    assert said.returncode == 1
    (line,) = said.stderr.strip().splitlines()
    assert " is not installed " in line
    assert line.endswith(f"pip install 'analysis-object-transformer[{command.extra}]'")


def test_the_module_for_transformers_names_its_extra(bare: Path, work: Path) -> None:
    said = run(bare / "python", "-c", "import particle_transformer.transformers", cwd=work)
    assert said.stderr.endswith("pip install 'analysis-object-transformer[hub]'\n")


@pytest.mark.parametrize("extra", sorted({command.extra for command in COMMANDS}))
def test_each_extra_is_enough_for_its_commands(
    wheel: Path, work: Path, extra: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not installable(wheel, [extra]):
        pytest.skip(f"this environment lacks what [{extra}] installs")
    programs = environment(tmp_path_factory.mktemp(extra), wheel, [extra])
    for command in COMMANDS:
        if command.extra == extra:
            said = run(programs / "aot", *command.words, cwd=work)
            assert said.returncode == 1
            assert "is not installed" not in said.stderr
            assert command.otherwise in said.stderr
