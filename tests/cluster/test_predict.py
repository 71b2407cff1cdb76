"""Scoring on a cluster: the same bytes as on one machine, whatever happens to its workers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uproot

from helpers.baskets import damage_baskets, write_baskets
from helpers.files import make_analysis, make_sample
from helpers.untrained import untrained_run
from particle_transformer.distributed import DaskRunner, connect
from particle_transformer.errors import InputFileError
from particle_transformer.inference.predict import predict

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.artefact.run_folder import RunFolder

pytest.importorskip("distributed")

CHUNK, ENTRIES = 20, 100

NETWORK = {
    "embed_dims": 8, "linear_dims1": 8, "linear_dims2": 8, "mlp_hidden_1": 8, "mlp_hidden_2": 8,
    "num_heads": 2, "num_att_blocks": 1, "num_class_blocks": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(
        sys.modules["particle_transformer.inference.predict.run"], "CHUNK_ENTRIES", CHUNK
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    for number, name in enumerate(("s.root", "b.root")):
        write_baskets(folder / name, make_sample(number, ENTRIES, first_event=1000 * number), CHUNK)
    return folder


@pytest.fixture(scope="module")
def run(base: Path) -> RunFolder:
    changes: dict[str, Any] = {
        "training": {"folds": 3}, "model": NETWORK,
        "variations": {"JES": {"up": {"jets.pt": "pt * 1.1"}}},
    }  # fmt: skip
    return untrained_run(make_analysis(base, **changes), base / "run")


def check_as_here(base: Path, run: RunFolder, out: Path, runner: DaskRunner) -> None:
    """Parquet is that of this machine byte for byte, the columns of ROOT bit for bit."""
    files = [str(base / "s.root"), str(base / "b.root")]
    for output_format in ("parquet", "friend"):
        here = predict(run.path, files, out / "here", output_format=output_format)
        there = predict(run.path, files, out / "there", output_format=output_format, runner=runner)
        for one, other in zip(here, there, strict=True):
            if output_format == "parquet":
                assert one.path.read_bytes() == other.path.read_bytes()
                continue
            with uproot.open(one.path) as first, uproot.open(other.path) as second:
                columns = second["scores"].arrays(library="np")
                for name, values in first["scores"].arrays(library="np").items():
                    assert values.tobytes() == columns[name].tobytes(), name
                    assert values.dtype == columns[name].dtype
                assert len(np.unique(columns["score"])) > 50


@pytest.mark.slow
def test_the_same_on_two_workers(base, run, client, tmp_path):
    check_as_here(base, run, tmp_path, DaskRunner(client))


@pytest.mark.slow
def test_the_same_on_one_worker(base, run, tmp_path):
    with connect("local[1]") as client:
        check_as_here(base, run, tmp_path, DaskRunner(client))


@pytest.mark.slow
def test_a_chunk_that_cannot_be_read_leaves_the_others(base, run, client, tmp_path):
    write_baskets(tmp_path / "s.root", make_sample(5, ENTRIES), CHUNK)
    healthy = damage_baskets(tmp_path / "s.root", 3)
    files, out = [str(tmp_path / "s.root"), str(base / "b.root")], tmp_path / "out"
    message = r"s.root: .* \[1 of 10 chunks could not be read; 1 of 2 files are finished"
    with pytest.raises(InputFileError, match=message):
        predict(run.path, files, out, runner=DaskRunner(client))
    assert sorted(path.name for path in out.glob("*.root")) == ["b.root"]
    (tmp_path / "s.root").write_bytes(healthy)
    first, second = predict(run.path, files, out, runner=DaskRunner(client))
    assert (first.made, second.made) == (True, False)
    assert sorted(path.name for path in out.iterdir()) == ["b.root", "s.root"]
