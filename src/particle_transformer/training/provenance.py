"""Which files a network has learnt from, so that no network begins from one that knows its fold."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from particle_transformer.errors import AnalysisFileError
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.data.manifest import InputRecord

__all__ = ["ancestors_of", "check_unseen", "files_of"]


def files_of(manifest: Manifest) -> list[str]:
    """The files that training events of a store come from, each as a number of 16 digits."""
    classes = dict(zip(manifest.processes, manifest.classes, strict=True))
    return sorted(
        {
            _mark(record)
            for record in manifest.inputs
            if not record.variation and classes[record.process] != DATA
        }
    )


def ancestors_of(metadata: Mapping[str, Any], own: list[str]) -> list[str]:
    """The files that a network knows through another one, which it has begun from.

    Parameters
    ----------
    metadata
        Of that other network.
    own
        The files that the network is trained with itself.
    """
    return sorted({*metadata["ancestors"], *metadata["inputs"]} - {*own})


def check_unseen(
    name: str,
    metadata: Mapping[str, Any],
    identity: list[str] | None,
    analysis: Analysis,
    manifest: Manifest,
) -> None:
    """Check that networks may begin from a network, or a run's, whose events they may have.

    Files are the same if their names, trees, sizes, numbers of events and sums of weights are. A run
    may have been trained with the files of the analysis: its network of fold f has not read fold f,
    which has the same events if they are identified in the same way.

    Parameters
    ----------
    name
        What they begin from, for messages.
    metadata
        Of the older network: ``inputs`` and ``ancestors``.
    identity
        Of a run of as many folds, what identifies its events; None for a single network.
    analysis, manifest
        The analysis, and the store of its events.

    Raises
    ------
    AnalysisFileError
        If a network might begin from one that has read events of its fold.
    """
    marks = {_mark(record): record.path for record in manifest.inputs}
    key = f"training.init: {name}"
    shared = [path for mark, path in marks.items() if mark in metadata["ancestors"]]
    if shared:
        message = (
            f"{key}: it began itself from a network that was trained with {shared[0]}, which this "
            "analysis reads; expected one that has not seen these events"
        )
        raise AnalysisFileError(message)
    shared = [path for mark, path in marks.items() if mark in metadata["inputs"]]
    if not shared:
        return
    if identity is None:
        message = (
            f"{key}: it was trained with {shared[0]}, which this analysis reads: it knows events "
            "of every fold but its own; expected a network of other events, or a run, of which "
            "each network begins from that of its own fold"
        )
        raise AnalysisFileError(message)
    if not identity or identity != list(analysis.source.identity):
        own = ", ".join(analysis.source.identity) or "a hash of their columns"
        message = (
            f"{key}: it was trained with {shared[0]}, which this analysis reads, but there events "
            f"are identified by {', '.join(identity) or 'a hash of their columns'}, here by {own}: "
            "the folds are not the same; expected the same source.identity in both, or a network "
            "of other events"
        )
        raise AnalysisFileError(message)


def _mark(record: InputRecord) -> str:
    content = (
        record.path.rpartition("/")[2], record.tree, record.size, record.entries, record.generated,
        record.sum_of_weights,
    )  # fmt: skip
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]
