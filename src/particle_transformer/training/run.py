"""Train an analysis: the networks of every fold, and the run directory that holds them."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer._version import __version__
from particle_transformer.artefact.run_folder import RUN_VERSION, RunFolder
from particle_transformer.atomic import replacing
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.errors import (
    IncompleteStoreError,
    InputFileError,
    OutputError,
    SampleError,
)
from particle_transformer.training.initial import initial_of, with_initial
from particle_transformer.training.loggers import check_loggers
from particle_transformer.training.network import reuse_of, train_network
from particle_transformer.training.progress import NetworkProgress, silent
from particle_transformer.training.ranks import joined
from particle_transformer.training.roles import check_folds
from particle_transformer.training.task import NetworkTask
from particle_transformer.training.unfinished import begun, check_same, is_finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lightning.pytorch import Callback

    from particle_transformer.config import Analysis
    from particle_transformer.training.ranks import Ranks

__all__ = ["train"]


def train(
    analysis: Analysis,
    out: Path,
    *,
    store: Path | None = None,
    unblind: bool = False,
    resume: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    callbacks: Callable[[NetworkTask], Sequence[Callback]] | None = None,
) -> Path:
    """Train the networks of every fold and leave a run directory.

    The run is marked as unfinished until all networks are trained. Whatever ends the training
    before (Ctrl-C, a kill, a full disk), it can be taken up again.

    Several processes, each started with the same arguments by torchrun or srun, train every
    network together.

    Parameters
    ----------
    analysis
        The analysis file.
    out
        The run directory; absent or empty, or to be resumed.
    store
        A prepared store to use; it is brought up to date first. None prepares ``out/store``.
    unblind
        Read data in blind regions, too.
    resume
        Go on with an unfinished run; begin if there is none; leave a finished one as it is.
    progress
        Called with (what is being done, steps done, steps in all).
    callbacks
        Makes further Lightning callbacks for a network.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    AOTError
        For every mistake in the input; if there is nothing yet to resume, nothing is left then.
    """
    check_loggers([logger.model_dump() for logger in analysis.training.loggers])
    with joined() as ranks:
        analysis = with_initial(analysis)
        run = RunFolder(out)
        if resume and ranks.agreed(is_finished(run)):
            check_same(run, analysis)
            return out
        with ExitStack() as stack:
            if ranks.rank == 0:
                stack.enter_context(begun(out, analysis, resume=resume))
            # Inside: an error of rank 0 removes the folder, which the others must not wonder at.
            stack.enter_context(ranks.one_speaks())
            if ranks.rank == 0:
                _prepare(analysis, run, store, unblind=unblind, progress=progress)
            note = ranks.agreed(run.unfinished.read_text() if ranks.rank == 0 else "")
            source = Store(run.path / str(json.loads(note)["store"]))
            source.verify()
            with _kept(out):
                _train(analysis, source, run, ranks, progress or silent, callbacks)
            ranks.agreed(None)  # rank 0 has written everything
    return out


@contextmanager
def _kept(out: Path) -> Iterator[None]:
    """Say that a training that could not write something can go on."""
    try:
        yield
    except (OutputError, OSError) as error:
        what = str(error)
        if isinstance(error, OSError):
            what = f"{error.filename or out}: {error.strerror or error}"
        message = (
            f"{what}; what was trained before is kept: mend that, and go on with aot train FILE "
            f"--out {out} --resume"
        )
        raise OutputError(message) from error


def _prepare(
    analysis: Analysis,
    run: RunFolder,
    store: Path | None,
    *,
    unblind: bool,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Prepare the events, and note where they are; a resumed run must find the same ones."""
    note = json.loads(run.unfinished.read_text())
    where = note.get("store", "store") if store is None else str(store.resolve())
    if "store" not in note:  # a training killed while it prepares must find the same one again
        _write_note(run, {"store": where})
    try:
        path = prepare(analysis, run.path / where, unblind=unblind, progress=progress)
    except IncompleteStoreError as error:
        if where != "store":
            raise
        # What could be read goes with the unfinished run.
        reason = str(error).partition(" [")[0]
        message = (
            f"{reason}; mend the file, leave it out with exclude under its process, or keep "
            f"what can be read: aot prepare FILE --out STORE, then aot train --store STORE"
        )
        raise InputFileError(message) from error
    fingerprint = Store(path).manifest.fingerprint
    if note.get("store_fingerprint", fingerprint) != fingerprint:
        message = (
            f"{path}: the events have changed since the training in {run.path} began (other input "
            "files, --unblind or another version of this program); train anew with another --out"
        )
        raise InputFileError(message)
    initial = initial_of(analysis)
    began = {} if initial is None else {"init": initial.digest()}
    if initial is not None and note.get("init", began["init"]) != began["init"]:
        message = (
            f"training.init: {initial.name}: it is another network than when the training in "
            f"{run.path} began; bring the older one back, or train anew with another --out"
        )
        raise InputFileError(message)
    _write_note(run, {"store": where, "store_fingerprint": fingerprint, **began})


def _write_note(run: RunFolder, note: dict[str, str]) -> None:
    with replacing(run.unfinished) as partial:
        partial.write_text(json.dumps(note) + "\n")


def _train(
    analysis: Analysis,
    store: Store,
    run: RunFolder,
    ranks: Ranks,
    progress: Callable[[str, int, int], None],
    callbacks: Callable[[NetworkTask], Sequence[Callback]] | None,
) -> None:
    settings = analysis.training
    source = StoreRows(store)
    networks: list[dict[str, Any]] = []
    tasks = [
        NetworkTask(fold, number)
        for fold in range(settings.folds)
        for number in range(settings.ensemble)
    ]
    check_folds(analysis, source, store.manifest.classes)
    for done, task in enumerate(tasks):
        result = run.checkpoints(task.fold, task.number) / "result.json"
        if ranks.agreed(result.exists()):
            networks.append(json.loads(result.read_text()))
            continue
        bar = NetworkProgress(progress, settings, task, done, len(tasks))
        try:
            network = train_network(
                analysis,
                source,
                store.manifest,
                task,
                run,
                ranks,
                bar,
                () if callbacks is None else callbacks(task),
            )
        except SampleError as error:
            message = f"fold {task.fold}: {error}"
            raise SampleError(message) from error
        networks.append(network)
        if ranks.rank == 0:
            with replacing(result) as partial:
                partial.write_text(json.dumps(network, allow_nan=False) + "\n")
    if ranks.rank == 0:
        _finish(analysis, store, run, networks, ranks)


def _finish(
    analysis: Analysis,
    store: Store,
    run: RunFolder,
    networks: list[dict[str, Any]],
    ranks: Ranks,
) -> None:
    note = json.loads(run.unfinished.read_text())
    record = {
        "format_version": RUN_VERSION,
        "store": note["store"],
        "store_fingerprint": store.manifest.fingerprint,
        "folds": analysis.training.folds,
        "ensemble": analysis.training.ensemble,
        "seed": analysis.training.seed,
        "classes": list(analysis.classes),
        "init": reuse_of(analysis, store.manifest),
        "threads": torch.get_num_threads(),
        "ranks": ranks.size,
        "versions": {
            "analysis-object-transformer": __version__,
            **{name: version(name) for name in ("torch", "lightning", "numpy")},
        },
        "networks": networks,
    }
    members = [
        str(run.network(network["fold"], network["network"]).relative_to(run.artefact))
        for network in networks
    ]
    ensemble = {
        "format_version": RUN_VERSION,
        "members": members,
        "identity": list(analysis.source.identity),
        "classes": list(analysis.classes),
    }
    with replacing(run.artefact / "config.json") as partial:
        partial.write_text(json.dumps(ensemble, indent=1) + "\n")
    with replacing(run.record) as partial:
        partial.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    run.unfinished.unlink()
