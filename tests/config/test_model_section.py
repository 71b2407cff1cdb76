"""The section `model` and the constructor of the network say the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import ValidationError

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.config import Model
from particle_transformer.model.checks import OPTIONS

PARAMETERS = inspect.signature(AnalysisObjectTransformer).parameters
OF_THE_DATA = {"input_dim_obj", "input_dim_event", "num_outputs", "regression_targets"}


def test_every_option_of_the_network_is_in_the_file_with_its_default() -> None:
    defaults = {
        name: parameter.default for name, parameter in PARAMETERS.items() if name not in OF_THE_DATA
    }
    assert Model().model_dump() == defaults


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, known in OPTIONS.items() for v in known])
def test_every_choice_is_accepted_by_both(name: str, value: str) -> None:
    section = Model.model_validate({name: value, "embed_dims": 8, "num_heads": 2})
    model = AnalysisObjectTransformer({"jets": 2}, 1, **section.model_dump())
    assert model.arguments[name] == value


def test_other_options_reach_the_network() -> None:
    given: dict[str, Any] = {
        "class_feedforward_factor": 3, "pair_dims": [4], "layer_scale": 0.5, "pair_bias": True,
    }  # fmt: skip
    section = Model.model_validate({**given, "embed_dims": 8, "num_heads": 2})
    model = AnalysisObjectTransformer({"jets": 2}, 1, **section.model_dump())
    assert {name: model.arguments[name] for name in given} == given


def test_a_single_attention_block_has_the_last_width_only() -> None:
    widths = {"linear_dims1": 9, "linear_dims2": 8, "num_heads": 4}
    section = Model.model_validate({**widths, "num_att_blocks": 1})
    AnalysisObjectTransformer({"jets": 2}, 1, **section.model_dump())
    with pytest.raises(ValidationError, match=r"got 9, expected a multiple of num_heads = 4"):
        Model.model_validate({**widths, "num_att_blocks": 2})
