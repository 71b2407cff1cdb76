"""Scores of events in memory: awkward arrays such as coffea's NanoEvents, or numpy arrays."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak

from particle_transformer.artefact.run_folder import open_run
from particle_transformer.data.files import InputFile
from particle_transformer.data.readers.memory import ArrayReader
from particle_transformer.errors import InputFileError, nearest
from particle_transformer.inference.entries import FILL, RunScorer
from particle_transformer.network_files.hub import fetch

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from particle_transformer.artefact.run_folder import RunFolder

__all__ = ["ArrayScorer"]

LABEL = "events"


class ArrayScorer:
    """Scores events in memory as ``aot predict`` scores those of files, row by row.

    Objects and events are selected as in the training, every event is scored by the networks of its
    own fold, and the order and number of events stay. Pickled, it is where the run is: a worker
    loads the networks once, and has to find them there.

    Parameters
    ----------
    run
        A run that ``aot train`` or ``aot export --to hub`` wrote, or a repository of the Hugging
        Face Hub with such an export, as ``"owner/name"``.
    revision
        Branch, tag or commit of the repository.
    ensemble
        Whether there is the column ``score_ensemble``, the mean over the networks of all folds. It
        takes as many times longer as there are folds.
    fill
        The value of scores that there are not: of events in no region, and of the ensemble mean
        where networks may have been trained with the event.
    unblind
        Whether recorded data in blind regions is scored.
    unseen
        Whether no event has been used in the training, so that all may have the ensemble mean.

    Attributes
    ----------
    processes, eras
        Names that the analysis knows.

    Raises
    ------
    InputFileError
        If the run is missing, damaged or altered.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        revision: str | None = None,
        ensemble: bool = False,
        fill: float = FILL,
        unblind: bool = False,
        unseen: bool = False,
    ) -> None:
        folder = open_run(fetch(run, revision))
        # A worker elsewhere must find it, and must not take another run in its place.
        self._path = str(folder.path.resolve())
        self._digest = _digest(folder)
        self._options = (ensemble, fill, unblind, unseen)
        analysis = self._scorer.analysis
        self.processes = tuple(analysis.processes)
        self.eras = tuple(analysis.eras)

    @property
    def _scorer(self) -> RunScorer:
        return _loaded(self._path, self._digest, *self._options)

    def __call__(
        self,
        events: ak.Array | Mapping[str, Any],
        *,
        process: str | None = None,
        era: str | None = None,
    ) -> ak.Array:
        """Score events.

        Parameters
        ----------
        events
            An awkward array of records, such as coffea's NanoEvents (``events.Jet.pt`` is what the
            analysis file calls ``Jet_pt``), or awkward or numpy arrays by name (``Jet_pt`` or
            ``Jet``); numbers in the files' own units. Of virtual arrays only those that the
            analysis needs are loaded.
        process
            Which of the analysis's processes they are; None: the ``dataset`` of the events'
            metadata.
        era
            Which era they are from; None: the only one, else the ``era`` of the metadata.

        Returns
        -------
        ak.Array
            Records, one per event, in their order: ``score`` (float64, the probability of signal),
            ``score_ensemble`` where asked for, ``probability_CLASS`` of three classes or more,
            ``fold`` (int16, −1 of events in no region), ``region_NAME`` (bool), and so on as in
            ``aot predict``; of a kinematic variation with its name behind (``score_JES_up``).

        Raises
        ------
        InputFileError
            If a field that the analysis needs is missing (the nearest names are given), holds no
            numbers, or process or era are not known.
        """
        scorer = self._scorer
        metadata = getattr(events, "metadata", None) or {}
        file = InputFile(
            LABEL,
            _known("process", process, metadata.get("dataset"), self.processes),
            _known("era", era, self._era(metadata), self.eras),
            scorer.analysis.source.tree,
            variation="",
            size=0,
            version="",
        )
        reader = ArrayReader(events, LABEL)
        scores = scorer.open(reader, file).read(0, reader.entries)
        return ak.Array(scores.columns)

    def _era(self, metadata: Mapping[str, Any]) -> Any:
        return self.eras[0] if len(self.eras) == 1 else metadata.get("era")


@lru_cache(maxsize=4)
def _loaded(
    path: str, digest: str, ensemble: bool, fill: float, unblind: bool, unseen: bool
) -> RunScorer:
    """The networks of a run, once per process."""
    run = open_run(Path(path))
    if _digest(run) != digest:
        message = (
            f"{path}: another run has taken its place since this scorer was made; make it anew"
        )
        raise InputFileError(message)
    return RunScorer(run, ensemble=ensemble, fill=fill, unblind=unblind, unseen=unseen)


def _digest(run: RunFolder) -> str:
    """What tells a run from others: checksum of its record and analysis file."""
    return hashlib.sha256(run.record.read_bytes() + run.analysis.read_bytes()).hexdigest()


def _known(what: str, given: str | None, found: Any, names: tuple[str, ...]) -> str:
    """The name that was given, else the one that the events say."""
    name = given if given is not None else found
    if name is None:
        message = (
            f"{LABEL}: of which {what} they are is not said; expected {what}=… of the call, one of "
            f"{', '.join(names)}"
        )
        raise InputFileError(message)
    if name not in names:
        key = {"process": "dataset"}.get(what, what)
        where = f"the {key} of the events' metadata" if given is None else what
        message = f"{LABEL}: {where} is {name!r}, which the analysis does not know; {nearest(str(name), names)}"
        raise InputFileError(message)
    return str(name)
