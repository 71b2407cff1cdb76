"""Trainings that begin from another network: honest, resumable, and said what was taken over."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner

from helpers.runs import run_content, small_analysis, write_inputs
from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.cli.main import app, main
from particle_transformer.config import Analysis, load_analysis, with_space
from particle_transformer.data import Store
from particle_transformer.errors import AnalysisFileError, AOTError, InputFileError
from particle_transformer.network_files.folder import read_network, rewrite_network
from particle_transformer.studies.compare.trained import fingerprint
from particle_transformer.training import network as network_module
from particle_transformer.training.initial import with_initial
from particle_transformer.training.network import new_network
from particle_transformer.training.run import train
from particle_transformer.training.task import NetworkTask

if TYPE_CHECKING:
    from pathlib import Path


class Killed(BaseException):
    """Ends a training where a test wants it."""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with other events than those of `analysis_in`."""
    folder = tmp_path_factory.mktemp("older")
    write_inputs(folder, events=401, seed=7)
    analysis = load_analysis(small_analysis(folder, epochs=1, write=False, pair_bias=True))
    return train(analysis, folder / "run")


def analysis_file(folder: Path, init: Path | str | None = None, **sections: Any) -> Path:
    """An analysis file with one feature that the older network does not have, and one less."""
    path = small_analysis(folder, epochs=2, write=not list(folder.glob("*.parquet")))
    content = yaml.safe_load(path.read_text())
    content["objects"]["jets"]["features"] = ["eta", "log( pt )", "log(max(mass, 1))"]
    content["training"] |= {"loggers": "csv"} | ({} if init is None else {"init": str(init)})
    content["model"] = {"dropout": 0.1}
    for name, values in sections.items():
        content[name] = {**content[name], **values}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def analysis_in(folder: Path, init: Path | str | None = None, **sections: Any) -> Analysis:
    return load_analysis(analysis_file(folder, init, **sections))


def one_network(run: Path) -> Path:
    return RunFolder(run).network(0)


def begun(analysis: Analysis, run: Path, fold: int) -> torch.nn.Module:
    """The network of a fold before its training, with the events of a run."""
    return new_network(analysis, Store(RunFolder(run).store()).manifest, NetworkTask(fold))


def test_a_run_says_what_it_began_from(older: Path, tmp_path: Path) -> None:
    run = train(analysis_in(tmp_path, one_network(older)), tmp_path / "run")
    init = RunFolder(run).read_record()["init"]
    assert init["network"] == str(one_network(older))
    assert init["objects"]["jets"] == {
        "of": "jets", "reused": ["eta", "log( pt )"], "new": ["log(max(mass, 1))"],
        "unused": ["delta_phi(phi, met.phi)"],
    }  # fmt: skip
    assert init["event"]["new"] == []
    assert init["fresh"] == []
    assert "last layer" in init["reused"]
    resolved = load_analysis(RunFolder(run).analysis)
    assert (resolved.model.embed_dims, resolved.model.num_heads) == (8, 2)
    assert resolved.model.pair_bias
    assert resolved.model.dropout == 0.1


def test_nothing_is_said_where_nothing_is_taken(older: Path) -> None:
    assert RunFolder(older).read_record()["init"] is None


def test_each_network_begins_from_that_of_its_own_fold(older: Path, tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path, older)
    for fold in range(2):
        model = begun(analysis, older, fold)
        before, _ = load_artefact(RunFolder(older).network(fold))
        for name, value in model.state_dict().items():
            if name.startswith(("att_blocks", "class_", "pair_bias")):
                torch.testing.assert_close(value, before.state_dict()[name], rtol=0, atol=0)


def test_a_run_of_the_same_events_serves_fold_by_fold(older: Path, tmp_path: Path) -> None:
    """Its network of fold f has not read fold f; one network for all folds has."""
    run = train(analysis_in(tmp_path, older), tmp_path / "run")
    again = analysis_in(tmp_path, run, objects={"jets": {
        "collection": "Jet", "features": ["log(pt)", "abs(eta)"], "sort_by": "pt",
    }})  # fmt: skip
    train(again, tmp_path / "again")
    _, metadata = load_artefact(one_network(tmp_path / "again"))
    assert set(metadata["ancestors"]) == set(load_artefact(one_network(older))[1]["inputs"])
    with pytest.raises(AnalysisFileError, match=r"trained with .*signal\.parquet, which this"):
        train(analysis_in(tmp_path, one_network(run)), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_what_the_older_network_began_from_counts(older: Path, tmp_path: Path) -> None:
    run = train(analysis_in(tmp_path, one_network(older)), tmp_path / "run")
    for name in ("signal", "ttbar", "wjets"):
        shutil.copy(older.parent / f"{name}.parquet", (tmp_path / f"{name}.parquet"))
    for init in (run, one_network(run)):
        with pytest.raises(AnalysisFileError, match="began itself from a network that was trained"):
            train(analysis_in(tmp_path, init), tmp_path / "refused")


def test_other_identities_are_other_folds(older: Path, tmp_path: Path) -> None:
    run = train(analysis_in(tmp_path), tmp_path / "run")
    source: dict[str, Any] = {"event_number": None, "identity": []}
    analysis = analysis_in(tmp_path, run, source=source)
    with pytest.raises(AOTError, match="identified by event, here by a hash of their columns"):
        train(analysis, tmp_path / "refused")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"embed_dims": 16}, 'embed_dims 16, .* or give embed_dims: 8'),
        ({"num_heads": 4, "num_att_blocks": 2},
         "got num_heads 4, num_att_blocks 2, .* give num_heads: 2, num_att_blocks: 1"),
        ({"feedforward": "swiglu"}, 'got feedforward "swiglu", .* give feedforward: "gelu"'),
    ],
)  # fmt: skip
def test_other_widths_are_refused(
    older: Path, tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnalysisFileError, match=message) as error:
        train(analysis_in(tmp_path, older, model=model), tmp_path / "run")
    assert "linear_dims" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_what_the_file_gives_may_leave_a_part_out(older: Path, tmp_path: Path) -> None:
    analysis = with_initial(analysis_in(tmp_path, older, model={"pair_bias": False}))
    assert not analysis.model.pair_bias
    assert with_initial(load_analysis(analysis_file(tmp_path, older))).model.pair_bias


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "neither a network"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "sha256"),
        (lambda folder: forget(folder, "inputs"), "no inputs in its metadata"),
    ],
)
def test_a_network_that_cannot_serve(older: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    folder = tmp_path / "network"
    shutil.copytree(one_network(older), folder)
    spoil(folder)
    with pytest.raises(InputFileError, match=message) as error:
        train(analysis_in(tmp_path, "network"), tmp_path / "run")
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def forget(folder: Path, key: str) -> None:
    network = read_network(folder)
    del network.metadata[key]
    rewrite_network(folder, network)


def test_a_run_that_was_not_copied_whole(older: Path, tmp_path: Path) -> None:
    shutil.copytree(older, tmp_path / "older")
    shutil.rmtree(RunFolder(tmp_path / "older").network(1))
    with pytest.raises(InputFileError, match=r"fold-1/network-0.*missing; copy all of the run"):
        train(analysis_in(tmp_path, "older"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_number_of_folds_than_the_run(older: Path, tmp_path: Path) -> None:
    with pytest.raises(AnalysisFileError, match=r"has 2 folds, this analysis 3; .*one network"):
        train(analysis_in(tmp_path, older, training={"folds": 3}), tmp_path / "run")


def test_resumed_bit_for_bit(older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init = tmp_path / "init"
    shutil.copytree(one_network(older), init)
    analysis = analysis_in(tmp_path, init)
    train(analysis, tmp_path / "whole")

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(network_module, "save_artefact", kill)
        with pytest.raises(Killed):
            train(analysis, tmp_path / "broken")
    (kept,) = (tmp_path / "broken" / "checkpoints").glob("fold-0/network-0/last.ckpt")
    assert kept.exists()
    shutil.move(init, tmp_path / "elsewhere")
    shutil.copytree(RunFolder(older).network(1), init)
    with pytest.raises(InputFileError, match="it is another network than when the training"):
        train(analysis, tmp_path / "broken", resume=True)
    shutil.rmtree(init)
    shutil.move(tmp_path / "elsewhere", init)
    train(analysis, tmp_path / "broken", resume=True)
    assert run_content(tmp_path / "broken") == run_content(tmp_path / "whole")


def test_the_option_is_the_key(older: Path, tmp_path: Path) -> None:
    """Both train the same; the option goes before the file's, and the table says what was taken."""
    file = analysis_file(tmp_path)
    arguments = ["train", str(file), "--out", str(tmp_path / "run"), "--no-plots"]
    shown = CliRunner().invoke(app, [*arguments, "--init", str(one_network(older))])
    assert shown.exit_code == 0, shown.output
    assert f"began from {one_network(older)}" in shown.output.replace("\n", "")
    assert "reused eta, log( pt ); new log(max(mass, 1));" in " ".join(shown.output.split())
    train(analysis_in(tmp_path, one_network(older)), tmp_path / "key")
    assert run_content(tmp_path / "key") == run_content(tmp_path / "run")
    analysis_file(tmp_path)  # without the key
    resumed = CliRunner().invoke(app, [*arguments, "--resume"])
    assert "training.init" in str(resumed.exception)


def test_a_study_keeps_the_widths(older: Path, tmp_path: Path) -> None:
    space = with_space(with_initial(analysis_in(tmp_path, older))).tuning.space
    assert "model.dropout" in space
    assert not {"model.embed_dims", "model.num_att_blocks"} & set(space)
    content = yaml.safe_load(analysis_file(tmp_path, older).read_text())
    content["tuning"] = {"space": {"model.embed_dims": [8, 16]}}
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(AnalysisFileError, match=r"model\.embed_dims: cannot be tuned with"):
        load_analysis(tmp_path / "tuned.yaml")


def test_a_comparison_trains_anew_what_begins_anew(older: Path, tmp_path: Path) -> None:
    plain = with_initial(analysis_in(tmp_path, older)).model
    one = with_initial(analysis_in(tmp_path, one_network(older)))
    other = with_initial(analysis_in(tmp_path, RunFolder(older).network(1)))
    without = one.model_copy(update={"training": one.training.model_copy(update={"init": None})})
    assert one.model == plain
    of_network = [fingerprint(each, "events", "network") for each in (one, other, without)]
    assert len(set(of_network)) == 3
    of_peer = [fingerprint(each, "events", "dense") for each in (one, other, without)]
    assert len(set(of_peer)) == 1


@pytest.mark.slow
def test_two_ranks_begin_from_it_together(older: Path, tmp_path: Path) -> None:
    """The same network as one process with the same batches, to rounding."""
    file = analysis_file(tmp_path, older, model={"dropout": 0.0}, training={"batch_size": 63})
    train(load_analysis(file), tmp_path / "alone")
    subprocess.run(
        [sys.executable, "-m", "particle_transformer.cli", "train", str(file), "--no-plots",
         "--out", str(tmp_path / "together"), "--devices", "2"],
        check=True, timeout=300,
    )  # fmt: skip
    for fold in range(2):
        one, two = (
            load_file(RunFolder(tmp_path / name).network(fold) / "model.safetensors")
            for name in ("alone", "together")
        )
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-3, atol=1e-4)


def test_one_line_for_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = analysis_file(tmp_path)
    argv = ["aot", "train", str(file), "--out", str(tmp_path / "run"), "--init", "pretraind"]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith(f"aot: training.init: {tmp_path / 'pretraind'}: neither a network")
    assert not (tmp_path / "run").exists()
