"""Machines for training have torch, numpy, safetensors and lightning, and little else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import particle_transformer

CODE = """
import sys

absent = ["awkward", "uproot", "pyarrow", "pydantic", "typer", "mplhep", "jinja2"]
for name in absent:
    sys.modules[name] = None  # importing it raises ImportError

from pathlib import Path
import numpy as np
from particle_transformer import AnalysisObjectTransformer
from particle_transformer.artefact import load_artefact, save_artefact
from particle_transformer.training.fit import fit_network
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.toys import toy_events

events, _ = toy_events(200)
model = AnalysisObjectTransformer(
    {name: ragged.values.shape[1] for name, ragged in events.objects.items()},
    events.event.shape[1], 8, 8, 8, 8, 8, 2,
)
index = np.arange(200)
folder = Path(sys.argv[1])
fit_network(
    model, make_sample(events, index[:150], [0, 1]), make_sample(events, index[150:], [0, 1]),
    FitSettings(epochs=1),
    checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs",
)
save_artefact(folder / "artefact", model, {})
again, _ = load_artefact(folder / "artefact")
assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters()))
print("trained")
"""


def test_model_losses_training_and_artefact_need_little(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(particle_transformer.__file__).parents[1]}",
            "OMP_NUM_THREADS": "1",
            "PATH": os.environ["PATH"],  # the compiler of the kernels needs its parts
        },
    )
    assert result.stdout.strip().endswith("trained"), result.stderr
