"""A fit that is broken off and resumed ends as the one that was not, bit for bit."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from particle_transformer.errors import InputFileError, SampleError
from particle_transformer.training import fit as fit_module
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.checkpoints import AtomicCheckpointIO, load_checkpoint
from particle_transformer.training.fit import fit_network
from particle_transformer.training.sample import Sample, make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from particle_transformer.training.callbacks import EpochRecord

    Ended = tuple[dict[str, Tensor], list[EpochRecord], int, float]

FLIPS = Augmentation.of(
    ["flip_eta", "flip_phi"],
    {"jets": ["pt", "eta", "phi"], "muons": ["pt", "eta"]},
    ["log(met.pt)"],
)
PLAIN = FitSettings(
    epochs=3, batch_size=40, learning_rate=3e-3, warmup_epochs=0.5, seed=5, augmentation=FLIPS,
    checkpoint_minutes=1e-9,
)  # fmt: skip
VARIANTS = {
    "all at once": replace(PLAIN, epochs=2, batch_size=60, ema=0.9, accumulate=2),
    "plain": PLAIN,
    "after each epoch": replace(PLAIN, checkpoint_minutes=1e9),
    "stopped early": replace(PLAIN, learning_rate=1.0, patience=1, epochs=5),
}
# Batches of all epochs, and the ends of epochs.
CALLS = {
    "all at once": 2 * (2 * 2 + 1),
    "after each epoch": 3 * (3 + 1),
    "stopped early": 3 * (3 + 1),
}
WRITES = 2 * (1 + 2)  # of "all at once"


class Killed(BaseException):
    """Ends a fit where a test wants it."""


class Counted:
    """Progress that counts its calls, and kills at one of them."""

    def __init__(self, kill_at: int = -1) -> None:
        self.calls = 0
        self.kill_at = kill_at

    def __call__(
        self, done: int, total: int, rate: float | None, record: EpochRecord | None
    ) -> None:
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed


@cache
def _samples() -> tuple[Sample, Sample]:
    events, target = toy_events(160, seed=3)
    events = replace(events, process=target.astype(np.int16))
    training, validation = (
        make_sample(events, rows, np.arange(2), balance="none")
        for rows in (np.arange(110), np.arange(110, 160))
    )
    return training, validation


def _fit(folder: Path, settings: FitSettings, **options: Any) -> Ended:
    torch.manual_seed(2)
    model = toy_model(dropout=0.2, num_att_blocks=1)
    result = fit_network(
        model, *_samples(), settings, checkpoint_dir=folder / "checkpoints",
        log_dir=folder / "logs", **options,
    )  # fmt: skip
    return model.state_dict(), result.history, result.best_epoch, result.learning_rate


def _kill(folder: Path, settings: FitSettings, call: int, *, resume: bool = False) -> None:
    with pytest.raises(Killed):
        _fit(folder, settings, progress=Counted(call), resume=resume)


def _assert_same(found: Ended, expected: Ended) -> None:
    assert found[1:] == expected[1:]
    assert found[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        assert torch.equal(found[0][name], value), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ended]:
    @cache
    def fit(name: str) -> Ended:
        counted = Counted()
        ended = _fit(tmp_path_factory.mktemp("whole"), VARIANTS[name], progress=counted)
        assert counted.calls == CALLS.get(name, counted.calls)
        return ended

    return fit


@pytest.fixture
def kill_at_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Let the n-th writing of a checkpoint be the last thing a fit does, or has not done."""
    save = AtomicCheckpointIO.save_checkpoint

    def kill(number: int, when: str) -> None:
        written = 0

        def save_checkpoint(*arguments: Any, **options: Any) -> None:
            nonlocal written
            written += 1
            if when == "before" and written == number:
                raise Killed
            save(*arguments, **options)
            if when == "after" and written == number:
                raise Killed

        monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save_checkpoint)

    return kill


@pytest.mark.parametrize(
    ("name", "call"),
    [
        pytest.param(name, call, marks=() if name == "all at once" else pytest.mark.slow)
        for name, calls in CALLS.items()
        for call in range(1, calls + 1)
    ],
)
def test_broken_off_at_any_batch_or_end_of_an_epoch(
    name: str, call: int, uninterrupted: Callable[[str], Ended], tmp_path: Path
) -> None:
    expected = uninterrupted(name)
    _kill(tmp_path, VARIANTS[name], call)
    _assert_same(_fit(tmp_path, VARIANTS[name], resume=True), expected)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_broken_off_before_and_after_any_writing(
    number: int,
    when: str,
    uninterrupted: Callable[[str], Ended],
    kill_at_write: Callable[[int, str], None],
    tmp_path: Path,
) -> None:
    expected = uninterrupted("all at once")
    kill_at_write(number, when)
    with pytest.raises(Killed):
        _fit(tmp_path, VARIANTS["all at once"])
    kill_at_write(-1, "")
    _assert_same(_fit(tmp_path, VARIANTS["all at once"], resume=True), expected)


def test_broken_off_again_and_again(uninterrupted: Callable[[str], Ended], tmp_path: Path) -> None:
    expected = uninterrupted("plain")
    ended = None
    attempts = 0
    while ended is None:
        attempts += 1
        assert attempts < 20
        with suppress(Killed):
            ended = _fit(tmp_path, PLAIN, resume=True, progress=Counted(3))
    # A checkpoint follows each batch but the last of an epoch, whose checkpoint its end writes.
    assert attempts == 6
    _assert_same(ended, expected)


@pytest.mark.parametrize("name", ["plain", "stopped early"])
def test_a_fit_that_is_over_is_not_fitted_on(
    name: str,
    uninterrupted: Callable[[str], Ended],
    kill_at_write: Callable[[int, str], None],
    tmp_path: Path,
) -> None:
    expected = uninterrupted(name)
    assert (len(expected[1]) < VARIANTS[name].epochs) == (name == "stopped early")
    _fit(tmp_path, VARIANTS[name])
    kill_at_write(1, "before")
    counted = Counted()
    _assert_same(_fit(tmp_path, VARIANTS[name], resume=True, progress=counted), expected)
    assert counted.calls == 0


def test_the_best_epoch_survives_a_move_of_the_folder(
    uninterrupted: Callable[[str], Ended], tmp_path: Path
) -> None:
    # The best epoch is the second of three; the third must not take its place.
    expected = uninterrupted("stopped early")
    assert expected[2] == 1
    _kill(tmp_path / "here", VARIANTS["stopped early"], 10)
    shutil.move(tmp_path / "here", tmp_path / "there")
    _assert_same(_fit(tmp_path / "there", VARIANTS["stopped early"], resume=True), expected)
    assert not (tmp_path / "here").exists()


def test_the_learning_rate_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(PLAIN, learning_rate="auto", epochs=2)
    monkeypatch.setattr(fit_module, "find_learning_rate", lambda *_, **__: 0.00123)
    expected = _fit(tmp_path / "whole", settings)
    assert expected[3] == 0.00123
    _kill(tmp_path / "killed", settings, 1)
    assert not (tmp_path / "killed" / "checkpoints" / "last.ckpt").exists()
    monkeypatch.setattr(fit_module, "find_learning_rate", lambda *_, **__: 0.00456)
    _assert_same(_fit(tmp_path / "killed", settings, resume=True), expected)


def test_without_resume_nothing_of_an_older_fit_is_taken_up(
    uninterrupted: Callable[[str], Ended], tmp_path: Path
) -> None:
    other = replace(PLAIN, seed=6)
    _fit(tmp_path, other)
    _kill(tmp_path, PLAIN, 1)
    _assert_same(_fit(tmp_path, PLAIN, resume=True), uninterrupted("plain"))


def test_another_fit_is_not_resumed(tmp_path: Path) -> None:
    _kill(tmp_path, PLAIN, 3)
    message = r"last\.ckpt: weight_decay was 0\.01 there, is 0\.5 here; resume with the same"
    with pytest.raises(SampleError, match=message):
        _fit(tmp_path, replace(PLAIN, weight_decay=0.5), resume=True)
    # How often checkpoints are written changes nothing.
    _fit(tmp_path, replace(PLAIN, checkpoint_minutes=1e9), resume=True)


def test_after_an_interrupt_the_next_one_is_heard(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path, PLAIN, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before


# -- checkpoints that are none --------------------------------------------------------------------


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def _pickled(file: Path) -> bytes:
    return pickle.dumps({"fit": {}, "complete": False, "state_dict": Hostile(file)})


def _saved(file: Path) -> bytes:
    target = file.with_name("hostile.ckpt")
    torch.save({"fit": {}, "complete": False, "state_dict": Hostile(file)}, target)
    return target.read_bytes()


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("write", [_pickled, _saved])
def test_a_hostile_checkpoint_is_not_executed(
    tmp_path: Path, name: str, write: Callable[[Path], bytes]
) -> None:
    _fit(tmp_path, replace(PLAIN, epochs=1))
    checkpoint = tmp_path / "checkpoints" / name
    checkpoint.write_bytes(write(tmp_path / "executed"))
    with pytest.raises(InputFileError) as caught:
        _fit(tmp_path, replace(PLAIN, epochs=1), resume=True)
    message = str(caught.value)
    assert message.startswith(f"{checkpoint}: refused, for it holds more than tensors and plain")
    assert message.endswith(f"remove {tmp_path / 'checkpoints'} and resume: this network's "
                            "training begins anew then")  # fmt: skip
    assert "\n" not in message
    assert not (tmp_path / "executed").exists()
    with suppress(RuntimeError):  # a bare pickle is no checkpoint, but that shows too late
        torch.load(checkpoint, weights_only=False)
    assert (tmp_path / "executed").exists()  # so the trap works


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_refused_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    settings = replace(PLAIN, epochs=1)
    expected = _fit(tmp_path, settings)
    checkpoint = tmp_path / "checkpoints" / name
    whole = checkpoint.read_bytes()
    for size in [0, 1, 2, 3, 64, *range(100, len(whole), len(whole) // 50), len(whole) - 1]:
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(InputFileError) as caught:
            load_checkpoint(checkpoint)
        assert str(caught.value).startswith(f"{checkpoint}: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputFileError, match=rf"{name}: not a checkpoint of aot train \("):
        _fit(tmp_path, settings, resume=True)
    shutil.rmtree(tmp_path / "checkpoints")  # as the message says
    _assert_same(_fit(tmp_path, settings, resume=True), expected)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, torch.zeros(2)])
def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    torch.save(content, path)
    message = r"last\.ckpt: not a checkpoint of aot train \(no fit, complete, state_dict\); remove"
    with pytest.raises(InputFileError, match=message):
        _fit(tmp_path, PLAIN, resume=True)
