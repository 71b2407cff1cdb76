"""A network that is told the mass, at a mass that it was never trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.config import load_analysis
from particle_transformer.evaluation import auc
from particle_transformer.events import Events
from particle_transformer.inference.score import score_at, score_events, signal_probability
from particle_transformer.training.fit import fit_network
from particle_transformer.training.from_analysis import fit_settings
from particle_transformer.training.sample import make_sample
from particle_transformer.training.task import NetworkTask
from training.resonance import continuum, resonance

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIGNAL, BACKGROUND = 16_000, 24_000
"""Events to train and validate with, of all masses together."""


def _trained(
    folder: Path, masses: list[float], seed: int
) -> tuple[AnalysisObjectTransformer, dict[str, Any]]:
    """A network of signal of these masses, and its metadata; told the mass if there are several."""
    content = {
        "name": "resonance", "luminosity": 1.0,
        "objects": {"jets": {"collection": "Jet", "features": ["log(pt)", "eta", "log(mass)"]}},
        "event": {"features": []},
        "processes": {
            **{f"m{mass:g}": {
                "class": "signal", "cross_section": 1.0, "files": [f"m{mass:g}.root"],
                "parameters": {"mass": mass},
            } for mass in masses},
            "dijets": {"class": "background", "cross_section": 1.0, "files": ["dijets.root"]},
        },
        "training": {
            "epochs": 6, "batch_size": 256, "learning_rate": 0.002, "seed": seed,
            "condition": ["mass"] if len(masses) > 1 else [],
        },
    }  # fmt: skip
    folder.mkdir()
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    analysis = load_analysis(folder / "analysis.yaml")
    each = SIGNAL // len(masses)
    events = Events.concatenate(
        [
            *(resonance(m, each, place, 10 * seed + place) for place, m in enumerate(masses)),
            continuum(BACKGROUND, len(masses), 10 * seed + 9),
        ]
    )
    order = np.random.default_rng(seed).permutation(len(events))
    validation, training = (
        make_sample(events, np.sort(rows), [*(1 for _ in masses), 0])
        for rows in np.split(order, [len(events) // 5])
    )
    settings = fit_settings(analysis, NetworkTask(0), training)
    torch.manual_seed(settings.seed)
    model = AnalysisObjectTransformer(
        {"jets": 3}, len(analysis.training.condition), 32, 32, 32, 32, 16, 4,
        num_att_blocks=1, num_class_blocks=1, feedforward_factor=2,
    )  # fmt: skip
    fit_network(
        model, training, validation, settings,
        checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs",
    )  # fmt: skip
    conditioning = settings.conditioning and settings.conditioning.to_json()
    return model, {"conditioning": conditioning, "two_scores": False}


@pytest.mark.slow
def test_it_interpolates_to_a_mass_point_left_out(tmp_path: Path) -> None:
    test = Events.concatenate([resonance(1000, 20_000, 0, 7), continuum(20_000, 1, 8)])

    def area(score: NDArray[np.float64]) -> float:
        figure = auc(score, test.weight, test.process == 0)
        assert figure.value is not None
        return figure.value

    told, metadata = _trained(tmp_path / "told", [600, 800, 1200, 1400], seed=1)
    dedicated, _ = _trained(tmp_path / "dedicated", [1000], seed=2)

    reachable = area(signal_probability(score_events(dedicated, test)))
    assert reachable > 0.92
    assert abs(area(score_at(told, metadata, test, {"mass": 1000})) - reachable) < 0.01
    # It does so because it is told: at a wrong mass it looks elsewhere.
    assert area(score_at(told, metadata, test, {"mass": 800})) < reachable - 0.1
    assert area(score_at(told, metadata, test, {"mass": 1200})) < reachable - 0.03
    assert area(score_at(told, metadata, test, {"mass": 600})) < 0.6
