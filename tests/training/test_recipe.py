"""Options of the training, each against what it is said to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from particle_transformer.events.packed import PackedBatch
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.training.fit import FitResult, fit_network
from particle_transformer.training.module import EventClassifier, decay_groups
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.model import AnalysisObjectTransformer

SETTINGS = FitSettings(epochs=3, batch_size=100, learning_rate=3e-3, warmup_epochs=0.5, seed=1)
EVENTS, TARGET = toy_events(1000)
VALIDATION = np.arange(800, 1000)


def fit(
    folder: Path, settings: FitSettings = SETTINGS, *, rows: int = 800, **options: Any
) -> tuple[AnalysisObjectTransformer, FitResult]:
    """A small network trained with the first rows of the toy events."""
    torch.manual_seed(0)
    model = toy_model(num_att_blocks=1, **options.pop("model", {}))
    result = fit_network(
        model,
        make_sample(EVENTS, np.arange(rows), [0, 1]),
        make_sample(EVENTS, VALIDATION, [0, 1]),
        settings,
        checkpoint_dir=folder / "checkpoints",
        log_dir=folder / "logs",
        **options,
    )
    return model, result


class Steps(Callback):
    """Keep what every step leaves: the parameters, and the norm of the gradient as it was used."""

    def __init__(self) -> None:
        self.parameters: list[list[torch.Tensor]] = []
        self.norms: list[float] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        parameters = list(pl_module.parameters())
        self.parameters.append([parameter.detach().clone() for parameter in parameters])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))


def _validation_loss(model: AnalysisObjectTransformer) -> float:
    with torch.no_grad():
        logits = model.forward_packed(PackedBatch.from_events(EVENTS.take(VALIDATION)))
    target = torch.from_numpy(TARGET[VALIDATION])
    weight = make_sample(EVENTS, VALIDATION, [0, 1]).weights(
        EVENTS.weight[VALIDATION], EVENTS.process[VALIDATION]
    )
    return float(CrossEntropy()(logits, target, torch.from_numpy(weight).float()))


def test_the_moving_average_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    steps = Steps()
    model, result = fit(tmp_path, replace(SETTINGS, ema=0.8), callbacks=[steps])
    assert len(steps.parameters) == 24
    average = [p.double() for p in steps.parameters[0]]
    for parameters in steps.parameters[1 : 8 * (result.best_epoch + 1)]:
        average = [
            0.8 * mean + 0.2 * now.double() for mean, now in zip(average, parameters, strict=True)
        ]
    for mean, kept in zip(average, model.parameters(), strict=True):
        torch.testing.assert_close(kept.double(), mean, rtol=1e-5, atol=1e-7)
    assert _validation_loss(model) == pytest.approx(
        result.history[result.best_epoch]["val_loss"], rel=1e-5
    )
    # The steps themselves are those without it, and so are the constants.
    plain_steps = Steps()
    plain, plain_result = fit(tmp_path, callbacks=[plain_steps])
    assert [r["train_loss"] for r in result.history] == [
        r["train_loss"] for r in plain_result.history
    ]
    assert all(
        torch.equal(a, b)
        for a, b in zip(steps.parameters[-1], plain_steps.parameters[-1], strict=True)
    )
    buffers = dict(plain.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


@pytest.mark.parametrize("parts", [2, 5])
def test_a_batch_in_parts_is_the_whole_batch(tmp_path: Path, parts: int) -> None:
    # 790 events: the parts of a batch have unequal sizes.
    _, whole = fit(tmp_path, rows=790)
    seen: list[tuple[int, int]] = []
    _, accumulated = fit(
        tmp_path, replace(SETTINGS, accumulate=parts), rows=790,
        progress=lambda done, total, rate, record: seen.append((done, total)),
    )  # fmt: skip
    for record, other in zip(accumulated.history, whole.history, strict=True):
        assert record == pytest.approx(other, rel=1e-5)
    # What is counted is steps.
    assert seen[-1] == (24, 24)


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    free, clipped = Steps(), Steps()
    fit(tmp_path, replace(SETTINGS, gradient_clip=1e6, epochs=1), callbacks=[free])
    norm = float(np.median(free.norms))
    fit(tmp_path, replace(SETTINGS, gradient_clip=norm, epochs=1), callbacks=[clipped])
    assert max(clipped.norms) == pytest.approx(norm, rel=1e-4)
    # The first steps come from the same gradient, whole or cut.
    assert clipped.norms[0] == pytest.approx(min(free.norms[0], norm), rel=1e-4)


def test_the_optimizer_is_adamw_with_decay_of_matrices_only() -> None:
    model = toy_model()
    module = EventClassifier(model, replace(SETTINGS, weight_decay=0.3))
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False)
    trainer.fit_loop.setup_data = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.max_batches = 10
    module.trainer = trainer
    chosen = module.configure_optimizers()
    assert isinstance(chosen, dict)
    optimizer = chosen["optimizer"]
    assert isinstance(optimizer, torch.optim.AdamW)
    found = {g["weight_decay"]: [id(p) for p in g["params"]] for g in optimizer.param_groups}
    decayed, free = decay_groups(model)
    assert found == {0.3: [*map(id, decayed)], 0.0: [*map(id, free)]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "agreement"),
    [({"pair_bias": True}, 1e-4), ({"dropout": 0.1}, 0.1)],  # dropout draws other numbers
)
def test_a_compiled_network_is_trained_alike(
    tmp_path: Path, options: dict[str, Any], agreement: float
) -> None:
    settings = replace(SETTINGS, epochs=2)
    model, plain = fit(tmp_path, settings, model=options)
    other, compiled = fit(tmp_path, replace(settings, compile=True), model=options)
    assert other.state_dict().keys() == model.state_dict().keys()
    for record, expected in zip(compiled.history, plain.history, strict=True):
        assert record == pytest.approx(expected, rel=agreement)
    assert _validation_loss(other) == pytest.approx(
        min(record["val_loss"] for record in compiled.history), rel=1e-4
    )
