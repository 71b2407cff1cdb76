"""The page about the training: its table has the keys and defaults of the analysis file."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import particle_transformer.training as library
from particle_transformer.config import Training

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_every_key_is_there_with_its_default() -> None:
    _, table = PAGE.split("## Recipe")
    rows = re.findall(
        r"^\| `(\w+)` \| (–|`[^`]+`) \|", table.partition("## In Python")[0], re.MULTILINE
    )
    found = {key: None if shown == "–" else yaml.safe_load(shown[1:-1]) for key, shown in rows}
    default = Training()
    expected = {name: getattr(default, name) for name in Training.model_fields}
    expected |= {name: expected[name] or None for name in ("augmentation", "condition")}
    expected["loss"] = default.loss.name
    expected["loggers"] = [logger.name for logger in default.loggers]
    assert found == expected


def test_the_names_of_the_library_exist() -> None:
    _, table = PAGE.split("## In Python")
    lines = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    names = re.findall(r"`(\w+)", " ".join(lines))
    assert len(names) > 10
    assert set(names) <= set(library.__all__)
