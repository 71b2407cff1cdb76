"""What tests let several ranks do together: started as each of them, with a folder.

The folder has ``work.json``: pairs of an analysis file and a run directory. It gets the results of
`gathered` as ``rank0.npz`` (and so on), and for each run the events of each batch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import distributed

from particle_transformer.config import load_analysis
from particle_transformer.training.ranks import Ranks, gathered, joined
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

ROWS = 5, 2
"""Of each rank."""


class Counter(Callback):
    """Note the events of each batch, by epoch."""

    def __init__(self, found: list[list[int]]) -> None:
        self.found = found

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del trainer, pl_module
        self.found.append([])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        del trainer, pl_module, batch_idx
        self.found[-1].append(len(batch.events))


def values_of_all() -> torch.Tensor:
    """float64 (7, 2): what all ranks together have."""
    return torch.linspace(-1.0, 2.0, 2 * sum(ROWS), dtype=torch.float64).reshape(-1, 2)


def function_of_all(values: torch.Tensor) -> torch.Tensor:
    """A scalar that is no sum over rows."""
    return (values @ values.T).exp().mean() * values.std()


def write_gathered(folder: Path, ranks: Ranks) -> None:
    start = sum(ROWS[: ranks.rank])
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    own = values_of_all()[start : start + ROWS[ranks.rank]] * factor
    rows = gathered(own)
    result = function_of_all(rows)
    result.backward()
    assert factor.grad is not None
    distributed.all_reduce(factor.grad)
    np.savez(
        folder / f"rank{ranks.rank}.npz",
        rows=rows.detach().numpy(),
        value=result.item(),
        gradient=factor.grad.item() / ranks.size,  # as DDP takes the mean
    )


def main(folder: Path) -> None:
    with joined() as ranks:
        write_gathered(folder, ranks)
    with joined():
        for number, (file, out) in enumerate(json.loads((folder / "work.json").read_text())):
            found: list[list[int]] = []
            counter = Counter(found)
            train(load_analysis(Path(file)), Path(out), callbacks=lambda _: [counter])  # noqa: B023
            (folder / f"events{number}_{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
