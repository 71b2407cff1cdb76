"""Augmentation: what it makes of events, from which random numbers, and of which events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import AnalysisFileError, SampleError
from particle_transformer.events import Events, Ragged
from particle_transformer.events.packed import PackedBatch
from particle_transformer.expressions.symmetry import TRANSFORMATIONS
from particle_transformer.training import datamodule
from particle_transformer.training.augmentation import Augmentation, Draws, random_draws
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.fit import fit_network
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.training.batch import Batch

JET_FEATURES = (
    "log(pt)", "eta", "phi", "-phi", "delta_phi(phi, met.phi)", "abs(eta)",
    "sin(delta_phi(phi, met.phi)) * eta",
)  # fmt: skip
EVENT_FEATURES = ("log(met.pt)", "met.phi")
SYMMETRIC = [0, 5]
"""Features of jets that no transformation changes."""


def augmentation(*transformations: Any) -> Augmentation:
    return Augmentation.of(
        transformations or TRANSFORMATIONS,
        {"jets": JET_FEATURES, "muons": ["log(pt)"]},
        EVENT_FEATURES,
    )


def polar(number: int, seed: int = 0) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Quantities of jets, muons and MET; a fifth of the events has no jet."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, number) * (rng.random(number) > 0.2)
    found: dict[str, Any] = {"met": (rng.exponential(50, number), rng.uniform(-3.14, 3.14, number))}
    for name, multiplicity in (("jets", counts), ("muons", rng.integers(0, 3, number))):
        total = int(multiplicity.sum())
        found[name] = (
            rng.exponential(40, total) + 20, rng.normal(0, 1.5, total),
            rng.uniform(-3.14, 3.14, total), rng.uniform(1, 20, total),
            np.concatenate([[0], np.cumsum(multiplicity)]).astype(np.int64),
        )  # fmt: skip
    return found, counts


def as_events(found: dict[str, Any]) -> Events:
    """The features written out in numpy, without the package's expressions."""
    met_pt, met_phi = found["met"]
    objects = {}
    for name in ("jets", "muons"):
        pt, eta, phi, mass, offsets = found[name]
        away = np.angle(np.exp(1j * (phi - np.repeat(met_phi, np.diff(offsets)))))
        columns = [np.log(pt), eta, phi, -phi, away, abs(eta), np.sin(away) * eta]
        momenta = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
        momenta.append(np.sqrt(sum(part**2 for part in momenta) + mass**2))
        values = np.stack(columns if name == "jets" else columns[:1], 1).astype(np.float32)
        objects[name] = Ragged(values, offsets, np.stack(momenta, 1).astype(np.float32))
    number = len(met_pt)
    process = (np.arange(number) % 2).astype(np.int16)
    return Events(
        objects, np.stack([np.log(met_pt), met_phi], 1).astype(np.float32),
        np.empty((number, 0), dtype=np.float32), np.ones(number), np.arange(number)[:, None], process, np.zeros_like(process), {},
    )  # fmt: skip


def transformed(found: dict[str, Any], draws: Draws) -> dict[str, Any]:
    """Transform the quantities themselves."""
    met_pt, met_phi = found["met"]

    def turned(phi: NDArray[Any], sign: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
        angle: NDArray[Any] = np.angle(np.exp(1j * (sign * phi + alpha)))
        return angle

    after: dict[str, Any] = {"met": (met_pt, turned(met_phi, draws.phi, draws.alpha))}
    for name in ("jets", "muons"):
        pt, eta, phi, mass, offsets = found[name]
        own = [np.repeat(each, np.diff(offsets)) for each in (draws.eta, draws.phi, draws.alpha)]
        after[name] = pt, own[0] * eta, turned(phi, own[1], own[2]), mass, offsets
    return after


def assert_same_events(left: Events, right: Events) -> None:
    for name, ragged in left.objects.items():
        other = right.objects[name]
        assert ragged.momenta is not None
        assert other.momenta is not None
        np.testing.assert_allclose(ragged.momenta, other.momenta, rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(ragged.offsets, other.offsets)
        assert_same_modulo_turns(ragged.values, other.values)
    assert_same_modulo_turns(left.event, right.event)


def assert_same_modulo_turns(left: NDArray[Any], right: NDArray[Any]) -> None:
    # Only angles reach ±π, where one may have become the other.
    turns = np.where(abs(left - right) > 6.28, 2 * np.pi * np.sign(left - right), 0)
    np.testing.assert_allclose(left - turns, right, atol=2e-6, rtol=2e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sets(st.sampled_from(TRANSFORMATIONS), min_size=1))
def test_features_and_momenta_are_those_of_the_transformed_event(seed: int, chosen: Any) -> None:
    found, _ = polar(30, seed)
    drawn = random_draws(seed, 1, [(7, 37)])
    one, none = np.ones(30), np.zeros(30)
    draws = Draws(
        drawn.eta if "flip_eta" in chosen else one,
        drawn.phi if "flip_phi" in chosen else one,
        drawn.alpha if "rotate_phi" in chosen else none,
        drawn.uniform,
    )
    events = as_events(found)
    assert_same_events(
        augmentation(*chosen).apply(events, drawn), as_events(transformed(found, draws))
    )


def test_an_event_by_hand() -> None:
    objects = {
        "jets": Ragged(
            np.array([[2.0, 0.5, -3.0]], dtype=np.float32),
            np.array([0, 0, 1]),
            np.array([[3.0, 4.0, 12.0, 14.0]], dtype=np.float32),
        )
    }
    columns = as_events(polar(2)[0])
    events = replace(columns, objects=objects, event=np.array([[1.0], [2.0]], dtype=np.float32))
    both = Augmentation.of(TRANSFORMATIONS, {"jets": ["log(pt)", "eta", "phi"]}, ["met.phi"])
    quarter = np.full(2, np.pi / 2)
    after = both.apply(
        events, Draws(np.array([1.0, -1.0]), np.array([1.0, -1.0]), quarter, np.zeros(2))
    )
    # φ = −3 is reflected to 3, and turned by π/2 to 3 + π/2 − 2π; (3, 4) to (3, −4), to (4, 3).
    jets = after.objects["jets"]
    np.testing.assert_allclose(jets.values, [[2.0, -0.5, 3 + np.pi / 2 - 2 * np.pi]], rtol=1e-6)
    assert jets.momenta is not None
    np.testing.assert_allclose(jets.momenta, [[4.0, 3.0, -12.0, 14.0]], rtol=1e-6)
    np.testing.assert_allclose(after.event[:, 0], [1 + np.pi / 2, -2 + np.pi / 2], rtol=1e-6)


def test_angles_stay_below_pi_in_float32() -> None:
    angles = Augmentation.of(["rotate_phi"], {"jets": ["phi"]})
    phi = np.linspace(-np.pi, np.pi, 2001).astype(np.float32)[:, None]
    columns = as_events(polar(2001)[0])
    events = replace(
        columns, objects={"jets": Ragged(phi, np.arange(2002))}, event=columns.event[:, :0]
    )
    for alpha in (0.0, np.pi, 2 * np.pi - 1e-9, 1e-9):
        draws = Draws(np.ones(2001), np.ones(2001), np.full(2001, alpha), np.zeros(2001))
        values = angles.apply(events, draws).objects["jets"].values
        assert values.min() >= -np.float32(np.pi)
        assert values.max() < np.float32(np.pi)


def test_memory_mapped_columns_are_not_written_to() -> None:
    events = as_events(polar(20)[0])
    arrays = [events.event]
    for ragged in events.objects.values():
        arrays += [ragged.values, ragged.momenta] if ragged.momenta is not None else []
    for array in arrays:
        array.flags.writeable = False
    after = augmentation().apply(events, random_draws(1, 0, [(0, 20)]))
    assert after.objects["jets"].values.flags.writeable


def test_draws_depend_on_seed_epoch_and_position_alone() -> None:
    whole = random_draws(3, 1, [(0, 50)])
    parts = random_draws(3, 1, [(0, 7), (7, 8), (20, 50)])
    rows = [*range(8), *range(20, 50)]
    for name in ("eta", "phi", "alpha"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name)[rows])
    for other in (random_draws(4, 1, [(0, 50)]), random_draws(3, 2, [(0, 50)])):
        assert not np.isin(other.alpha, whole.alpha).any()


def test_draws_are_even_and_independent() -> None:
    draws = random_draws(1, 0, [(0, 100_000)])
    turn = draws.alpha / (2 * np.pi)
    assert 0 <= turn.min() < 1e-3
    assert 1 - 1e-3 < turn.max() < 1
    columns = np.stack([draws.eta, draws.phi, turn - 0.5, draws.eta * draws.phi])
    assert set(np.unique(columns[:2])) == {-1.0, 1.0}
    # Five standard errors of means and correlations.
    np.testing.assert_allclose(columns.mean(1), 0, atol=5 / np.sqrt(100_000))
    np.testing.assert_allclose(np.corrcoef(columns) - np.eye(4), 0, atol=5 / np.sqrt(100_000))


@pytest.mark.parametrize("kind", ["concatenated", "both"])
def test_a_network_of_symmetric_features_and_pair_bias_sees_the_same(kind: Any) -> None:
    found, counts = polar(40)
    before = as_events(found)
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(
        {"jets": 2, "muons": 1}, 1, 16, 16, 16, 8, 8, 2, num_att_blocks=2, pair_bias=True,
        layer_scale=1.0, event_features=kind,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():  # no branch starts at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    jets = replace(before.objects["jets"], values=before.objects["jets"].values[:, SYMMETRIC])
    before = replace(before, objects={**before.objects, "jets": jets}, event=before.event[:, :1])
    symmetric = Augmentation.of(
        TRANSFORMATIONS, {"jets": ["log(pt)", "abs(eta)"], "muons": ["log(pt)"]}, ["log(met.pt)"]
    )
    after = symmetric.apply(before, random_draws(1, 0, [(0, 40)]))
    assert counts.max() > 1
    with torch.no_grad():
        logits = [model.forward_packed(PackedBatch.from_events(each)) for each in (before, after)]
        jets = before.objects["jets"]
        assert jets.momenta is not None
        moved = replace(jets, momenta=jets.momenta * np.array([1, -1, 1, 1], dtype=np.float32))
        broken = replace(before, objects={**before.objects, "jets": moved})
        other = model.forward_packed(PackedBatch.from_events(broken))
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(other, logits[0], rtol=1e-4, atol=1e-4)  # only jets reflected


def module(number: int = 120, **options: Any) -> EventDataModule:
    events = as_events(polar(number)[0])
    parts = (np.arange(100), np.arange(100, number))
    samples = (make_sample(events, rows, [0, 1]) for rows in parts)
    return EventDataModule(
        *samples, batch_size=9, seed=3, momenta=True, **{"augmentation": augmentation(), **options}
    )


def flat(batch: Batch) -> list[torch.Tensor]:
    packed, *rest, _ = batch
    assert packed.momenta is not None
    tensors = [packed.event, *packed.objects.values(), *packed.offsets.values()]
    return [*tensors, *packed.momenta.values(), *rest]


def same(left: Batch, right: Batch) -> bool:
    return all(map(torch.equal, flat(left), flat(right)))


def test_every_epoch_sees_other_draws_of_training_events_only() -> None:
    data, plain = module(), module(augmentation=None)
    epochs = []
    for epoch in range(2):
        rows: dict[float, list[float]] = {}
        loader, reference = data.train_dataloader(), plain.train_dataloader()
        loader.sampler.set_epoch(epoch)
        reference.sampler.set_epoch(epoch)
        for batch, other in zip(loader, reference, strict=True):
            # log(met.pt) tells the events apart and does not change; weights and targets neither.
            assert torch.equal(batch[0].event[:, 0], other[0].event[:, 0])
            assert torch.equal(batch[2], other[2])
            for before, after in zip(other[0].event, batch[0].event, strict=True):
                rows[float(before[0])] = [float(before[1]), float(after[1])]
        epochs.append(rows)
    first, second = epochs
    assert len(first) == 100
    assert all(abs(before - after) > 0 for before, after in first.values())
    assert all(first[event][1] != second[event][1] for event in first)
    validation = zip(data.val_dataloader(), plain.val_dataloader(), strict=True)
    assert all(same(*pair) for pair in validation)


@pytest.mark.parametrize("ahead", [1, 30, 10_000])
def test_how_far_is_read_ahead_changes_no_draw(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    expected = list(module().train_dataloader())
    monkeypatch.setattr(datamodule, "_AHEAD", ahead)
    assert all(same(*pair) for pair in zip(module().train_dataloader(), expected, strict=True))


def test_the_ranks_see_what_one_alone_would(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(module().train_dataloader())
    shares = []
    for rank in range(2):
        ranks = {"rank": rank, "ranks": 2}
        monkeypatch.setattr(EventDataModule, "_rank", lambda self, ranks=ranks: ranks)
        shares.append(list(module().train_dataloader()))
    for whole, one, other in zip(expected, *shares, strict=True):
        joined = torch.cat([one[0].event, other[0].event])
        assert torch.equal(joined, whole[0].event)
        joined = torch.cat([one[0].objects["jets"], other[0].objects["jets"]])
        assert torch.equal(joined, whole[0].objects["jets"])


@pytest.mark.parametrize("delivered", [1, 5])
@pytest.mark.parametrize("sampling", ["shuffled", "stratified"])
def test_a_resumed_epoch_gives_the_same_events(delivered: int, sampling: Any) -> None:
    loader = module(sampling=sampling).train_dataloader()
    loader.sampler.set_epoch(2)
    expected = list(loader)
    batches = iter(loader)
    for _ in range(delivered):
        next(batches)
    resumed = module(sampling=sampling)
    resumed.load_state_dict(loader.state_dict())
    rest = list(resumed.train_dataloader())
    assert len(rest) == len(expected) - delivered
    assert all(same(*pair) for pair in zip(rest, expected[delivered:], strict=True))


def test_an_epoch_of_another_augmentation_is_not_resumed() -> None:
    state = module().train_dataloader().state_dict()
    with pytest.raises(SampleError, match=r"augmentation: the checkpoint's batches were made with"):
        module(augmentation=None).train_dataloader().load_state_dict(state)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(AnalysisFileError, match=r"got 'flip_et'; nearest: flip_eta"):
        Augmentation(("flip_et",))  # type: ignore[arg-type]
    with pytest.raises(AnalysisFileError, match=r"flip_eta, but what .* feature 1 of jets is not"):
        Augmentation.of(["flip_eta"], {"jets": ["pt", "exp(eta)"]})
    with pytest.raises(AnalysisFileError, match=r"rotate_phi, but what .* feature 0 of event is"):
        Augmentation.of(["rotate_phi"], {}, ["cos(met.phi)"])


def test_other_events_are_refused(tmp_path: Path) -> None:
    events = as_events(polar(40)[0])
    model = AnalysisObjectTransformer({"jets": 7, "muons": 1}, 2, 8, 8, 8, 8, 8, 2)

    roles = np.arange(30), np.arange(30, 40)

    def fit(sample: Events, chosen: Augmentation) -> None:
        training, validation = (make_sample(sample, rows, [0, 1]) for rows in roles)
        fit_network(
            model, training, validation, FitSettings(epochs=1, augmentation=chosen),
            checkpoint_dir=tmp_path, log_dir=tmp_path,
        )  # fmt: skip

    fewer = Augmentation.of(["flip_eta"], {"jets": ["eta"], "muons": ["pt"]})
    with pytest.raises(SampleError, match=r"got the behaviour of \{'jets': 1, .* expected that of"):
        fit(events, fewer)
    wide = replace(events, event=events.event + np.float32(4))
    with pytest.raises(SampleError, match=r"feature 1 of event is an angle, but .* value 7\.\d+; "):
        fit(wide, augmentation())


def test_a_network_is_trained_on_augmented_events(tmp_path: Path) -> None:
    events = as_events(polar(200)[0])
    roles = np.arange(150), np.arange(150, 200)
    results = []
    for chosen in (augmentation(), augmentation(), Augmentation()):
        torch.manual_seed(0)
        model = AnalysisObjectTransformer(
            {"jets": 7, "muons": 1}, 2, 8, 8, 8, 8, 8, 2, pair_bias=True
        )
        training, validation = (make_sample(events, rows, [0, 1]) for rows in roles)
        fit = fit_network(
            model, training, validation, FitSettings(epochs=2, batch_size=50, augmentation=chosen),
            checkpoint_dir=tmp_path, log_dir=tmp_path,
        )  # fmt: skip
        results.append([record["val_loss"] for record in fit.history])
    assert results[0] == results[1]
    assert results[0] != results[2]
