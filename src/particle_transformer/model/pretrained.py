"""Saving a network, loading it, and the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from torch import nn

from particle_transformer.errors import AOTError, InputFileError
from particle_transformer.network_files import NetworkFiles, read_network, write_network
from particle_transformer.network_files.hub import fetch, push
from particle_transformer.network_files.members import member_folder

if TYPE_CHECKING:
    import os

__all__ = ["Pretrained"]


class Pretrained(nn.Module):
    """A network that is built from `arguments` alone, and is saved with them and `metadata`."""

    arguments: dict[str, Any]
    metadata: dict[str, Any]

    def save_pretrained(
        self, path: str | os.PathLike[str], *, model_card: str | None = None
    ) -> None:
        """Save the network as a folder, without pickle.

        The folder holds ``config.json`` (arguments, `metadata`, checksums), ``model.safetensors``
        (weights, with the scaling of the inputs) and ``README.md``. It appears whole or not at all.

        Parameters
        ----------
        path
            The folder; it does not exist, or is empty.
        model_card
            Content of ``README.md``; None has it written from `metadata` and `arguments`.

        Raises
        ------
        OutputError
            If `path` exists with something in it or cannot be written, or `metadata` is not JSON.
        """
        write_network(Path(path), self._as_files(), model_card=model_card)

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo: str | os.PathLike[str],
        *,
        revision: str | None = None,
        fold: int | None = None,
        network: int = 0,
    ) -> Self:
        """Load a network from a folder or from the Hugging Face Hub.

        Parameters
        ----------
        path_or_repo
            A folder that `save_pretrained` or ``aot train`` wrote, or a repository of the Hub as
            ``"owner/name"``. Without network its cached copy is taken, with a warning.
        revision
            Branch, tag or commit of the repository.
        fold, network
            Of a run: the fold that the network never read, and which of the fold's networks.

        Returns
        -------
        AnalysisObjectTransformer
            In evaluation mode, on the CPU.

        Raises
        ------
        InputFileError
            If it is not there, damaged or altered (checksums), or of another version of the format;
            or if the network is down and there is no cached copy.
        MissingExtraError
            If it is no folder, and huggingface_hub is not installed.
        """
        path = member_folder(fetch(path_or_repo, revision), fold, network)
        files = read_network(path)
        try:
            model = cls(**files.arguments)
            model.load_state_dict(files.weights)
        except (AOTError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            message = f"{path}: the weights do not fit the arguments in config.json ({reason})"
            raise InputFileError(message) from error
        model.metadata = files.metadata
        return model.eval()

    def push_to_hub(self, repo: str, *, private: bool = False) -> str:
        """Save the network as a repository of the Hugging Face Hub.

        Parameters
        ----------
        repo
            ``"owner/name"``; made if it is not there. The token is the one of ``hf auth login`` or
            ``HF_TOKEN``.
        private
            Whether a new repository is private.

        Returns
        -------
        str
            The address of the commit.

        Raises
        ------
        OutputError
            If the Hub cannot be reached or refuses it.
        MissingExtraError
            If huggingface_hub is not installed.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(path := Path(folder) / "network")
            return push(path, repo, private=private)

    def _as_files(self) -> NetworkFiles:
        return NetworkFiles(self.arguments, self.state_dict(), self.metadata)
