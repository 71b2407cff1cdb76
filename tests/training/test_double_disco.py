"""Double DisCo on a toy: two scores that ABCD may be done with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.evaluation import ScoredEvents, auc, evaluate_abcd
from particle_transformer.inference.score import score_events, signal_probability
from particle_transformer.losses.decorrelation import DoubleDisCo
from particle_transformer.training.fit import fit_network
from particle_transformer.training.objective import Objective
from particle_transformer.training.sample import make_sample
from particle_transformer.training.settings import FitSettings
from training.abcd_toy import toy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.events import Events

TRAINING, VALIDATION, TEST = 24_000, 6_000, 16_000


def _scored(
    model: AnalysisObjectTransformer, events: Events
) -> tuple[ScoredEvents, NDArray[np.float64]]:
    """The events with the combined score, and each of the two scores (events, 2)."""
    logits = score_events(model, events)
    scored = ScoredEvents(
        signal_probability(logits, two_scores=True), events.weight, events.process == 1,
        events.process, np.zeros(len(events), np.int16),
        ("background", "signal"), ("background", "signal"),
    )  # fmt: skip
    return scored, np.stack([signal_probability(column[:, None]) for column in logits.T], 1)


def _trained(folder: Path, strength: float) -> tuple[float, dict[str, Any]]:
    """AUC of the combined score, and the closure of the ABCD method."""
    events = toy(TRAINING + VALIDATION, seed=3)
    validation = np.arange(TRAINING, TRAINING + VALIDATION)
    torch.manual_seed(3)
    model = AnalysisObjectTransformer(
        {"jets": 2}, 2, 16, 16, 16, 16, 16, 2,
        num_outputs=2, num_att_blocks=1, num_class_blocks=1, feedforward_factor=2,
    )  # fmt: skip
    fit_network(
        model,
        make_sample(events, np.arange(TRAINING), [0, 1]),
        make_sample(events, validation, [0, 1]),
        FitSettings(
            epochs=15, batch_size=1024, learning_rate=3e-3, patience=15,
            objective=Objective(DoubleDisCo(strength)),
        ),
        checkpoint_dir=folder / "checkpoints", log_dir=folder / "logs",
    )  # fmt: skip
    tested, scores = _scored(model, toy(TEST, seed=4))
    validated, validation_scores = _scored(model, events.take(validation))
    area = auc(tested.score, tested.weight, tested.is_signal).value
    assert area is not None
    return area, evaluate_abcd(tested, validated, scores, validation_scores, folds=1)


@pytest.mark.slow
def test_the_background_of_two_independent_scores_is_predicted(tmp_path: Path) -> None:
    plain_area, plain = _trained(tmp_path / "plain", strength=1e-3)
    area, found = _trained(tmp_path / "decorrelated", strength=10.0)

    # Left alone, both scores are the same: hardly an event passes one cut and not the other.
    dependence = plain["distance_correlation"]["value"]
    assert dependence > 0.9
    loosest = plain["cuts"][-1]
    assert loosest["closure"]["value"] is None or loosest["closure"]["value"] > 20
    assert abs(found["distance_correlation"]["value"]) < dependence / 100
    # The prediction is as good as the simulation can tell where both cuts keep 30 %, and no worse
    # than by a half in the corners, which are a hundredth of the background.
    closure = found["cuts"][-1]["closure"]
    assert closure["error"] < 0.06
    assert abs(closure["value"] - 1) < 4 * closure["error"]
    for cut in found["cuts"]:
        assert abs(cut["closure"]["value"] - 1) < 0.5
        # Signal is where both cuts are passed.
        contamination = [cut["contamination"][region]["value"] for region in "ABCD"]
        assert max(contamination) == contamination[0]
    assert plain_area > 0.88
    assert plain_area - 0.1 < area < plain_area
