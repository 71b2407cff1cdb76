"""The training as a library: names, defaults, and the examples as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

import particle_transformer.training as library
from helpers.runs import small_analysis
from particle_transformer.errors import AnalysisFileError, SampleError
from particle_transformer.events import Events, Ragged
from particle_transformer.events.packed import PackedBatch
from particle_transformer.training import (
    EventClassifier,
    EventDataModule,
    FitSettings,
    fit_network,
    make_sample,
    standardise,
)
from particle_transformer.training.callbacks import History
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training import Sample

EXAMPLES = Path(__file__).parents[2] / "examples"

# What Lightning says to any user of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


@pytest.fixture
def parts() -> tuple[AnalysisObjectTransformer, Sample, Sample]:
    """A new network with training and validation events."""
    events, _ = toy_events(600)
    torch.manual_seed(0)
    training = make_sample(events, np.arange(500), [0, 1])
    validation = make_sample(events, np.arange(500, 600), [0, 1])
    return toy_model(num_att_blocks=1), training, validation


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", default_root_dir=folder, use_distributed_sampler=False,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip


def test_every_public_name_is_there() -> None:
    assert set(library.__all__) <= set(dir(library))
    for name in library.__all__:
        value = getattr(library, name)
        assert value.__name__ == name
        assert value.__doc__
    with pytest.raises(AttributeError, match="no attribute 'fit_newtork'"):
        library.fit_newtork  # noqa: B018


def test_the_names_cost_nothing_until_they_are_used() -> None:
    code = (
        "import sys, particle_transformer.training as t; "
        "heavy = {'torch', 'lightning', 'numpy'}; print(sorted(heavy & set(sys.modules))); "
        "t.make_sample; print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split("\n")[:2] == ["[]", "['numpy']"]


def test_a_trainer_of_ones_own_learns_what_fit_network_does(
    tmp_path: Path, parts: tuple[AnalysisObjectTransformer, Sample, Sample]
) -> None:
    model, training, validation = parts
    settings = FitSettings(epochs=2, batch_size=100, learning_rate=3e-3, warmup_epochs=0.5)
    torch.manual_seed(0)
    fitted = fit_network(
        toy_model(num_att_blocks=1), training, validation, settings,
        checkpoint_dir=tmp_path / "checkpoints", log_dir=tmp_path / "logs",
    )  # fmt: skip
    standardise(model, training)
    history = History()
    own = trainer(
        tmp_path, max_epochs=2, gradient_clip_val=1.0, callbacks=[history], num_sanity_val_steps=0
    )
    # The epochs are the trainer's: those of the settings do not matter.
    data = EventDataModule(training, validation, batch_size=100)
    own.fit(EventClassifier(model, replace(settings, epochs=17)), data)
    assert history.records == fitted.history
    # Trainer.validate has no optimizer.
    (found,) = own.validate(EventClassifier(model), data, verbose=False)
    assert found["val_loss"] == pytest.approx(fitted.history[-1]["val_loss"], rel=1e-5)
    assert found["val_auc"] == pytest.approx(fitted.history[-1]["val_auc"])


def test_defaults_are_enough(
    tmp_path: Path, parts: tuple[AnalysisObjectTransformer, Sample, Sample]
) -> None:
    # With Lightning's sanity check, its logger and its checkpoints.
    model, training, validation = parts
    standardise(model, training)
    own = trainer(tmp_path, max_epochs=1)
    own.fit(EventClassifier(model), EventDataModule(training, validation))
    assert 0 < float(own.callback_metrics["val_auc"]) < 1
    path = own.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    torch.manual_seed(5)
    again = EventClassifier.load_from_checkpoint(path, model=toy_model(num_att_blocks=1))
    batch = PackedBatch.from_events(toy_events(5)[0])
    assert torch.equal(again.eval()(batch), EventClassifier(model).eval()(batch))


def test_a_training_without_an_end_has_no_schedule(
    tmp_path: Path, parts: tuple[AnalysisObjectTransformer, Sample, Sample]
) -> None:
    model, training, validation = parts
    data = EventDataModule(training, validation, batch_size=100)
    with pytest.raises(AnalysisFileError, match=r"give the Trainer max_epochs or max_steps$"):
        trainer(tmp_path, max_epochs=-1).fit(EventClassifier(model), data)
    own = trainer(tmp_path, max_steps=7)
    own.fit(EventClassifier(model, FitSettings(warmup_epochs=1)), data)
    assert own.global_step == 7
    # Five steps of warm-up: a whole epoch, though the training is no two of them.
    rates = own.lr_scheduler_configs[0].scheduler.lr_lambdas[0]  # type: ignore[union-attr]
    assert [round(6 * rates(step), 6) for step in range(6)] == [1, 2, 3, 4, 5, 6]


def test_a_learning_rate_is_not_found_in_a_trainer_of_ones_own(
    tmp_path: Path, parts: tuple[AnalysisObjectTransformer, Sample, Sample]
) -> None:
    model, training, validation = parts
    module = EventClassifier(model, FitSettings(learning_rate="auto"))
    with pytest.raises(AnalysisFileError, match=r"^learning_rate: got auto, expected a number"):
        trainer(tmp_path, max_epochs=1).fit(module, EventDataModule(training, validation))


def test_scores_are_those_of_float32_whatever_the_precision_of_training(
    parts: tuple[AnalysisObjectTransformer, Sample, Sample],
) -> None:
    model, training, validation = parts
    standardise(model, training)
    (batch,) = EventDataModule(training, validation).val_dataloader()
    half, single = (
        EventClassifier(model, FitSettings(precision=precision))
        for precision in ("bfloat16", "float32")
    )
    assert np.array_equal(half.eval().score(batch).score, single.eval().score(batch).score)
    assert not np.array_equal(half.train().score(batch).score, single.train().score(batch).score)


def test_a_batch_may_be_larger_than_the_set(
    tmp_path: Path, parts: tuple[AnalysisObjectTransformer, Sample, Sample]
) -> None:
    model, training, validation = parts
    steps: list[int] = []
    fit_network(
        model, training, validation, FitSettings(epochs=2, batch_size=10**6, warmup_epochs=0),
        checkpoint_dir=tmp_path / "checkpoints", log_dir=tmp_path / "logs",
        progress=lambda done, total, rate, record: steps.append(total),
    )  # fmt: skip
    assert set(steps) == {2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("numpy_to_network.py", 0.68), ("lightning_trainer.py", 0.74)]
)
def test_an_example_runs_as_it_is(name: str, least: float) -> None:
    result = subprocess.run(
        [sys.executable, EXAMPLES / name],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    last = result.stdout.strip().splitlines()[-1]
    assert last.startswith("AUC of ")
    assert float(last.rpartition(" ")[2]) > least


@pytest.mark.slow
def test_the_example_reads_an_analysis_of_ones_own(tmp_path: Path) -> None:
    example, file = EXAMPLES / "lightning_trainer.py", small_analysis(tmp_path)
    result = subprocess.run(
        [sys.executable, example, file, tmp_path / "store"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("epoch ") == 2
    assert (tmp_path / "store" / "manifest.json").exists()


def test_events_of_arrays() -> None:
    jets = Ragged.of([[1, 2], [3, 4], [5, 6]], [2, 0, 1], momenta=np.ones((3, 4)))
    events = Events.of({"jets": jets}, [[0.5], [1.0], [2.0]], [0, 1, 1], weight=[1, -1, 2])
    assert jets.values.dtype == np.float32
    assert jets.offsets.tolist() == [0, 2, 2, 3]
    second = events.take(np.array([2]))
    assert second.objects["jets"].values.tolist() == [[5, 6]]
    assert (second.weight.tolist(), second.identity.tolist()) == ([2], [[2]])
    assert {name: getattr(events, name).dtype for name in ("event", "weight", "identity")} == {
        "event": np.float32, "weight": np.float64, "identity": np.int64
    }  # fmt: skip
    assert events.spectators.shape == (3, 0)
    assert events.process.dtype == np.int16
    numbered = Events.of({}, np.zeros((2, 0)), [0, 0], identity=[[1, 2], [3, 4]])
    assert numbered.identity.tolist() == [[1, 2], [3, 4]]
    assert len(Events.of({}, np.zeros((0, 1)), [])) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ragged.of([[1.0]], [2]), r"values: got \(1, 1\), expected \(2, features\)$"),
        (lambda: Ragged.of([1.0, 2.0], [2]), r"values: got \(2,\), expected \(2, features\)$"),
        (lambda: Ragged.of([[1.0]], [1], momenta=np.ones((2, 4))),
         r"momenta: got \(2, 4\), expected \(1, 4\)$"),
        (lambda: Events.of({}, np.zeros((3, 1)), [0, 1]),
         r"event: got \(3, 1\), expected one row for each of 2 events$"),
        (lambda: Events.of({"jets": Ragged.of([[1.0]], [1])}, np.zeros((2, 1)), [0, 1]),
         r"jets: got \(1,\), expected one row for each of 2 events$"),
        (lambda: Events.of({}, np.zeros((2, 1)), [0, 1], weight=3.0),
         r"weight: got \(1,\), expected one row"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(make: Any, message: str) -> None:
    with pytest.raises(SampleError, match=f"^{message}"):
        make()
