"""Training a network with Lightning."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.fabric.accelerators.mps import MPSAccelerator
from sklearn.metrics import roc_auc_score

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import AnalysisFileError, ModelInputError, SampleError
from particle_transformer.events.packed import PackedBatch
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.training.diagnosis import Names
from particle_transformer.training.fit import FitResult, fit_network
from particle_transformer.training.module import decay_groups, learning_rate_factor
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.events import Events
    from particle_transformer.training.callbacks import EpochRecord

SETTINGS = FitSettings(epochs=3, batch_size=100, learning_rate=3e-3, warmup_epochs=0.5, seed=1)
TARGETS = np.arange(3)  # a process for each class
TRAINING, VALIDATION, TEST = np.arange(800), np.arange(800, 1000), np.arange(1000, 1400)


@pytest.fixture(scope="module")
def sample() -> tuple[Events, np.ndarray]:
    return toy_events(1400)


def _fit(
    sample: tuple[Events, np.ndarray],
    folder: Path,
    settings: FitSettings = SETTINGS,
    model: AnalysisObjectTransformer | None = None,
    **options: Any,
) -> tuple[AnalysisObjectTransformer, FitResult]:
    if model is None:
        torch.manual_seed(0)
        model = toy_model()
    events, target = sample
    events = replace(events, process=target.astype(np.int16))
    training, validation = (
        make_sample(events, rows, TARGETS, balance="none")
        for rows in (options.pop("training", TRAINING), VALIDATION)
    )
    return model, fit_network(
        model, training, validation, settings,
        checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs", **options,
    )  # fmt: skip


def _logits(model: AnalysisObjectTransformer, events: Events, index: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.forward_packed(PackedBatch.from_events(events.take(index)))


def test_it_learns_what_can_be_learned(sample: tuple[Events, np.ndarray], tmp_path: Path) -> None:
    events, target = sample
    model, result = _fit(sample, tmp_path, replace(SETTINGS, epochs=10))
    scores = _logits(model, events, TEST)[:, 0]
    # The likelihood ratio: each jet's first feature shifts by 1.5 deviations, an event without
    # jets says nothing.
    jets = events.objects["jets"].take(TEST)
    event = np.repeat(np.arange(len(TEST)), jets.counts)
    ratio = np.bincount(event, (jets.values[:, 0] - 100) / 20 - 0.75, len(TEST))
    reachable = roc_auc_score(target[TEST], ratio)
    assert reachable > 0.85
    assert roc_auc_score(target[TEST], scores) > reachable - 0.03
    assert not model.training
    assert len(result.history) == 10


def test_the_model_ends_with_the_best_epoch(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    events, target = sample
    seen: list[tuple[int, int, EpochRecord | None]] = []
    model, result = _fit(
        sample, tmp_path, replace(SETTINGS, epochs=6, learning_rate=0.02),
        progress=lambda done, total, rate, record: seen.append((done, total, record)),
    )  # fmt: skip
    losses = [record["val_loss"] for record in result.history]
    assert result.best_epoch == int(np.argmin(losses))
    loss = CrossEntropy()(
        _logits(model, events, VALIDATION),
        torch.from_numpy(target[VALIDATION]),
        torch.ones(len(VALIDATION)),
    )
    assert float(loss) == pytest.approx(min(losses), rel=1e-5)
    assert result.checkpoint.is_file()
    # 8 batches an epoch are reported one by one, each epoch with its record.
    assert [done for done, _, record in seen if record is None] == list(range(1, 49))
    assert {total for _, total, _ in seen} == {48}
    assert [record for _, _, record in seen if record is not None] == result.history
    rates = [record["learning_rate"] for record in result.history]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < rates[0] <= 0.02
    assert (tmp_path / "logs" / "metrics.csv").read_text().count("\n") > 6


def test_the_scaling_comes_from_training_events_alone(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    events, target = sample
    changed = events.take(np.arange(len(events)))
    changed.event[800:] += 1e6
    model, _ = _fit((changed, target), tmp_path, replace(SETTINGS, epochs=1))
    np.testing.assert_allclose(model.event_scaling.mean, events.event[:800].mean(0), rtol=1e-5)


def test_events_of_no_role_are_not_read(sample: tuple[Events, np.ndarray], tmp_path: Path) -> None:
    events, target = sample
    settings = replace(SETTINGS, epochs=1)
    model, first = _fit(sample, tmp_path / "a", settings)
    broken = events.take(np.arange(len(events)))
    broken.event[1000:] = np.nan
    broken.weight[1000:] = np.nan
    other, second = _fit(
        (broken, np.where(np.arange(1400) < 1000, target, 2)), tmp_path / "b", settings
    )
    assert second.history == first.history
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_the_seed_decides_and_the_callers_random_state_is_left_alone(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=2)

    def history(seed: int) -> list[EpochRecord]:
        torch.manual_seed(0)
        model = toy_model(dropout=0.2, pair_bias=True)
        torch.manual_seed(17)
        expected = torch.rand(1)
        torch.manual_seed(17)
        _, result = _fit(sample, tmp_path, replace(settings, seed=seed), model)
        assert torch.equal(torch.rand(1), expected)
        return result.history

    first = history(1)
    assert history(1) == first
    assert history(2) != first


def test_training_stops_when_patience_is_over(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    # Pure noise to be learned by heart: the validation loss soon rises.
    events, _ = sample
    noise = np.random.default_rng(0).integers(0, 2, 1400)
    settings = FitSettings(
        epochs=40, batch_size=50, learning_rate=1e-2, weight_decay=0, patience=2, warmup_epochs=0
    )
    _, result = _fit((events, noise), tmp_path, settings, training=TRAINING[:100])
    assert len(result.history) == result.best_epoch + 3 < 40


def test_negative_weights_and_several_classes(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    events, target = sample
    weight = np.where(np.arange(len(events)) % 5 == 0, -0.5, 1.0)
    three = np.where(events.event[:, 0] > 5, 2, target)
    torch.manual_seed(0)
    model = toy_model(num_outputs=3)
    _, result = _fit(
        (replace(events, weight=weight), three),
        tmp_path,
        replace(SETTINGS, epochs=20, learning_rate=1e-2, sampling="stratified"),
        model=model,
    )
    assert result.history[-1]["val_loss"] < result.history[0]["val_loss"]
    # Class 2 is a cut on the event feature, and holds half of the events.
    predicted = _logits(model, events, TEST).argmax(1).numpy()
    assert ((predicted == 2) == (three[TEST] == 2)).mean() > 0.9
    assert (predicted == three[TEST]).mean() > 0.8


def test_a_loss_that_is_not_finite_names_epoch_and_batch(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    events, target = sample
    changed = events.take(np.arange(len(events)))
    changed.event[900] = np.nan  # validation: the fit of the scaling does not see it
    changed = replace(changed, process=target.astype(np.int16))
    names = Names(event=["log(met.pt)"], processes=["ttbar", "gluino", "none"])
    of = ["ttbar", "gluino"][target[900]]
    with pytest.raises(
        SampleError,
        match=r"the validation loss is nan in epoch 0, batch 0: event feature 'log\(met\.pt\)' is "
        rf"nan in an event of process '{of}'",
    ):
        _fit((changed, target), tmp_path, names=names)
    with pytest.raises(
        SampleError,
        match=r"the training loss is (nan|inf|-inf) in epoch 0, batch \d: .*lower the learning rate",
    ):
        _fit(sample, tmp_path, replace(SETTINGS, learning_rate=1e25, gradient_clip=1e30))


def test_bad_input_is_refused_before_training(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    events, target = sample
    with pytest.raises(
        SampleError, match=r"target: got class 2, expected 0 to 1 for a network with 1"
    ):
        _fit((events, target + 1), tmp_path)
    with pytest.raises(SampleError, match=r"800 of 800 physics weights are NaN or infinite"):
        _fit((replace(events, weight=np.full(1400, np.inf)), target), tmp_path)
    with pytest.raises(SampleError, match=r"1 events are in both training and validation"):
        _fit(sample, tmp_path, training=np.arange(801))
    with pytest.raises(AnalysisFileError, match=r"sampling: got 'shuffle'; nearest: shuffled"):
        replace(SETTINGS, sampling="shuffle")  # type: ignore[arg-type]
    broken = events.take(np.arange(len(events)))
    broken.event[5] = np.inf
    with pytest.raises(SampleError, match="event: feature 0 has NaN or infinite values"):
        _fit((broken, target), tmp_path)
    jets_only = AnalysisObjectTransformer({"jets": 3}, 1, 8, 8, 8, num_heads=2)
    with pytest.raises(ModelInputError, match="unknown collection 'muons'"):
        _fit(sample, tmp_path, model=jets_only)
    assert not (tmp_path / "checkpoints").exists()


def test_an_interrupt_reaches_the_caller(sample: tuple[Events, np.ndarray], tmp_path: Path) -> None:
    def interrupt(done: int, total: int, rate: float | None, record: EpochRecord | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(sample, tmp_path, progress=interrupt)


def test_nothing_is_announced(
    sample: tuple[Events, np.ndarray],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    level = logging.getLogger("lightning.pytorch").level
    threads = torch.get_num_threads()
    _fit(sample, tmp_path, replace(SETTINGS, epochs=1), threads=1)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert logging.getLogger("lightning.pytorch").level == level
    assert torch.get_num_threads() == threads


def test_a_device_without_float64_is_left_alone(
    sample: tuple[Events, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    _, fit = _fit(sample, tmp_path, replace(SETTINGS, epochs=1))
    assert len(fit.history) == 1


def test_bfloat16_learns_as_much_and_leaves_float32_weights(
    sample: tuple[Events, np.ndarray], tmp_path: Path
) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = replace(SETTINGS, precision=precision)
        model, fit = _fit(sample, tmp_path, settings)
        losses[precision] = min(record["val_loss"] for record in fit.history)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert abs(losses["bfloat16"] - losses["float32"]) < 0.03


def test_only_matrices_decay() -> None:
    model = toy_model(pair_bias=True)
    decayed, free = decay_groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert len(decayed) + len(free) == len(names)
    assert all(parameter.ndim == 2 for parameter in decayed)
    left = {names[id(parameter)].rpartition(".")[2] for parameter in free}
    assert left == {"bias", "weight", "scale", "class_token", "collection_embedding"}
    assert all("norm" in names[id(p)] for p in free if names[id(p)].endswith("weight"))


def test_the_learning_rate_rises_and_falls() -> None:
    factors = [learning_rate_factor(step, 10, 110) for step in range(111)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1
    assert factors[60] == pytest.approx(0.5)
    assert factors[110] == pytest.approx(0)
    assert np.argmax(factors) == 10


@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": -1.0}, {"weight_decay": -1.0}])
def test_settings_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(AnalysisFileError, match=f"{next(iter(change))}: got .*, expected"):
        FitSettings(**change)
