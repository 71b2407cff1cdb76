"""The artefact's folder: ``config.json``, ``model.safetensors``, ``README.md``."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors

from particle_transformer.artefact.model_card import model_card as card_of
from particle_transformer.errors import AOTError, InputFileError, OutputError
from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["FORMAT_VERSION", "load_artefact", "save_artefact"]

FORMAT_VERSION = 1

_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "README.md"


def save_artefact(
    path: Path,
    model: AnalysisObjectTransformer,
    metadata: dict[str, Any],
    *,
    model_card: str | None = None,
) -> None:
    """Write a network as a folder that can be loaded without pickle.

    The folder is assembled beside `path` and renamed: either all of it is there, or nothing.

    Parameters
    ----------
    path
        The folder; it does not exist, or is empty.
    model
        The network; its scaling is part of its weights.
    metadata
        What JSON can hold: names of features, classes, …
    model_card
        Content of ``README.md``; None has it written from `metadata` and the model's arguments.

    Raises
    ------
    OutputError
        If `path` exists with something in it or cannot be written, or `metadata` is not JSON.

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
    path = Path(path)
    # Tied or strided tensors would be refused: store plain copies.
    weights = bytes_from_tensors(
        {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    )
    config = {
        "format_version": FORMAT_VERSION,
        "model": "AnalysisObjectTransformer",
        "arguments": model.arguments,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "metadata": metadata,
    }
    try:
        text = json.dumps(config, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        message = f"{path}: the metadata cannot be written as JSON ({error})"
        raise OutputError(message) from error
    card = card_of(metadata, model.arguments) if model_card is None else model_card
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            message = f"{path}: exists already; remove it or choose another folder"
            raise OutputError(message)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            # mkdtemp makes it private; an artefact has the permissions of any new folder.
            (folder := part / path.name).mkdir()
            (folder / _WEIGHTS).write_bytes(weights)
            (folder / _CARD).write_text(card, encoding="utf-8")
            (folder / _CONFIG).write_text(text, encoding="utf-8")
            folder.replace(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror or error})"
        raise OutputError(message) from error


def load_artefact(path: Path | str) -> tuple[AnalysisObjectTransformer, dict[str, Any]]:
    """Load a network that `save_artefact` wrote.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    model : AnalysisObjectTransformer
        In evaluation mode, on the CPU.
    metadata : dict
        As given to `save_artefact`.

    Raises
    ------
    InputFileError
        If a file is missing or damaged, or was written by a newer version.
    """
    path = Path(path)
    config = _read_config(path)
    file = path / _WEIGHTS
    weights = _read(file)
    checksum = hashlib.sha256(weights).hexdigest()
    if checksum != config["sha256"]:
        message = (
            f"{file}: sha256 is {checksum[:12]}…, expected {config['sha256'][:12]}… as in "
            f"{_CONFIG}; the file is damaged or from another network"
        )
        raise InputFileError(message)
    try:
        model = AnalysisObjectTransformer(**config["arguments"])
        model.load_state_dict(tensors_from_bytes(weights))
    except (AOTError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        message = f"{path}: the weights do not fit the arguments in {_CONFIG} ({reason})"
        raise InputFileError(message) from error
    model.eval()
    return model, config["metadata"]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); expected a file of an artefact"
        raise InputFileError(message) from error


def _read_config(path: Path) -> dict[str, Any]:
    file = path / _CONFIG
    try:
        config = json.loads(_read(file).decode("utf-8"))
    except ValueError as error:
        message = f"{file}: not JSON ({error})"
        raise InputFileError(message) from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int) or version < 1:
        message = f"{file}: format_version is {version!r}, expected {FORMAT_VERSION}; no artefact"
        raise InputFileError(message)
    if version > FORMAT_VERSION:
        message = (
            f"{file}: format_version is {version}, this version reads up to {FORMAT_VERSION}; "
            "upgrade analysis-object-transformer"
        )
        raise InputFileError(message)
    for key, kind in (("arguments", dict), ("sha256", str), ("metadata", dict)):
        if not isinstance(config.get(key), kind):
            message = f"{file}: {key} is missing or no {kind.__name__}; the file is damaged"
            raise InputFileError(message)
    return dict(config)
