"""The network that comes with the package: whole, small, described, and fit for what it is for."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
import yaml

from particle_transformer.artefact import load_artefact
from particle_transformer.config import parse_analysis
from particle_transformer.events.packed import PackedBatch
from particle_transformer.simulation.analyses import analysis_files
from particle_transformer.simulation.samples import SAMPLES
from particle_transformer.training.initial import shipped, with_initial
from particle_transformer.training.reuse import Inputs, plan_reuse

if TYPE_CHECKING:
    from particle_transformer import AnalysisObjectTransformer

MEGABYTES = 5
DOCS = Path(__file__).parents[2] / "docs" / "pretrained.md"


@pytest.fixture(scope="module")
def network() -> tuple[AnalysisObjectTransformer, dict[str, Any]]:
    return load_artefact(shipped())


def test_it_is_whole_and_small(network: object) -> None:
    files = {path.name: path for path in shipped().iterdir()}
    assert set(files) == {"config.json", "model.safetensors", "README.md"}
    assert sum(path.stat().st_size for path in files.values()) < MEGABYTES * 1e6
    config = json.loads(files["config.json"].read_text())
    assert (
        config["sha256"]["weights"]
        == hashlib.sha256(files["model.safetensors"].read_bytes()).hexdigest()
    )


def test_its_card_says_what_it_learnt_from(
    network: tuple[AnalysisObjectTransformer, dict[str, Any]],
) -> None:
    model, metadata = network
    card = (shipped() / "README.md").read_text(encoding="utf-8")
    for heading in ("Training", "Input", "Limits", "Citation", "Licence"):
        assert f"\n## {heading}\n" in card
    trained = re.findall(r"^\| (\w+) \| (\w+) \| (\d+) \| (\d+) \|$", card, re.MULTILINE)
    assert {kind for _, kind, _, _ in trained} == set(metadata["classes"])
    assert {name.split("_")[0] for name, *_ in trained} >= {"ttH", "Gluino", "QCD", "TTbar"}
    for _, _, events, effective in trained:
        assert 0 < int(effective) <= int(events)
    measured = re.findall(r"^\| (\w+) \| \d+ \| (0\.\d+) ± (0\.\d+) \|$", card, re.MULTILINE)
    assert [name for name, _, _ in measured] == metadata["classes"]
    assert all(float(value) - 3 * float(error) > 0.5 for _, value, error in measured)
    assert len(metadata["inputs"]) == len(trained)
    assert model.arguments["num_outputs"] == len(metadata["classes"])


@pytest.mark.parametrize("file", [choice.file for choice in SAMPLES["jets-met"].analyses])
def test_analyses_of_the_simulated_sample_have_all_its_features(
    network: tuple[AnalysisObjectTransformer, dict[str, Any]], file: str, tmp_path: Path
) -> None:
    sample = SAMPLES["jets-met"]
    summaries = cast("Any", dict.fromkeys(sample.processes, SimpleNamespace(cross_section=1.0)))
    content = yaml.safe_load(analysis_files(sample, summaries)[file])
    content["training"]["init"] = "pretrained"
    analysis = with_initial(parse_analysis(content, base=tmp_path))
    model, metadata = network
    own = Inputs(
        {name: each.features for name, each in analysis.objects.items()},
        analysis.event.features,
        analysis.classes,
    )
    older = Inputs(metadata["objects"], metadata["event"], metadata["classes"])
    arguments = {**model.arguments, "num_outputs": len(analysis.classes)}
    plan = plan_reuse(arguments, own, model.arguments, older)
    assert not plan.objects["jets"].new
    assert not plan.objects["jets"].unused
    assert not plan.event.new
    assert plan.fresh == ()
    assert {"signal", "top", "z", "w", "dibosons"} <= set(plan.classes)


def test_the_page_has_its_features(
    network: tuple[AnalysisObjectTransformer, dict[str, Any]],
) -> None:
    _, metadata = network
    page = DOCS.read_text(encoding="utf-8")
    for name, features in (*metadata["objects"].items(), ("event", metadata["event"])):
        assert f"\n- {name}: {', '.join(f'`{text}`' for text in features)}\n" in page


def test_it_knows_b_jets(network: tuple[AnalysisObjectTransformer, dict[str, Any]]) -> None:
    """Of two equal events, that with b-tagged jets is more like top quarks and less like Z → νν."""
    model, metadata = network
    momenta = torch.tensor(
        [[150.0, 0, 50, 160], [-20, 100, 30, 110], [-60, -50, 10, 80], [10, -45, 60, 76]]
    )
    columns = torch.tensor(
        [
            [5.0, 0.3, 2.9, 2.5, 0.5, 0.0],
            [4.6, 0.3, 1.4, 2.3, 0.5, 0.0],
            [4.4, 0.1, 0.7, 2.2, 0.5, 0.0],
            [3.8, 1.1, 1.3, 2.0, 0.5, 0.0],
        ]
    )
    tagged = columns.clone()
    tagged[:2, 5], columns[:, 5] = 0.95, 0.05
    logits = model.forward_packed(
        PackedBatch(
            {"jets": torch.cat([columns, tagged])},
            {"jets": torch.tensor([0, 4, 8])},
            torch.tensor([[5.5, 6.0, 4.0]] * 2),
            {"jets": torch.cat([momenta, momenta])},
        )
    )
    top, z = (metadata["classes"].index(name) for name in ("top", "z"))
    plain, with_b = (logits[:, top] - logits[:, z]).tolist()
    assert with_b > plain + 1
