"""The artefact's README.md says what the network is, and its example runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.artefact import save_artefact
from particle_transformer.network_files.model_card import DESCRIBED, model_card

if TYPE_CHECKING:
    from pathlib import Path

METADATA: dict[str, Any] = {
    "analysis": "ttH-invisible",
    "fold": 3,
    "folds": 5,
    "classes": ["signal", "top"],
    "objects": {"jets": ["log(pt)", "btag"], "muons": ["charge"]},
    "event": ["log(met.pt)", "count(jets)"],
    "store_fingerprint": "5eed" * 16,
}


def _network(**change: Any) -> AnalysisObjectTransformer:
    arguments = {"input_dim_obj": {"jets": 2, "muons": 1}, "pair_bias": True, **change}
    return AnalysisObjectTransformer(
        arguments.pop("input_dim_obj"), 2, 8, 8, 8, 8, 8, 2, **arguments
    ).eval()


def _section(card: str, name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def test_the_card_names_the_columns_in_order_with_units() -> None:
    text = _section(model_card(METADATA, _network().arguments), "Input")
    assert "GeV, angles in radians" in text
    assert re.findall(r"`(jets|muons)`|column (\d): `(.+)`", text) == [
        ("jets", "", ""),
        ("", "0", "log(pt)"),
        ("", "1", "btag"),
        ("muons", "", ""),
        ("", "0", "charge"),
        ("", "0", "log(met.pt)"),
        ("", "1", "count(jets)"),
    ]
    assert "Of the event: none." in model_card({**METADATA, "event": []}, _network().arguments)


def test_the_card_says_which_output_means_what() -> None:
    one = _section(model_card(METADATA, _network().arguments), "Output")
    assert "One logit per event: the log-odds of signal against top." in one
    assert "softmax" not in one
    three = _section(
        model_card(
            {**METADATA, "classes": ["signal", "top", "vector-bosons"]},
            _network(num_outputs=3).arguments,
        ),
        "Output",
    )
    assert "softmax" in three
    assert "the first class is signal" in three
    assert re.findall(r"column (\d): (.+)", three) == [
        ("0", "signal"),
        ("1", "top"),
        ("2", "vector-bosons"),
    ]


def test_the_card_names_the_parameters_of_the_hypotheses() -> None:
    conditioning = {
        "names": ["mass", "width"], "points": [[500.0, 0.1], [1000.0, 0.2]],
        "probabilities": [0.5, 0.5], "process_point": [0, 1, -1],
    }  # fmt: skip
    event = [*METADATA["event"], "mass", "width"]
    arguments = _network().arguments
    card = model_card({**METADATA, "event": event, "conditioning": conditioning}, arguments)
    text = _section(card, "Parameters")
    assert "The last event features, `mass`, `width`, say for which signal" in text
    assert "- mass = 500, width = 0.1\n- mass = 1000, width = 0.2\n" in text
    assert "arXiv:1601.07913" in text
    assert "- column 3: `width`" in _section(card, "Input")
    assert "Parameters" not in model_card({**METADATA, "conditioning": None}, arguments)


def test_the_card_tells_two_scores_from_two_classes() -> None:
    arguments = _network(num_outputs=2).arguments
    text = _section(model_card({**METADATA, "two_scores": True}, arguments), "Output")
    assert text.startswith("\nTwo logits per event, trained to be independent of each other in top")
    assert "The sigmoid of their sum is the combined score." in text
    assert "softmax" not in text


def test_the_card_names_the_regressed_quantities() -> None:
    arguments = _network(regression_targets=2).arguments
    text = _section(
        model_card({**METADATA, "regression": ["gen_met", "log(gen_ht)"]}, arguments), "Output"
    )
    assert "Regressed quantities:\n\n- column 0: `gen_met`\n- column 1: `log(gen_ht)`\n" in text
    assert "Regressed" not in model_card({**METADATA, "regression": []}, arguments)


def test_the_card_says_what_was_never_read() -> None:
    text = _section(model_card(METADATA, _network().arguments), "Fold")
    assert "never read an event of fold 3" in text
    assert "other 4 of the 5 folds may have been trained on" in text


def test_the_card_differs_between_networks() -> None:
    arguments = _network().arguments
    cards = {
        model_card({**METADATA, key: value}, arguments)
        for key, value in [
            ("analysis", "other"), ("fold", 1), ("folds", 4), ("classes", ["signal", "w"]),
            ("objects", {"jets": ["eta", "btag"], "muons": ["charge"]}),
            ("event", ["met.pt", "count(jets)"]), ("store_fingerprint", "0" * 64),
        ]
    }  # fmt: skip
    assert len(cards | {model_card(METADATA, arguments)}) == len(DESCRIBED) + 1


def test_papers_and_licence_are_named() -> None:
    with_bias = model_card(METADATA, _network().arguments)
    without = model_card(METADATA, _network(pair_bias=False).arguments)
    for card in (with_bias, without):
        assert "arXiv:2103.17239" in _section(card, "Citation")
        assert "Apache-2.0" in _section(card, "Licence")
    assert "arXiv:2202.03772" in with_bias
    assert "arXiv:2202.03772" not in without


@pytest.mark.parametrize("metadata", [METADATA, {}], ids=["described", "bare"])
@pytest.mark.parametrize("pair_bias", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_the_saved_cards_example_runs(
    tmp_path: Path, metadata: dict[str, Any], pair_bias: bool, named: bool
) -> None:
    torch.manual_seed(1)
    network = _network(pair_bias=pair_bias, **({} if named else {"input_dim_obj": 2}))
    if metadata and not named:
        metadata = {**metadata, "objects": {"objects": ["log(pt)", "btag"]}}
    save_artefact(tmp_path / "network", network, metadata)
    card = (tmp_path / "network" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found
    assert len(found[1].splitlines()) == 3
    # As the card says: slots that are True are padding, so that nothing in them matters.
    objects: Any = {"jets": torch.randn(3, 4, 2), "muons": torch.randn(3, 1, 1)}
    masks: Any = {"jets": torch.tensor([[False, False, True, True]] * 3)}
    masks["muons"] = torch.zeros(3, 1, dtype=torch.bool)
    momenta: Any = {name: torch.rand(3, x.shape[1], 4) for name, x in objects.items()}
    for name in momenta:
        momenta[name][..., 3] += 3
    scope: dict[str, Any] = {"event": torch.randn(3, 2)}
    logits = []
    for filling in (0.0, 1e6):
        objects["jets"][:, 2:] = filling
        arguments = {"objects": objects, "padding_mask": masks, "momenta": momenta}
        scope |= arguments if named else {key: value["jets"] for key, value in arguments.items()}
        exec(found[1].replace("path/of/this/folder", str(tmp_path / "network")), scope)  # noqa: S102
        logits.append(scope["logits"])
    assert logits[0].shape == (3, 1)
    assert torch.equal(logits[0], logits[1])
    assert scope["model"].metadata == metadata
