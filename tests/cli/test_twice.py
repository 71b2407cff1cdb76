"""The same analysis twice through the command line: the same figures, to the last digit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data" / "hep_tutorial"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no shared files beside the repository")
def test_the_tutorial_twice(tmp_path: Path) -> None:
    content = yaml.safe_load((REPOSITORY / "examples" / "hep_tutorial.yaml").read_text())
    for name, process in content["processes"].items():
        process["files"] = [str(DATA / f"{name}.root")]
    content["training"].update(folds=3, epochs=2, learning_rate=0.003)
    content["model"].update(embed_dims=8, num_heads=2, num_att_blocks=1, num_class_blocks=1)
    content["evaluation"]["bootstrap"] = 20
    file = tmp_path / "analysis.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))

    def aot(*words: object) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "particle_transformer.cli", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    printed = []
    for name in ("a", "b"):
        aot("train", file, "--out", tmp_path / name, "--store", tmp_path / "store")
        said = aot("evaluate", tmp_path / name)
        printed.append(said.replace(str(tmp_path / name), ""))
    # All digits of all figures, and not only those that are printed.
    first, second = (
        json.loads((tmp_path / name / "evaluation" / "metrics.json").read_text())
        for name in ("a", "b")
    )
    assert first == second
    assert first["auc"]["value"] > 0.6
    assert printed[0] == printed[1]
    assert (tmp_path / "a/evaluation/scores.parquet").read_bytes() == (
        tmp_path / "b/evaluation/scores.parquet"
    ).read_bytes()
