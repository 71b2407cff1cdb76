"""The progress of the networks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from particle_transformer.config import Training
from particle_transformer.training.progress import NetworkProgress
from particle_transformer.training.task import NetworkTask

if TYPE_CHECKING:
    from particle_transformer.training.callbacks import EpochRecord


def record(epoch: int, auc: float | None) -> EpochRecord:
    return {
        "epoch": epoch, "train_loss": 0.5, "val_loss": 0.43839, "val_auc": auc,
        "learning_rate": 1e-3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ensemble", "name"), [(1, "fold 1 of 3"), (4, "fold 1 of 3, network 0 of 4")]
)
def test_labels_of_a_fit_from_its_first_batch_to_early_stopping(ensemble: int, name: str) -> None:
    told: list[tuple[str, int, int]] = []
    networks = 3 * ensemble
    progress = NetworkProgress(
        lambda *what: told.append(what),
        Training(folds=3, ensemble=ensemble),
        NetworkTask(1, 0),
        ensemble,
        networks,
    )
    progress(1, 100, 4142.4, None)
    progress(10, 100, 12345.0, record(0, 0.80174))
    progress(11, 100, None, None)
    progress(20, 100, 12345.0, record(1, None))
    progress(100, 100, 12345.0, record(9, 0.9))
    progress.finish(3)
    own = [what for what in told if what[0].startswith("fold")]
    assert own == [
        (f"{name} (4 142 events/s)", 1, 100),
        (f"{name} (AUC 0.8017, 12 345 events/s, epoch 0, val. loss 0.4384)", 10, 100),
        (f"{name} (AUC 0.8017, epoch 0, val. loss 0.4384)", 11, 100),
        (f"{name} (12 345 events/s, epoch 1, val. loss 0.4384)", 20, 100),
        # The best weights are still to be restored.
        (f"{name} (AUC 0.9000, 12 345 events/s, epoch 9, val. loss 0.4384)", 99, 100),
        (f"{name} (best epoch 3)", 100, 100),
    ]
    every = [what for what in told if what[0].startswith("all")]
    assert [what[1] - 100 * ensemble for what in every] == [1, 10, 11, 20, 99, 100]
    assert {what[2] for what in every} == {100 * networks}
    assert every[0][0] == f"all {networks} networks ({ensemble} trained)"
    assert every[-1][0] == f"all {networks} networks ({ensemble + 1} trained)"
    # All networks stand above the one that is trained.
    assert [what[0][:3] for what in told[:2]] == ["all", "fol"]
