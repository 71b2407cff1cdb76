"""Train an analysis: one network per fold, and the run directory that holds them."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer._version import __version__
from particle_transformer.artefact import save_artefact
from particle_transformer.artefact.run_folder import RUN_VERSION, RunFolder, check_new
from particle_transformer.config import dump_analysis, feature_symmetries
from particle_transformer.data import Store, StoreRows, partial_beside, prepare
from particle_transformer.errors import IncompleteStoreError, InputFileError, SampleError
from particle_transformer.model import AnalysisObjectTransformer
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.fit import fit_network
from particle_transformer.training.roles import fold_samples
from particle_transformer.training.settings import FitSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.training.callbacks import EpochRecord

__all__ = ["train"]


def train(
    analysis: Analysis,
    out: Path,
    *,
    store: Path | None = None,
    unblind: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Train one network per fold and leave a run directory.

    The run is assembled beside `out` and moved there when all networks are trained.

    Parameters
    ----------
    analysis
        The analysis file.
    out
        The run directory; absent or empty.
    store
        A prepared store to use; it is brought up to date first. None prepares ``out/store``.
    unblind
        Read data in blind regions, too.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    AOTError
        For every mistake in the input; nothing is left behind then.
    """
    check_new(out, "aot train")
    with partial_beside(out) as folder:
        partial = RunFolder(folder)
        try:
            prepared = prepare(
                analysis, store or partial.path / "store", unblind=unblind, progress=progress
            )
        except IncompleteStoreError as error:
            if store is not None:
                raise
            # What could be read goes with the unfinished run.
            reason = str(error).partition(" [")[0]
            message = (
                f"{reason}; mend the file, leave it out with exclude under its process, or keep "
                f"what can be read: aot prepare FILE --out STORE, then aot train --store STORE"
            )
            raise InputFileError(message) from error
        whole = Store(prepared)
        whole.verify()
        _train(analysis, whole, partial, own_store=store is None, progress=progress)
        check_new(out, "aot train")  # another training may have finished there first
        if out.exists():
            out.rmdir()
        partial.path.replace(out)
    return out


def _train(
    analysis: Analysis,
    store: Store,
    run: RunFolder,
    *,
    own_store: bool,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    run.analysis.write_text(dump_analysis(analysis))
    source = StoreRows(store)
    networks = []
    for fold in range(analysis.training.folds):
        label = f"training fold {fold + 1} of {analysis.training.folds}"
        started = time.perf_counter()
        try:
            network = _train_fold(analysis, source, fold, run, store.manifest, label, progress)
        except SampleError as error:
            message = f"fold {fold}: {error}"
            raise SampleError(message) from error
        network["seconds"] = round(time.perf_counter() - started, 2)
        networks.append(network)
    record = {
        "format_version": RUN_VERSION,
        "store": "store" if own_store else str(store.path.resolve()),
        "store_fingerprint": store.manifest.fingerprint,
        "folds": analysis.training.folds,
        "seed": analysis.training.seed,
        "classes": list(analysis.classes),
        "threads": torch.get_num_threads(),
        "versions": {
            "analysis-object-transformer": __version__,
            **{name: version(name) for name in ("torch", "lightning", "numpy")},
        },
        "networks": networks,
    }
    ensemble = {
        "format_version": RUN_VERSION,
        "members": [run.network(fold).name for fold in range(analysis.training.folds)],
        "identity": list(analysis.source.identity),
        "classes": list(analysis.classes),
    }
    (run.artefact / "config.json").write_text(json.dumps(ensemble, indent=1) + "\n")
    run.record.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def _silent(label: str, done: int, total: int) -> None:
    del label, done, total


class _EpochProgress:
    """A fit's progress as a labelled one: batches done, and the last validation loss."""

    def __init__(self, label: str, report: Callable[[str, int, int], None]) -> None:
        self._label = label
        self._report = report
        self._state = ""
        self._total = 1

    def finish(self, best_epoch: int) -> None:
        """Complete the bar, also where early stopping ended the fit."""
        self._report(f"{self._label} (best epoch {best_epoch + 1})", self._total, self._total)

    def __call__(self, done: int, total: int, record: EpochRecord | None) -> None:
        if record is not None:
            self._state = f" (epoch {record['epoch'] + 1}, val. loss {record['val_loss']:.4f})"
        self._total = total
        # The last step is `finish`'s: until then the best weights are not restored.
        self._report(self._label + self._state, min(done, total - 1), total)


def _train_fold(
    analysis: Analysis,
    source: StoreRows,
    fold: int,
    run: RunFolder,
    manifest: Manifest,
    label: str,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, Any]:
    settings = analysis.training
    symmetries = feature_symmetries(analysis)
    training, validation, test = fold_samples(analysis, source, manifest.classes, fold)
    torch.manual_seed(settings.seed * 1000 + fold)
    model = AnalysisObjectTransformer(
        {name: len(features) for name, features in manifest.objects.items()},
        len(manifest.event),
        **analysis.model.model_dump(),
        num_outputs=1 if len(analysis.classes) == 2 else len(analysis.classes),
    )
    bar = _EpochProgress(label, progress or _silent)
    fit = fit_network(
        model,
        training,
        validation,
        FitSettings(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_epochs=settings.warmup_epochs,
            patience=settings.patience,
            gradient_clip=settings.gradient_clip,
            seed=settings.seed * 1000 + fold,
            sampling=settings.sampling,
            precision=settings.precision,
            augmentation=Augmentation(settings.augmentation, symmetries.objects, symmetries.event),
        ),
        checkpoint_dir=run.checkpoints(fold),
        log_dir=run.logs(fold),
        progress=bar,
    )
    bar.finish(fit.best_epoch)
    metadata = {
        "analysis": analysis.name,
        "fold": fold,
        "folds": settings.folds,
        "classes": list(analysis.classes),
        "objects": manifest.objects,
        "event": manifest.event,
        "store_fingerprint": manifest.fingerprint,
    }
    save_artefact(run.network(fold), model, metadata)
    return {
        "fold": fold,
        "best_epoch": fit.best_epoch,
        "history": fit.history,
        "events": {"training": len(training), "validation": len(validation), "test": test},
    }
