"""The artefact's folder."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.artefact import load_artefact, save_artefact
from particle_transformer.errors import InputFileError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

METADATA: dict[str, Any] = {
    "classes": ["background", "signal"],
    "objects": {"jets": ["log(pt)", "η"], "muons": ["log(pt)"]},
    "event": ["log(met.pt)"],
}


def _model(seed: int = 0) -> AnalysisObjectTransformer:
    torch.manual_seed(seed)
    model = AnalysisObjectTransformer(
        {"jets": 2, "muons": 1}, 1, 8, 8, 16, 8, 8, 2, pair_bias=True, num_outputs=2, dropout=0.1
    )
    model.event_scaling.mean.fill_(3.5)
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "artefact"
    save_artefact(path, _model(), METADATA, model_card="# Card\n")
    return path


def test_a_network_comes_back_as_it_was(folder: Path) -> None:
    model, metadata = load_artefact(folder)
    saved = _model()
    assert metadata == model.metadata == METADATA
    assert model.arguments == saved.arguments
    assert not model.training
    state = model.state_dict()
    assert state.keys() == saved.state_dict().keys()
    for name, value in saved.state_dict().items():
        assert torch.equal(state[name], value), name


def test_a_second_head_and_its_target_scaling_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = AnalysisObjectTransformer(3, 1, 8, 8, 8, num_heads=2, regression_targets=2).eval()
    assert saved.target_scaling is not None
    saved.target_scaling.mean.copy_(torch.tensor([200.0, 91.2]))
    saved.target_scaling.scale.copy_(torch.tensor([80.0, 2.5]))
    save_artefact(tmp_path / "artefact", saved, METADATA)
    model, _ = load_artefact(tmp_path / "artefact")
    assert model.arguments["regression_targets"] == 2
    objects, event = torch.randn(4, 3, 3), torch.randn(4, 1)
    outputs, expected = model.predict(objects, event), saved.predict(objects, event)
    assert torch.equal(outputs.regression, expected.regression)
    assert torch.equal(outputs.logits, expected.logits)
    card = (tmp_path / "artefact" / "README.md").read_text(encoding="utf-8")
    assert "A second head regresses 2 event quantities" in card


def test_the_folder_holds_three_readable_files_and_no_pickle(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert (folder / "README.md").read_text() == "# Card\n"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["format_version"] == 2
    assert config["arguments"]["input_dim_obj"] == {"jets": 2, "muons": 1}
    # safetensors: 8 bytes of length, then JSON.
    raw = (folder / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["event_scaling.mean"]["shape"] == [1]
    # Nothing but the folder is left beside it.
    assert [entry.name for entry in folder.parent.iterdir()] == ["artefact"]


def test_damage_is_noticed(folder: Path) -> None:
    file = folder / "model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(
        InputFileError, match=r"model.safetensors: sha256 is .*, expected .*damaged"
    ):
        load_artefact(folder)


def test_weights_of_another_network_are_noticed(folder: Path, tmp_path: Path) -> None:
    save_artefact(tmp_path / "other", _model(1), METADATA)
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(InputFileError, match="damaged or from another network"):
        load_artefact(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"artefact: not a network \(no config\.json\); expected the folder of a"),
        ("model.safetensors", r"model\.safetensors: cannot be read \(No such file"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputFileError, match=message):
        load_artefact(folder)


def _set(**change: Any) -> Any:
    return lambda config: {**config, **change}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(format_version=3), r"format_version is 3, this version reads 2; upgrade"),
        (_set(format_version=1), r"format_version is 1, this version reads 2; train again"),
        (_set(format_version="x"), r"format_version is 'x', expected 2"),
        (_set(sha256=None), r"sha256 is missing or no dict"),
        (_set(sha256={"config": "0"}), r"sha256.weights is missing or no str"),
        (lambda config: [config], r"format_version is None, expected 2"),
        (_set(metadata={"classes": ["signal", "background"]}),
         r"config.json: sha256 of its content is \w{12}…, expected \w{12}… .*changed by hand"),
        (_set(model_type="bert"), r"changed by hand"),
        (lambda config: _set(arguments={**config["arguments"], "dropout": 0.2})(config),
         r"changed by hand"),
        (lambda config: _set(arguments={**config["arguments"],
                                        "input_dim_obj": {"muons": 1, "jets": 2}})(config),
         r"changed by hand"),  # the order of the collections is that of their weights
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(folder: Path, change: Any, message: str) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(InputFileError, match=message):
        load_artefact(folder)


def test_white_space_and_order_of_the_keys_do_not_matter(folder: Path) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(dict(reversed(config.items()))))
    _, metadata = load_artefact(folder)
    assert metadata == METADATA


@pytest.mark.parametrize(
    ("change", "message"),
    [({"heads": 3}, r"do not fit the arguments .*unexpected keyword argument 'heads'"),
     ({"embed_dims": 24}, r"do not fit the arguments"),
     ({"num_heads": 3}, r"do not fit the arguments .*num_heads: got 3")],
)  # fmt: skip
def test_arguments_that_do_not_fit_the_weights_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    model = _model()
    model.arguments = {**model.arguments, **change}
    model.save_pretrained(tmp_path / "network")
    with pytest.raises(InputFileError, match=message):
        load_artefact(tmp_path / "network")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "network.pkl", "best.ckpt", "model.pth"])
def test_a_pickle_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(InputFileError, match=rf"holds {name}, and reading such a file may run"):
        load_artefact(folder)


def test_a_configuration_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(InputFileError, match=r"config\.json: not JSON"):
        load_artefact(folder)


def test_nothing_is_overwritten_or_half_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="exists already; remove it"):
        save_artefact(folder, _model(), METADATA)
    with pytest.raises(OutputError, match=r"cannot be written as JSON"):
        save_artefact(tmp_path / "nan", _model(), {"auc": float("nan")})
    with pytest.raises(OutputError, match=r"cannot be written as JSON"):
        save_artefact(tmp_path / "nan", _model(), {"model": object()})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        save_artefact(tmp_path / "full", _model(), METADATA)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"artefact: cannot be written \(Permission denied\)"):
            save_artefact(tmp_path / "artefact", _model(), METADATA)
    finally:
        tmp_path.chmod(0o700)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_artefact(tmp_path / "empty", _model(), METADATA)
    _, metadata = load_artefact(tmp_path / "empty")
    assert metadata == METADATA
