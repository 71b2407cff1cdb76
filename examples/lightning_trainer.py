"""A Lightning Trainer of one's own, on the events of an analysis file; runs in seconds.

    python examples/lightning_trainer.py [ANALYSIS.yaml [STORE]]

Without an analysis file it makes up events and an analysis of them.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from particle_transformer.config import load_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.training import (
    EventClassifier,
    EventDataModule,
    NetworkTask,
    fit_settings,
    fold_samples,
    new_network,
    standardise,
)

ANALYSIS = """
name: made-up
source: {event_number: event}
luminosity: 10
processes:
  signal: {class: signal, cross_section: 1, files: signal.parquet}
  ttbar: {class: background, cross_section: 10, files: ttbar.parquet}
objects: {jets: {collection: Jet, features: [log(pt), eta]}}
event:
  define: {met.pt: MET_pt}
  features: [log(met.pt), count(jets)]
training: {folds: 2, epochs: 4, batch_size: 128, learning_rate: 0.003}
model: {embed_dims: 16, num_heads: 2, num_att_blocks: 1, num_class_blocks: 1}
"""


def make_up(folder: Path) -> Path:
    """Write Parquet files and an analysis file."""
    rng = np.random.default_rng(1)
    for number, (process, scale) in enumerate({"signal": 90.0, "ttbar": 50.0}.items()):
        counts = rng.poisson(3, 1500)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        pt, eta = 30 + rng.exponential(scale, offsets[-1]), rng.normal(0, 1.5, offsets[-1])
        columns = {
            "event": np.arange(1500) + 10_000 * number,
            "MET_pt": 50 + rng.exponential(scale, 1500),
            "Jet_pt": pa.ListArray.from_arrays(offsets, pt),
            "Jet_eta": pa.ListArray.from_arrays(offsets, eta),
            "Jet_phi": pa.ListArray.from_arrays(offsets, rng.uniform(-np.pi, np.pi, offsets[-1])),
            "Jet_mass": pa.ListArray.from_arrays(offsets, 0.1 * pt),
        }
        pq.write_table(pa.table(columns), folder / f"{process}.parquet")
    path = folder / "analysis.yaml"
    path.write_text(ANALYSIS)
    return path


class SayHow(Callback):
    """A callback of one's own."""

    def on_train_epoch_end(self, trainer, pl_module):  # noqa: ARG002
        """Print what the module has logged; the epoch's validation is over by now."""
        seen = {name: f"{float(value):.4f}" for name, value in trainer.callback_metrics.items()}
        print(f"epoch {trainer.current_epoch}: {seen}")


def main(file: Path, store: Path) -> None:
    """Train the network that never reads fold 0."""
    analysis = load_analysis(file)
    prepared = Store(prepare(analysis, store))
    manifest = prepared.manifest
    training, validation, test = fold_samples(
        analysis, StoreRows(prepared), manifest.classes, fold=0
    )
    print(f"{len(training)} training, {len(validation)} validation, {test} test events")

    task = NetworkTask(fold=0)
    settings = fit_settings(analysis, task, training)
    model = new_network(analysis, manifest, task)
    standardise(model, training, settings)
    trainer = Trainer(
        max_epochs=settings.epochs,
        gradient_clip_val=settings.gradient_clip,
        accumulate_grad_batches=settings.accumulate,
        callbacks=[SayHow(), EarlyStopping("val_loss", patience=settings.patience)],
        use_distributed_sampler=False,  # the data module shares the events out itself
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    data = EventDataModule(
        training,
        validation,
        batch_size=settings.batch_size,
        seed=settings.seed,
        sampling=settings.sampling,
        augmentation=settings.augmentation,
        conditioning=settings.conditioning,
        parts=settings.accumulate,
    )
    trainer.fit(EventClassifier(model, settings), data)
    auc = float(trainer.callback_metrics["val_auc"])
    print(f"AUC of the validation events: {auc:.3f}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        given = [Path(word) for word in sys.argv[1:]]
        main(
            given[0] if given else make_up(Path(folder)),
            given[1] if given[1:] else Path(folder, "store"),
        )
