"""What the repository ships for users to copy is valid: example files, the page on the grammar."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from particle_transformer.config import Correction, load_analysis, parse_analysis
from particle_transformer.expressions import FUNCTIONS

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "analysis-file.md").read_text("utf-8")


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_examples_are_valid(path: Path) -> None:
    assert load_analysis(path).regions


def test_the_page_on_the_analysis_file_shows_a_valid_one() -> None:
    text = PAGE.partition("```yaml\n")[2].partition("```")[0]
    analysis = parse_analysis(yaml.safe_load(text), base=Path())
    assert analysis.objects["jets"].features[2] == "delta_phi(phi, met.phi)"


def test_the_page_shows_valid_weights_and_variations() -> None:
    first, second = (part.partition("```")[0] for part in PAGE.split("```yaml\n")[1:])
    data = {**yaml.safe_load(first), **yaml.safe_load(second)}
    del data["luminosity"]  # the second example names its era
    analysis = parse_analysis(data, base=Path("/base"))
    jes, _, pileup, _, tune, _ = analysis.varied
    assert jes.fields == {("jets", "pt"): "pt * 1.02", ("jets", "mass"): "mass * 1.02"}
    assert isinstance(pileup.weights["pileup"], Correction)
    assert tune.files == {"TTbar": {"2018": ("/base/samples/tune_up/tt*.root",)}}
    assert len(analysis.files_read) == 4


def test_the_page_on_tuning_shows_a_valid_space() -> None:
    page = (REPOSITORY / "docs" / "tuning.md").read_text("utf-8")
    first, tuning = (text.partition("```yaml\n")[2].partition("```")[0] for text in (PAGE, page))
    analysis = parse_analysis({**yaml.safe_load(first), **yaml.safe_load(tuning)}, base=Path())
    assert analysis.tuning.trials == 60
    assert len(analysis.tuning.space) == 5


def test_the_page_on_the_analysis_file_has_every_function() -> None:
    table = PAGE.partition("| function | gives |")[2]
    assert [name for name in FUNCTIONS if name not in table] == []
