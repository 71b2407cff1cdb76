"""The network in the transformers library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import InputFileError, ModelInputError
from particle_transformer.losses.cross_entropy import CrossEntropy

transformers = pytest.importorskip("transformers")
from particle_transformer.transformers import (
    EventTransformerConfig,
    EventTransformerModel,
)

if TYPE_CHECKING:
    from pathlib import Path


def _model(outputs: int = 1) -> AnalysisObjectTransformer:
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(
        {"jets": 3, "muons": 2}, 2, 8, 8, 16, 8, 8, 2,
        num_att_blocks=1, num_class_blocks=1, pair_bias=True, num_outputs=outputs,
    )  # fmt: skip
    model.metadata = {"classes": ["signal", "top"]}
    model.event_scaling.mean.fill_(3.5)
    return model.eval()


def _batch(events: int = 5) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    objects = {
        "jets": torch.randn(events, 4, 3, generator=generator),
        "muons": torch.randn(events, 2, 2, generator=generator),
    }
    momenta = {name: torch.rand(events, x.shape[1], 4, generator=generator)
               for name, x in objects.items()}  # fmt: skip
    for vectors in momenta.values():
        vectors[..., 3] += 3
    masks = {
        name: torch.rand(x.shape[:2], generator=generator) < 0.3 for name, x in objects.items()
    }
    event = torch.randn(events, 2, generator=generator)
    return {"objects": objects, "event": event, "padding_mask": masks, "momenta": momenta}


def test_the_auto_classes_load_the_same_network(tmp_path: Path) -> None:
    saved = _model()
    saved.save_pretrained(tmp_path / "network")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "network")
    assert isinstance(config, EventTransformerConfig)
    assert config.arguments == saved.arguments
    assert config.metadata == saved.metadata
    model = transformers.AutoModel.from_pretrained(tmp_path / "network")
    assert isinstance(model, EventTransformerModel)
    assert not model.training
    assert torch.equal(model(**_batch()).logits, saved(**_batch()))
    assert model.state_dict().keys() == saved.state_dict().keys()
    # And back: what the library saves is a network's folder.
    model.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (
            tmp_path / "network" / name
        ).read_bytes(), name


def test_a_network_of_a_run_is_a_subfolder(tmp_path: Path) -> None:
    saved = _model()
    saved.save_pretrained(tmp_path / "artefact" / "fold-1" / "network-0")
    model = transformers.AutoModel.from_pretrained(tmp_path, subfolder="artefact/fold-1/network-0")
    assert torch.equal(model(**_batch()).logits, saved(**_batch()))


def test_a_new_model_begins_with_the_networks_own_weights() -> None:
    expected = _model()
    torch.manual_seed(0)
    model = EventTransformerModel(EventTransformerConfig(arguments=expected.arguments))
    expected.event_scaling.mean.zero_()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    with pytest.raises(ModelInputError, match="arguments: the configuration has none"):
        EventTransformerModel(EventTransformerConfig())


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_loss_is_the_weighted_cross_entropy(outputs: int) -> None:
    network = _model(outputs)
    config = EventTransformerConfig(arguments=network.arguments)
    model = EventTransformerModel(config).eval()
    labels, weights = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([1.0, -0.5, 2.0, 1.0, 0.0])
    found = model(**_batch(), labels=labels, weights=weights)
    assert torch.equal(found.loss, CrossEntropy()(found.logits, labels, weights))
    plain = model(**_batch(), labels=labels)
    if outputs > 1:
        reference = torch.nn.functional.cross_entropy(plain.logits, labels)
    else:
        reference = torch.nn.functional.binary_cross_entropy_with_logits(
            plain.logits[:, 0], labels.float()
        )
    torch.testing.assert_close(plain.loss, reference)
    assert model(**_batch()).loss is None


def _tampered(folder: Path, name: str) -> None:
    file = folder / name
    if name == "config.json":
        config = json.loads(file.read_text())
        config["arguments"]["dropout"] = 0.5
        file.write_text(json.dumps(config))
    else:
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_was_altered_is_refused(tmp_path: Path, name: str) -> None:
    _model().save_pretrained(tmp_path / "network")
    _tampered(tmp_path / "network", name)
    for load in (transformers.AutoModel, EventTransformerModel):
        with pytest.raises(InputFileError, match=rf"{name}: sha256"):
            load.from_pretrained(tmp_path / "network")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    _model().save_pretrained(tmp_path / "network")
    file = tmp_path / "network" / "config.json"
    file.write_text(file.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(InputFileError, match=r"format_version is 3, .* upgrade"):
        transformers.AutoConfig.from_pretrained(tmp_path / "network")


class _Toy(torch.utils.data.Dataset[dict[str, Any]]):
    """Events whose signal has larger event features."""

    def __len__(self) -> int:
        return 128

    def __getitem__(self, index: int) -> dict[str, Any]:
        random = np.random.default_rng(index)
        signal = index % 2
        jets = random.normal(size=(4, 3)).astype(np.float32)
        return {
            "objects": jets,
            "event": (random.normal(size=2) + 1.5 * signal).astype(np.float32),
            "padding_mask": np.arange(4) >= random.integers(0, 5),
            "labels": signal,
            "weights": np.float32(1.0),
        }


@pytest.mark.slow
def test_the_trainer_trains_saves_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    network = AnalysisObjectTransformer(
        3, 2, 8, 8, 8, 8, 8, 2, num_att_blocks=1, num_class_blocks=1
    )
    network.save_pretrained(tmp_path / "start")

    def trainer(steps: int) -> Any:
        return transformers.Trainer(
            transformers.AutoModel.from_pretrained(tmp_path / "start"),
            transformers.TrainingArguments(
                output_dir=str(tmp_path / "out"), max_steps=steps, learning_rate=0.01,
                per_device_train_batch_size=32, logging_steps=4, save_steps=12, report_to="none",
                use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
                lr_scheduler_type="constant",
            ),
            train_dataset=_Toy(),
        )  # fmt: skip

    first = trainer(24)
    first.train()
    losses = [entry["loss"] for entry in first.state.log_history if "loss" in entry]
    assert losses[0] > 0.6
    assert losses[-1] < 0.75 * losses[0]
    first.save_model(str(tmp_path / "trained"))
    # The Trainer's own pickle beside it is not read.
    assert (tmp_path / "trained" / "training_args.bin").exists()
    trained = AnalysisObjectTransformer.from_pretrained(tmp_path / "trained")
    for name, value in first.model.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value), name
    resumed = trainer(24)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-12"))
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, trained.state_dict()[name], msg=name)
