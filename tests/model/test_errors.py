"""What the model refuses, and in which words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from model.samples import random_events, small_model
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import ModelInputError
from particle_transformer.events.packed import PackedBatch


def _model(**options: Any) -> AnalysisObjectTransformer:
    return AnalysisObjectTransformer(6, 2, 16, 16, 16, 8, 8, 4, **options)


GOOD: dict[str, Any] = {
    "objects": torch.zeros(3, 4, 6),
    "event": torch.zeros(3, 2),
    "padding_mask": torch.zeros(3, 4, dtype=torch.bool),
    "momenta": torch.zeros(3, 4, 4),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": torch.zeros(3, 6)},
         r"^objects: got shape \(3, 6\), expected \(batch=3, n, features=6\)$"),
        ({"objects": torch.zeros(3, 4, 5)},
         r"^objects: got shape \(3, 4, 5\), expected \(batch=3, n, features=6\)$"),
        ({"objects": torch.zeros(2, 4, 6)},
         r"^objects: got shape \(2, 4, 6\), expected \(batch=3, n, features=6\)$"),
        ({"objects": torch.zeros(3, 4, 6).double()},
         r"^objects: got dtype torch.float64, expected torch.float32$"),
        ({"objects": torch.zeros(3, 4, 6).half()},
         r"^objects: got dtype torch.float16, expected torch.float32$"),
        ({"objects": torch.zeros(3, 4, 6, device="meta")},
         r"^objects: got a tensor on meta, expected cpu$"),
        ({"event": torch.zeros(3, 2).double()},
         r"^event: got dtype torch.float64, expected torch.float32$"),
        ({"momenta": torch.zeros(3, 4, 4).half()},
         r"^momenta: got dtype torch.float16, expected torch.float32$"),
        ({"padding_mask": torch.zeros(3, 4, dtype=torch.bool, device="meta")},
         r"^padding_mask: got a tensor on meta, expected cpu$"),
        ({"padding_mask": [[False] * 4] * 3},
         r"^padding_mask: got list, expected a bool tensor \(3, 4\)$"),
        ({"objects": [[1.0]]}, r"^objects: got list, expected a tensor \(batch=3, n, features=6\)$"),
        ({"objects": {"jets": torch.zeros(3, 4, 6)}},
         r"^objects: got a mapping, expected a tensor"),
        ({"event": torch.zeros(3)}, r"^event: got shape \(3,\), expected \(batch, features=2\)$"),
        ({"event": torch.zeros(3, 3)},
         r"^event: got shape \(3, 3\), expected \(batch, features=2\)$"),
        ({"padding_mask": torch.zeros(3, 4)},
         r"^padding_mask: got dtype torch.float32, expected torch.bool \(True = padded\)$"),
        ({"padding_mask": torch.zeros(3, 5, dtype=torch.bool)},
         r"^padding_mask: got shape \(3, 5\), expected \(3, 4\)$"),
        ({"padding_mask": torch.zeros(3, 4, 1, dtype=torch.bool)},
         r"^padding_mask: got shape \(3, 4, 1\), expected \(3, 4\)$"),
        ({"momenta": torch.zeros(3, 4, 3)},
         r"^momenta: got shape \(3, 4, 3\), expected \(batch=3, n=4, \(px, py, pz, E\)=4\)$"),
        ({"momenta": None}, r"^momenta: got None, .*pair_bias=True$"),
    ],
)  # fmt: skip
def test_forward_names_argument_got_and_expected(change: dict[str, Any], message: str) -> None:
    arguments = {**GOOD, **change}
    objects, event = arguments.pop("objects"), arguments.pop("event")
    with pytest.raises(ModelInputError, match=message):
        _model(pair_bias=True)(objects, event, **arguments)


def test_momenta_are_ignored_without_the_pair_bias() -> None:
    model = _model().eval()
    plain = model(GOOD["objects"], GOOD["event"])
    assert torch.equal(model(GOOD["objects"], GOOD["event"], momenta=torch.ones(3, 4, 4)), plain)


@pytest.mark.parametrize(
    ("argument", "change", "message"),
    [
        ("objects", lambda o: {"jets": o["jets"]},
         r"^objects: collection 'muons' is missing; got jets$"),
        ("objects", lambda o: {**o, "muon": o["muons"]},
         r"^objects: unknown collection 'muon'; nearest: muons$"),
        ("mask", lambda o: {"jets": o["jets"]},
         r"^padding_mask: collection 'muons' is missing; got jets$"),
        ("momenta", lambda o: {},
         r"^momenta: collection 'jets' is missing; got none$"),
        ("objects", lambda o: o["jets"],
         r"^objects: got Tensor, expected a mapping with the collections jets, muons$"),
        ("objects", lambda o: {**o, "muons": o["muons"][..., :1]},
         r"^objects\['muons'\]: got shape .*, expected \(batch=2, n, features=2\)$"),
        ("mask", lambda o: {**o, "jets": o["jets"].int()},
         r"^padding_mask\['jets'\]: got dtype torch.int32, expected torch.bool"),
    ],
)  # fmt: skip
def test_collections_are_named(argument: str, change: Any, message: str) -> None:
    events = random_events(0, [(2, 1), (1, 3)])
    arguments: dict[str, Any] = {
        "objects": events.objects, "mask": events.mask, "momenta": events.momenta
    }  # fmt: skip
    arguments[argument] = change(arguments[argument])
    with pytest.raises(ModelInputError, match=message):
        small_model()(
            arguments["objects"], events.event, arguments["mask"], momenta=arguments["momenta"]
        )


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        (torch.tensor([0, 2, 4]),
         r"^offsets\['objects'\]: got torch.int64 \(3,\), expected torch.int64 \(4,\) for 3 events$"),
        (torch.tensor([[0, 2, 4, 5]]), r"got torch.int64 \(1, 4\), expected torch.int64 \(4,\)"),
        (torch.tensor([0, 2, 4, 5]).int(), r"got torch.int32 \(4,\), expected torch.int64 \(4,\)"),
        (torch.tensor([0.0, 2.0, 4.0, 5.0]), r"got torch.float32 \(4,\), expected torch.int64"),
        ([0, 2, 4, 5], r"^offsets\['objects'\]: got list, expected a tensor torch.int64 \(4,\)"),
        (torch.zeros(4, dtype=torch.int64, device="meta"),
         r"^offsets\['objects'\]: got a tensor on meta, expected cpu$"),
        (torch.tensor([0, 2, 4, 6]), r"got offsets from 0 to 6, expected them to rise from 0 to the 5 packed"),
        (torch.tensor([1, 2, 4, 5]),
         r"got offsets from 1 to 5, expected them to rise from 0 to the 5 packed"),
        (torch.tensor([0, 2, 4, 4]), r"got offsets from 0 to 4, expected them to rise from 0 to"),
        (torch.tensor([0, 4, 2, 5]), r"expected them to rise"),
        (torch.tensor([0, -1, 2, 5]), r"expected them to rise"),
    ],
)  # fmt: skip
def test_offsets_fit_the_packed_rows(offsets: Any, message: str) -> None:
    batch = PackedBatch({"objects": torch.zeros(5, 6)}, {"objects": offsets}, torch.zeros(3, 2))
    with pytest.raises(ModelInputError, match=message):
        _model().forward_packed(batch)


def test_packed_batches_are_checked_like_padded_ones() -> None:
    good = random_events(0, [(2, 1)]).packed()
    model = small_model()
    with pytest.raises(ModelInputError, match=r"^momenta: got None"):
        model.forward_packed(PackedBatch(good.objects, good.offsets, good.event))
    with pytest.raises(ModelInputError, match=r"^momenta\['muons'\]: got shape \(2, 4\), expected"):
        model.forward_packed(
            PackedBatch(
                good.objects,
                good.offsets,
                good.event,
                {"jets": torch.zeros(2, 4), "muons": torch.zeros(2, 4)},
            )
        )
    with pytest.raises(ModelInputError, match=r"^offsets: collection 'muons' is missing"):
        model.forward_packed(
            PackedBatch(good.objects, {"jets": good.offsets["jets"]}, good.event, good.momenta)
        )


def test_what_is_no_packed_batch_is_named() -> None:
    model, good = small_model(), random_events(0, [(2, 1)]).packed()
    batch: Any = good.objects
    with pytest.raises(ModelInputError, match=r"^batch: got dict, expected a PackedBatch; padded"):
        model.forward_packed(batch)
    for field in ("objects", "offsets", "momenta"):
        batch = dataclasses.replace(good, **{field: getattr(good, field)["jets"]})
        with pytest.raises(
            ModelInputError,
            match=rf"^{field}: got Tensor, expected a mapping with the collections jets, muons$",
        ):
            model.forward_packed(batch)
    with pytest.raises(ModelInputError, match=r"^event: got a tensor on meta, expected cpu$"):
        model.forward_packed(good.to("meta"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_dim_obj": 0}, r"^input_dim_obj: got 0, expected an integer of at least 1$"),
        ({"input_dim_obj": {}}, r"^input_dim_obj: got no collection, expected at least one$"),
        ({"input_dim_obj": {"jets": -1}},
         r"^input_dim_obj\['jets'\]: got -1, expected an integer of at least 1$"),
        ({"input_dim_event": -1}, r"^input_dim_event: got -1, expected an integer of at least 0$"),
        ({"embed_dims": 12.5}, r"^embed_dims: got 12.5, expected an integer of at least 1$"),
        ({"mlp_hidden_2": True}, r"^mlp_hidden_2: got True, expected an integer"),
        ({"num_att_blocks": 0}, r"^num_att_blocks: got 0"),
        ({"num_class_blocks": 0}, r"^num_class_blocks: got 0"),
        ({"num_outputs": 0}, r"^num_outputs: got 0"),
        ({"num_heads": 3}, r"^num_heads: got 3, expected a divisor of linear_dims1=128$"),
        ({"linear_dims2": 36}, r"^num_heads: got 8, expected a divisor of linear_dims2=36$"),
        ({"linear_dims1": 36, "num_att_blocks": 2},
         r"^num_heads: got 8, expected a divisor of linear_dims1=36$"),
        ({"dropout": 1.0}, r"^dropout: got 1.0, expected a probability in \[0, 1\)$"),
        ({"layer_scale": 0.0}, r"^layer_scale: got 0.0, expected a positive number$"),
    ],
)  # fmt: skip
def test_the_constructor_refuses_impossible_networks(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelInputError, match=message):
        AnalysisObjectTransformer(**{"input_dim_obj": 6, "input_dim_event": 2, **arguments})


def test_heads_need_not_divide_a_width_that_never_attends() -> None:
    model = AnalysisObjectTransformer(6, 2, 10, 9, 16, num_heads=4, num_att_blocks=1)
    assert model(torch.zeros(2, 3, 6), torch.zeros(2, 2)).shape == (2, 1)


def test_model_errors_are_value_errors_too() -> None:
    with pytest.raises(ValueError, match="num_heads"):
        AnalysisObjectTransformer(6, 2, num_heads=7)
