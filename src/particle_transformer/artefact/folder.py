"""A network with what is known of it, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from particle_transformer.errors import InputFileError
from particle_transformer.model import AnalysisObjectTransformer
from particle_transformer.network_files import NetworkFiles, write_network

__all__ = ["load_artefact", "save_artefact"]


def save_artefact(
    path: Path,
    model: AnalysisObjectTransformer,
    metadata: dict[str, Any],
    *,
    model_card: str | None = None,
) -> None:
    """Write a network as a folder that can be loaded without pickle.

    Parameters
    ----------
    path, model_card
        As in `AnalysisObjectTransformer.save_pretrained`, with its errors.
    model
        The network; its scaling is part of its weights. Its own `metadata` is not looked at.
    metadata
        What JSON can hold: names of features, classes, …

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from particle_transformer import AnalysisObjectTransformer
    >>> from particle_transformer.artefact import load_artefact, save_artefact
    >>> model = AnalysisObjectTransformer(6, 2)
    >>> with TemporaryDirectory() as folder:
    ...     save_artefact(Path(folder, "network"), model, {"classes": ["signal", "background"]})
    ...     same, metadata = load_artefact(Path(folder, "network"))
    >>> metadata
    {'classes': ['signal', 'background']}
    """
    network = NetworkFiles(model.arguments, model.state_dict(), metadata)
    write_network(path, network, model_card=model_card)


def load_artefact(path: Path | str) -> tuple[AnalysisObjectTransformer, dict[str, Any]]:
    """Load a network that `save_artefact` wrote.

    Returns
    -------
    model : AnalysisObjectTransformer
        In evaluation mode, on the CPU.
    metadata : dict
        As given to `save_artefact`.

    Raises
    ------
    InputFileError
        If a file is missing, damaged or altered, or was written by another version.
    """
    if not (path := Path(path)).exists():  # a part of a run, and nothing to look for on the Hub
        message = f"{path}: no such folder; the run it should be in is incomplete: copy all of it"
        raise InputFileError(message)
    model = AnalysisObjectTransformer.from_pretrained(path)
    return model, model.metadata
