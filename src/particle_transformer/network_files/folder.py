"""The folder of one network: ``config.json``, ``model.safetensors``, ``README.md``.

``config.json`` names the constructor's arguments, metadata and two checksums: of the weights, and of
itself without the checksums. They tell damage and changes by hand, not forgery: whoever can write
the folder can write checksums, too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors

from particle_transformer.atomic import new_folder, replacing, writing
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.network_files.model_card import model_card as card_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = [
    "FORMAT_VERSION",
    "MODEL_TYPE",
    "NetworkFiles",
    "check_config",
    "read_network",
    "rewrite_network",
    "write_network",
]

FORMAT_VERSION = 2
MODEL_TYPE = "analysis_object_transformer"
"""What the key ``model_type`` says, by which the transformers library finds the classes."""

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# What transformers.Trainer leaves beside the weights; none of it is ever read here.
_OF_THE_TRAINER = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")


@dataclass(frozen=True)
class NetworkFiles:
    """What the folder of a network holds.

    Attributes
    ----------
    arguments
        The constructor's arguments.
    weights
        By name, with the scaling of the inputs among them.
    metadata
        What JSON can hold: names of features, classes, …
    """

    arguments: dict[str, Any]
    weights: dict[str, Tensor]
    metadata: dict[str, Any]


def write_network(path: Path, network: NetworkFiles, *, model_card: str | None = None) -> None:
    """Write a network as a folder that can be loaded without pickle.

    The folder is assembled beside `path` and renamed: either all of it is there, or nothing.

    Parameters
    ----------
    path
        The folder; it does not exist, or is empty.
    network
        The network.
    model_card
        Content of ``README.md``; None has it written from the metadata and the arguments.

    Raises
    ------
    OutputError
        If `path` exists with something in it or cannot be written, or the metadata is not JSON.
    """
    files = _files(path, network, model_card)
    with writing(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            message = f"{path}: exists already; remove it or choose another folder"
            raise OutputError(message)
    with new_folder(path) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)


def rewrite_network(path: Path, network: NetworkFiles) -> None:
    """Write a network's files into a folder that holds other things, too, and perhaps an older one.

    Each file appears whole; between the first and the last the checksums tell that they do not
    belong together.

    Raises
    ------
    OutputError
        If they cannot be written, or the metadata is not JSON.
    """
    files = _files(path, network, None)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replacing(path / name) as partial:
            partial.write_bytes(content)


def read_network(path: Path) -> NetworkFiles:
    """Read the folder of a network and check it.

    Raises
    ------
    InputFileError
        If a file is missing, damaged or altered, was written by another version of the format, or
        the weights are there as a pickle.
    """
    _refuse_pickles(path)
    if not (file := path / CONFIG).exists():
        found = "is a file" if path.is_file() else f"not a network (no {CONFIG})"
        message = f"{path}: {found}; expected the folder of a network, as aot train writes it"
        raise InputFileError(message)
    try:
        config = json.loads(_read(file).decode("utf-8"))
    except ValueError as error:
        message = f"{file}: not JSON ({error})"
        raise InputFileError(message) from error
    check_config(config, file)
    file = path / WEIGHTS
    weights = _read(file)
    found, stated = _sha256(weights), config["sha256"]["weights"]
    if found != stated:
        message = (
            f"{file}: sha256 is {found[:12]}…, expected {stated[:12]}… as in {CONFIG}; the file is "
            "damaged or from another network"
        )
        raise InputFileError(message)
    try:
        tensors = tensors_from_bytes(weights)
    except SafetensorError as error:
        message = f"{file}: not in the format of safetensors ({error})"
        raise InputFileError(message) from error
    return NetworkFiles(config["arguments"], tensors, config["metadata"])


def check_config(config: Any, file: Path | str) -> None:
    """Check the content of a ``config.json``.

    Keys that are not the format's are left alone: the transformers library adds some.

    Parameters
    ----------
    config
        The content.
    file
        Its path, for messages.

    Raises
    ------
    InputFileError
        If it is not a network's, of another version of the format, or altered.
    """
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int) or version < 1:
        message = f"{file}: format_version is {version!r}, expected {FORMAT_VERSION}; no network"
        raise InputFileError(message)
    if version != FORMAT_VERSION:
        mend = "upgrade analysis-object-transformer" if version > FORMAT_VERSION else "train again"
        message = (
            f"{file}: format_version is {version}, this version reads {FORMAT_VERSION}; {mend}"
        )
        raise InputFileError(message)
    for key, kind in (("arguments", dict), ("sha256", dict), ("metadata", dict)):
        if not isinstance(config.get(key), kind):
            message = f"{file}: {key} is missing or no {kind.__name__}; the file is damaged"
            raise InputFileError(message)
    for key in ("config", "weights"):
        if not isinstance(config["sha256"].get(key), str):
            message = f"{file}: sha256.{key} is missing or no str; the file is damaged"
            raise InputFileError(message)
    found, stated = _config_digest(config), config["sha256"]["config"]
    if found != stated:
        message = (
            f"{file}: sha256 of its content is {found[:12]}…, expected {stated[:12]}… as it says; "
            "the file is damaged or was changed by hand: take the original, or save the network "
            "anew"
        )
        raise InputFileError(message)


def _files(path: Path, network: NetworkFiles, card: str | None) -> dict[str, bytes]:
    # Tied or strided tensors would be refused: store plain copies.
    weights = bytes_from_tensors(
        {name: value.detach().cpu().contiguous() for name, value in network.weights.items()}
    )
    config: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model_type": MODEL_TYPE,
        "arguments": network.arguments,
        "metadata": network.metadata,
    }
    try:
        config = json.loads(json.dumps(config, allow_nan=False))  # as it will be read
        config["sha256"] = {"config": _config_digest(config), "weights": _sha256(weights)}
        text = json.dumps(config, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        message = f"{path}: the metadata cannot be written as JSON ({error})"
        raise OutputError(message) from error
    text_of_card = card_of(network.metadata, network.arguments) if card is None else card
    return {WEIGHTS: weights, CARD: text_of_card.encode(), CONFIG: text.encode()}


def _config_digest(config: Mapping[str, Any]) -> str:
    """Checksum of what a configuration says, whatever its white space.

    The order of the arguments' own keys counts: it is that of the collections.
    """
    said = {
        key: config.get(key) for key in ("format_version", "model_type", "arguments", "metadata")
    }
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _sha256(text.encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); expected a file of a network"
        raise InputFileError(message) from error


def _refuse_pickles(path: Path) -> None:
    if not path.is_dir():
        return
    for file in sorted(path.iterdir()):
        if file.suffix in _PICKLES and not file.name.startswith(_OF_THE_TRAINER):
            message = (
                f"{path}: holds {file.name}, and reading such a file may run code; a network is "
                f"{CONFIG}, {WEIGHTS} and {CARD}: remove the other file"
            )
            raise InputFileError(message)
