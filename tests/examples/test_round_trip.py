"""Real NanoAOD files: a simulated training, scores written, and the same numbers by every way back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared" / "data" / "nanoaod"
FILES = [SHARED / "nano_tt_v12.root", SHARED / "ttH_M125_2017.root"]


@pytest.mark.slow
@pytest.mark.skipif(not FILES[0].exists(), reason="the files are not there")
def test_every_way_gives_the_scores_of_predict(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    done = subprocess.run(
        [
            sys.executable, REPOSITORY / "examples" / "nanoaod_round_trip.py", *FILES,
            "--out", tmp_path / "trip", "--events", "40",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\S+): (\d+) events, (\d+) with a score$", done.stdout, re.MULTILINE)
    assert [(Path(path).name, int(events)) for path, events, _ in found] == [
        ("nano_tt_v12.root", 200),
        ("ttH_M125_2017.root", 100),
    ]
    assert all(int(scored) > 50 for _, _, scored in found)
    assert done.stdout.count("differs from aot predict") >= 3 * len(FILES)
    assert done.stdout.count("differs from aot predict by 0 at most") >= len(FILES), "copies"
