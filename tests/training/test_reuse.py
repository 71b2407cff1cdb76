"""What a network takes over from an older one, feature by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.events.packed import PackedBatch
from particle_transformer.training import FitSettings, Objective, fit_network, make_sample
from particle_transformer.training.reuse import Inputs, plan_reuse
from particle_transformer.training.takeover import initialise
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

OLD = Inputs(
    {"jets": ["log(pt)", "abs(eta)", "btag", "area"], "muons": ["pt", "charge"]},
    ["log(met.pt)", "count(jets)"],
    ["signal", "top", "z"],
)


def network(inputs: Inputs, seed: int, **options: Any) -> AnalysisObjectTransformer:
    torch.manual_seed(seed)
    model = AnalysisObjectTransformer(
        {name: len(texts) for name, texts in inputs.objects.items()},
        len(inputs.event),
        **{
            "embed_dims": 8, "linear_dims1": 8, "linear_dims2": 8, "mlp_hidden_1": 8,
            "mlp_hidden_2": 8, "num_heads": 2, "num_att_blocks": 2, "num_class_blocks": 1,
            "num_outputs": len(inputs.classes), **options,
        },
    ).eval()  # fmt: skip
    for parameter in model.parameters():  # biases and gains that are not all 0 or 1
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def begun(
    own: Inputs, older: AnalysisObjectTransformer, old: Inputs = OLD, **options: Any
) -> tuple[AnalysisObjectTransformer, AnalysisObjectTransformer]:
    """A network that has taken over what it can, and what it was before."""
    model, fresh = network(own, 2, **options), network(own, 2, **options)
    initialise(model, older, plan_reuse(model.arguments, own, older.arguments, old))
    return model, fresh


def batch(columns: dict[str, np.ndarray], event: np.ndarray) -> PackedBatch:
    """Three events: with objects, with one, with none."""
    offsets = torch.tensor([0, 4, 5, 5])
    return PackedBatch(
        {name: torch.as_tensor(values).float() for name, values in columns.items()},
        dict.fromkeys(columns, offsets),
        torch.as_tensor(event).float(),
        {
            name: torch.tensor([[30.0, 4, 5, 40], [-9, 8, 7, 20], [1, 2, 3, 9], [5, 5, 5, 11],
                                [8, 0, 1, 9]])
            for name in columns
        },
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(
    kept=st.permutations(range(4)),
    number=st.integers(1, 4),
    new=st.integers(0, 2),
    kind=st.sampled_from(["linear", "periodic", "piecewise_linear"]),
    form=st.sampled_from(["both", "token", "concatenated"]),
    seed=st.integers(0, 9),
)
def test_begins_as_the_older_network_whose_missing_features_are_at_zero(
    kept: list[int], number: int, new: int, kind: str, form: str, seed: int
) -> None:
    """Any choice and order of the features, and new ones with any values, change nothing.

    A standardised feature at zero gives zero only where it enters as it is.
    """
    if kind != "linear":
        number = 4
    options: dict[str, Any] = {"feature_embedding": kind, "event_features": form, "pair_bias": True}
    older = network(OLD, 1, **options)
    chosen = kept[:number]
    own = Inputs(
        {
            "muons": OLD.objects["muons"],
            "jets": [*(f"x{i} + 1" for i in range(new)), *(OLD.objects["jets"][i] for i in chosen)],
        },
        ["count( jets )", "log(ht)", "log( met.pt)"],
        OLD.classes,
    )
    model, _ = begun(own, older, **options)
    rng = np.random.default_rng(seed)
    jets, muons, event = rng.normal(size=(5, 4)), rng.normal(size=(5, 2)), rng.normal(size=(3, 2))
    jets[:, [i for i in range(4) if i not in chosen]] = 0.0
    expected = older.forward_packed(batch({"jets": jets, "muons": muons}, event))
    more = rng.normal(size=(5, new)) * 10
    found = model.forward_packed(
        batch(
            {"muons": muons, "jets": np.hstack([more, jets[:, chosen]])},
            np.column_stack([event[:, 1], rng.normal(size=3), event[:, 0]]),
        )
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_scaling_is_left_to_the_new_events() -> None:
    older = network(OLD, 1)
    for scaling in (*older.object_scaling, older.event_scaling):
        scaling.mean += 3.0
        scaling.scale *= 7.0
    model, fresh = begun(OLD, older)
    for name, value in model.state_dict().items():
        if "scaling" in name:
            torch.testing.assert_close(value, fresh.state_dict()[name], rtol=0, atol=0)
        else:
            torch.testing.assert_close(value, older.state_dict()[name], rtol=0, atol=0)


def test_one_output_for_many_classes_is_a_fresh_last_layer_and_nothing_else_is() -> None:
    older = network(OLD, 1)
    own = Inputs(OLD.objects, OLD.event, ["signal", "background"])
    model, fresh = begun(own, older, num_outputs=1)
    kept, before = model.state_dict(), fresh.state_dict()
    for name in ("head.6.weight", "head.6.bias"):
        torch.testing.assert_close(kept[name], before[name], rtol=0, atol=0)
    for name in kept:
        if "scaling" not in name and not name.startswith("head.6"):
            torch.testing.assert_close(kept[name], older.state_dict()[name], rtol=0, atol=0)
    plan = plan_reuse(model.arguments, own, older.arguments, OLD)
    assert plan.fresh == ("last layer",)


def test_a_collection_without_a_feature_in_common_is_fresh() -> None:
    older = network(OLD, 1)
    own = Inputs({"taus": ["log(pt)"], "muons": ["log(pt)"], "Jet": ["btag"]}, ["ht"], OLD.classes)
    model, fresh = begun(own, older)
    plan = plan_reuse(model.arguments, own, older.arguments, OLD)
    assert {name: mapped.source for name, mapped in plan.objects.items()} == {
        "taus": None, "muons": None, "Jet": "jets"
    }  # fmt: skip
    assert plan.objects["Jet"].unused == ("log(pt)", "abs(eta)", "area")
    assert plan.event.source is None
    for number in (0, 1):
        for value, before in zip(
            model.embedding[number].parameters(), fresh.embedding[number].parameters(), strict=True
        ):
            torch.testing.assert_close(value, before, rtol=0, atol=0)
        torch.testing.assert_close(
            model.collection_embedding[number], fresh.collection_embedding[number], rtol=0, atol=0
        )
    kept, drawn, known = (net.state_dict() for net in (model, fresh, older))
    name = "event_embedding.layers.0.weight"
    torch.testing.assert_close(kept[name], drawn[name], rtol=0, atol=0)
    name = "embedding.{}.layers.0.weight"
    torch.testing.assert_close(
        kept[name.format(2)][:, 0], known[name.format(0)][:, 2], rtol=0, atol=0
    )


def test_one_older_collection_serves_one_new_one() -> None:
    older = network(OLD, 1)
    own = Inputs({"Jets": ["btag"], "jets": ["btag"]}, OLD.event, OLD.classes)
    plan = plan_reuse(network(own, 2).arguments, own, older.arguments, OLD)
    assert (plan.objects["Jets"].source, plan.objects["jets"].source) == (None, "jets")


@pytest.mark.parametrize("has", [True, False])
def test_parts_that_only_one_of_them_has(has: bool) -> None:
    older = network(OLD, 1, pair_bias=has)
    options: dict[str, Any] = {"pair_bias": not has, "regression_targets": 1}
    model, fresh = begun(OLD, older, **options)
    plan = plan_reuse(model.arguments, OLD, older.arguments, OLD)
    assert plan.fresh == (("regression head",) if has else ("pair bias", "regression head"))
    own = {name for name in model.state_dict() if name not in older.state_dict()}
    assert own
    for name in own:
        torch.testing.assert_close(
            model.state_dict()[name], fresh.state_dict()[name], rtol=0, atol=0
        )


def test_classes_that_both_have_keep_their_outputs() -> None:
    """Shares of the classes in training are taken out of the biases: they are those of the sample."""
    older = network(OLD, 1)
    own = Inputs(OLD.objects, OLD.event, ["signal", "w", "z", "qcd"])
    model, fresh = network(own, 2), network(own, 2)
    plan = plan_reuse(model.arguments, own, older.arguments, OLD)
    assert plan.outputs == ((0, 0), (2, 2))
    assert plan.classes == ("signal", "z")
    assert plan.fresh == ()
    initialise(model, older, plan, [0.5, 1.0, -2.0])
    assert model.has_begun
    for output, (expected, bias) in enumerate(
        [
            (older.last_layer.weight[0], older.last_layer.bias[0] + 0.5),
            (fresh.last_layer.weight[1], fresh.last_layer.bias[1]),
            (older.last_layer.weight[2], older.last_layer.bias[2] - 2.0),
            (fresh.last_layer.weight[3], fresh.last_layer.bias[3]),
        ]
    ):
        torch.testing.assert_close(model.last_layer.weight[output], expected, rtol=0, atol=0)
        torch.testing.assert_close(model.last_layer.bias[output], bias)


@pytest.mark.parametrize("begun", [False, True])
def test_a_fit_begins_from_the_biases_that_were_taken_over(begun: bool, tmp_path: Path) -> None:
    """With the offsets of the new sample in the loss; a fresh network begins from those alone."""
    model = toy_model(num_outputs=2)
    model.has_begun = begun
    before = model.last_layer.bias.detach().clone()
    events, _ = toy_events(200)
    training, validation = (
        make_sample(events, rows, [0, 1]) for rows in (np.arange(150), np.arange(150, 200))
    )
    options = FitSettings(epochs=1, learning_rate=1e-30, objective=Objective(offsets=(0.7, -0.2)))
    fit_network(model, training, validation, options, checkpoint_dir=tmp_path, log_dir=tmp_path)
    expected = torch.tensor([-0.7, 0.2]) + (before if begun else 0.0)
    torch.testing.assert_close(model.last_layer.bias.detach(), expected)
