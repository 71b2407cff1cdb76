"""The search space: its keys and values against the analysis, before any data is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.config import (
    Analysis,
    Range,
    dump_analysis,
    load_analysis,
    parse_analysis,
    with_space,
    with_values,
)
from particle_transformer.errors import AnalysisFileError

TEXT = """
name: search
luminosity: 10
processes:
  sig: {class: signal, cross_section: 1, files: s.root}
  bkg: {class: background, cross_section: 2, files: b.root}
objects: {jets: {collection: Jet, features: [pt, eta]}}
training: {folds: 3, accumulate: 2}
model: {embed_dims: 48, num_heads: 6}
"""

SPACE = """
training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
training.batch_size: {low: 256, high: 1024, step: 256}
training.augmentation: [[], [flip_eta]]
training.ema: [null, 1e-1, 0.999]
model.dropout: {low: 0, high: 0.5}
model.embed_dims: [48, 96]
model.feedforward: [gelu, swiglu]
"""


def analysis_with(**tuning: Any) -> Analysis:
    return parse_analysis({**yaml.safe_load(TEXT), "tuning": tuning}, base=Path("/a"))


def test_a_space_and_its_round_trip(tmp_path: Path) -> None:
    analysis = analysis_with(space=yaml.safe_load(SPACE), trials=7)
    space = analysis.tuning.space
    assert space["training.learning_rate"] == Range(low=1e-4, high=1e-2, log=True)
    assert space["training.augmentation"] == ([], ["flip_eta"])
    assert space["training.ema"] == (None, 0.1, 0.999)
    path = tmp_path / "analysis.yaml"
    path.write_text(dump_analysis(analysis))
    assert load_analysis(path) == analysis


def test_which_ranges_are_of_integers() -> None:
    space = analysis_with(space=yaml.safe_load(SPACE)).tuning.space
    whole = {key: entry.is_whole(key) for key, entry in space.items() if isinstance(entry, Range)}
    assert whole == {
        "training.learning_rate": False, "training.batch_size": True, "model.dropout": False
    }  # fmt: skip
    assert Range(low=1, high=3).is_whole("model.class_feedforward_factor")
    assert not Range(low=1, high=3).is_whole("training.learning_rate")


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"trails": 3}, r"tuning\.trails: unknown key; nearest: trials"),
        ({"trials": 0}, r"tuning\.trials: got 0, expected an integer >= 1"),
        ({"folds": 4}, r"tuning\.folds: got 4, expected at most training\.folds = 3"),
        ({"timeout_minutes": 0}, r"tuning\.timeout_minutes: got 0, expected a number > 0"),
        ({"space": [1]}, r"tuning\.space: got a list, expected keys with values"),
    ],
)
def test_wrong_settings(tuning: dict[str, Any], message: str) -> None:
    with pytest.raises(AnalysisFileError, match=message):
        analysis_with(**tuning)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{training.learning_rte: [1, 2]}",
         r"training\.learning_rte: unknown key; nearest: training\.learning_rate"),
        ("{source.tree: [a, b]}", r"source\.tree: not a key of training or model"),
        ("{embed_dims: [48, 96]}", r"embed_dims: not a key .*: nearest: model\.embed_dims"),
        ("{model.pair_bias: [true, false]}", "pair_bias: cannot be tuned: .* prepared events"),
        ("{training.folds: [2, 3]}", "folds: cannot be tuned: .* which events"),
        ("{training.seed: [2, 3]}", "seed: cannot be tuned: .* the same for all trials"),
        ("{training.loggers: [csv, wandb]}", "loggers: cannot be tuned: .* changes no network"),
        ("{training.loss.gamma: [1, 2]}", "cannot be tuned: .* what the validation loss is"),
        ("{training.balance: [class, none]}", "cannot be tuned: .* what the validation loss is"),
        ("{model.dropout: 0.1}", r"got 0\.1, expected a list of choices, or a range such as"),
        ("{model.dropout: [0.1]}", "got 1, expected two choices or more"),
        ("{model.dropout: [0.1, 0.2, 0.1]}", r"0\.1 is given twice"),
        ("{model.dropout: {low: 0.1, hihg: 0.2}}", r"hihg: unknown key; nearest: high"),
        ("{model.dropout: {low: 0.1}}", r"model\.dropout\.high: missing"),
        ("{model.dropout: {low: 0.2, high: 0.1}}", r"high: got 0\.1, expected more than low = 0\.2"),
        ("{model.dropout: {low: no, high: 1}}", "low: got false, expected a finite number"),
        ("{model.dropout: {low: 0, high: .inf}}", "high: got inf, expected a finite number"),
        ("{model.dropout: {low: 0, high: 0.3, log: true}}", "low: got 0, expected a number > 0"),
        ("{model.dropout: {low: 0.1, high: 0.3, log: true, step: 0.1}}", "step: given beside log"),
        ("{model.dropout: {low: 0, high: 0.3, step: 0.2}}", "step: got 0.2, .* whole steps"),
        ("{model.dropout: {low: 0, high: 0.3, step: -0.1}}", "step: got -0.1, expected a number > 0"),
        # What the analysis itself refuses.
        ("{model.dropout: {low: 0, high: 1}}",
         r"space\.model\.dropout: 1 is refused \(model\.dropout: got 1, expected a number < 1\)"),
        ("{model.num_heads: [3, 5]}", r"num_heads: 5 is refused \(.* multiple of num_heads = 5\)"),
        ("{model.num_heads: {low: 2, high: 6}}", "num_heads: 4|5 is refused"),
        ("{training.batch_size: {low: 1, high: 9}}", r"batch_size: 1 is refused \(.*accumulate"),
        ("{training.batch_size: {low: 2.5, high: 9}}", r"2\.5 is refused \(.* an integer\)"),
        ("{training.compile: {low: 0, high: 1}}", r"compile: got a range, .* a list of choices$"),
        ("{training.sampling: {low: 0, high: 1}}", r"sampling: got a range, .* a list of choices$"),
        ("{model.num_att_blocks: {low: 1, high: 4, step: 1.5}}", r"2\.5 is refused .* an integer\)"),
        ("{model.embed_dims: {low: 24, high: 600}}", r"25 is refused \(.*multiple of num_heads = 6"),
        ("{model.embed_dims: {low: 24, high: 96, log: true}}", "25 is refused"),
        ("{training.patience: [null, 3]}", r"patience: null is refused"),
        ("{training.augmentation: [[], [flip_etta]]}", r'\["flip_etta"\] is refused \(.*flip_eta'),
        ("{model.num_heads: [6, 8], model.embed_dims: [48, 54]}",
         r"num_heads = 8 and model\.embed_dims = 54 do not go together \(.*\); leave one"),
    ],
)  # fmt: skip
def test_a_wrong_space(space: str, message: str) -> None:
    with pytest.raises(AnalysisFileError, match=message) as caught:
        analysis_with(space=yaml.safe_load(space))
    assert str(caught.value).startswith("analysis: tuning.space")
    assert "\n" not in str(caught.value)


@given(
    width=st.sampled_from([6, 12, 48, 96]),
    rate=st.floats(1e-6, 1.0),
    blocks=st.integers(1, 6),
)
def test_values_are_set_and_nothing_else(width: int, rate: float, blocks: int) -> None:
    analysis = analysis_with()
    values = {
        "model.embed_dims": width, "training.learning_rate": rate, "model.num_att_blocks": blocks
    }  # fmt: skip
    found = with_values(analysis, values)
    content = yaml.safe_load(TEXT)
    content["model"] |= {"embed_dims": width, "num_att_blocks": blocks}
    content["training"]["learning_rate"] = rate
    # As if the file had had them: the other widths, which it leaves out, follow.
    assert found == parse_analysis({**content, "tuning": {}}, base=Path("/a"))


def test_widths_that_were_set_do_not_follow() -> None:
    content = yaml.safe_load(TEXT)
    content["model"] |= {"linear_dims1": 24}
    analysis = parse_analysis(content, base=Path("/a"))
    model = with_values(analysis, {"model.embed_dims": 96}).model
    assert (model.embed_dims, model.linear_dims1, model.linear_dims2) == (96, 24, 96)
    model = with_values(analysis, {"model.embed_dims": 96, "model.linear_dims2": 48}).model
    assert (model.embed_dims, model.linear_dims1, model.linear_dims2) == (96, 24, 48)


@pytest.mark.parametrize("term", ["disco", "double_disco"])
def test_losses_of_other_batch_sizes_do_not_compare_with_a_distance_correlation(term: str) -> None:
    content = yaml.safe_load(TEXT)
    content["event"] = {"features": ["MET_pt"], "spectators": ["MET_phi"]}
    content["training"][term] = {"against": ["MET_phi"]} if term == "disco" else {"strength": 1}
    analysis = parse_analysis(content, base=Path("/a"))
    assert "training.batch_size" not in with_space(analysis).tuning.space
    content["tuning"] = {"space": {"training.batch_size": [256, 512]}}
    with pytest.raises(
        AnalysisFileError, match=r"batch_size: cannot be tuned with disco or double_disco"
    ):
        parse_analysis(content, base=Path("/a"))


def test_the_usual_space_leaves_out_what_the_analysis_refuses() -> None:
    space = with_space(analysis_with()).tuning.space
    assert space["model.embed_dims"] == (24, 48, 96)
    content = yaml.safe_load(TEXT)
    content["model"] |= {"embed_dims": 18}  # of which half is no multiple of 6 heads
    content["training"] |= {"accumulate": 512, "batch_size": 512}
    space = with_space(parse_analysis(content, base=Path("/a"))).tuning.space
    assert space["model.embed_dims"] == (18, 36)
    assert space["training.batch_size"] == (512, 1024)
    own = analysis_with(space={"model.dropout": [0, 0.1]})
    assert with_space(own) == own
