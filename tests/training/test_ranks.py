"""Several ranks train the same network as one process with the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from helpers.runs import small_analysis
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.cli import commands
from particle_transformer.config import load_analysis
from particle_transformer.errors import RankError
from particle_transformer.training import ranks
from particle_transformer.training.ranks import ALONE, Ranks, gather_objects, gathered, joined
from particle_transformer.training.run import train
from training import work_in_ranks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RANKS = 2

LAUNCH = f"""
import sys
from particle_transformer.training.launch import launch
sys.exit(launch(sys.argv[1:], {RANKS}))
"""

CHANGES: dict[str, dict[str, Any]] = {
    "regression": {"loss": "focal", "regression": {"targets": "met.pt"}, "ema": 0.9, "epochs": 6},
    "disco": {
        "sampling": "stratified", "accumulate": 3, "disco": {"against": "met.pt", "strength": 2.0}
    },
    "double disco": {"double_disco": {"strength": 2.0}},
    "auto": {"learning_rate": "auto"},
}  # fmt: skip

ROUNDING = {"regression": 1e-5, "disco": 2e-4, "double disco": 2e-4, "auto": 1e-4}
"""Relative; a distance correlation of the events of one rank alone would be off by 1e-2."""


def write_analysis(folder: Path, changes: dict[str, Any]) -> Path:
    """A tiny analysis whose batches have odd numbers of events."""
    folder.mkdir(exist_ok=True)
    file = small_analysis(folder)
    content = yaml.safe_load(file.read_text())
    content["event"]["spectators"] = ["met.pt"]
    content["objects"]["no_jets"] = {**content["objects"]["jets"], "select": "pt > 1e6"}
    content["training"].update({"batch_size": 63, **changes})
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of all analyses, of one process and of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    work = []
    for name, changes in CHANGES.items():
        file = write_analysis(folder / name, changes)
        train(load_analysis(file), folder / name / "alone")
        work.append((str(file), str(folder / name / "together")))
    (folder / "work.json").write_text(json.dumps(work))
    result = subprocess.run(
        [
            sys.executable, "-c",
            LAUNCH,
            work_in_ranks.__file__, str(folder),
        ],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    (folder / "printed").write_text(result.stdout)
    return folder


def networks(run: Path) -> list[dict[str, Any]]:
    record: dict[str, Any] = json.loads(RunFolder(run).record.read_text())
    found: list[dict[str, Any]] = record["networks"]
    return found


def weights(run: Path, fold: int) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = load_file(
        RunFolder(run).network(fold) / "model.safetensors"
    )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_ranks_train_the_same_network_as_one_process(trained: Path, name: str) -> None:
    alone, together = networks(trained / name / "alone"), networks(trained / name / "together")
    for one, two in zip(alone, together, strict=True):
        assert two["events"] == one["events"]
        assert two["training_events"] == one["training_events"]
        assert two["learning_rate"] == pytest.approx(one["learning_rate"])
        for before, now in zip(one["history"], two["history"], strict=True):
            assert now == pytest.approx(before, rel=ROUNDING[name])
        first = weights(trained / name / "alone", one["fold"])
        second = weights(trained / name / "together", one["fold"])
        assert first.keys() == second.keys()
        for key, values in first.items():
            if not key.endswith("key_value.bias"):  # softmax does not depend on the keys' bias
                np.testing.assert_allclose(second[key], values, atol=1e-3, err_msg=key)
    record = json.loads(RunFolder(trained / name / "together").record.read_text())
    assert record["ranks"] == RANKS


@pytest.mark.slow
def test_every_event_is_in_one_batch_of_one_rank(trained: Path) -> None:
    for number, name in enumerate(CHANGES):
        parts = [
            json.loads((trained / f"events{number}_{rank}.json").read_text())
            for rank in range(RANKS)
        ]
        own = networks(trained / name / "together")
        epochs = [network["events"]["training"] for network in own for _ in network["history"]]
        found = [sum(map(sum, epoch)) for epoch in zip(*parts, strict=True)]
        assert found == epochs
        assert parts[0] != parts[1]  # or the shares of ranks that differ would not be tested


@pytest.mark.slow
def test_rows_of_all_ranks_and_their_gradient(trained: Path) -> None:
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    rows = work_in_ranks.values_of_all() * factor
    value = work_in_ranks.function_of_all(rows)
    value.backward()
    assert factor.grad is not None
    for rank in range(RANKS):
        found = np.load(trained / f"rank{rank}.npz")
        np.testing.assert_array_equal(found["rows"], rows.detach().numpy())
        assert float(found["value"]) == value.item()
        # Of a product of own rows with those of others each rank has one half.
        assert float(found["gradient"]) == pytest.approx(factor.grad.item(), rel=1e-12)


@pytest.mark.slow
def test_library_and_lightning_print_nothing(trained: Path) -> None:
    assert (trained / "printed").read_text() == ""


def test_alone_there_are_no_others() -> None:
    values = torch.randn(3, 2)
    assert gathered(values) is values
    assert gather_objects("own") == ["own"]
    with joined() as alone:
        assert alone is ALONE
        assert alone.agreed(5) == 5


def test_the_devices_are_those_that_were_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two = Ranks(size=2, per_node=2)
    monkeypatch.setattr(ranks, "started_as", lambda: two)
    monkeypatch.setattr(ranks, "joined", lambda: nullcontext(two))
    with pytest.raises(
        RankError,
        match=r"^--devices 3: torchrun or srun started 2 processes on this machine; leave "
        r"--devices out$",
    ):
        commands.train(tmp_path / "analysis.yaml", tmp_path / "run", devices=3)
