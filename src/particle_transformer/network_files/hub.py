"""Folders on the Hugging Face Hub: fetched into its cache, and pushed.

`huggingface_hub.PyTorchModelHubMixin` is not used: it saves the constructor's arguments without
checksums or version, and reads whatever it finds. What is fetched and pushed here are the folders
that everything else reads and writes.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particle_transformer.errors import InputFileError, OutputError, require

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["fetch", "push"]

EXTRA = "hub"
_FETCHED = ("*.json", "*.md", "*.safetensors", "*.yaml")  # never a pickle
_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

_log = logging.getLogger(__name__)


def fetch(
    path_or_repo: str | os.PathLike[str], revision: str | None = None, **options: Any
) -> Path:
    """The folder of that path or, where there is none, of that repository of the Hub.

    Without network (or with ``HF_HUB_OFFLINE=1``) it is the copy in the Hub's cache, and a warning
    is logged that says so.

    Parameters
    ----------
    path_or_repo
        A folder, or (as a str) a repository as ``"owner/name"``.
    revision
        Branch, tag or commit of the repository; None for its main branch.
    options
        Further arguments of `huggingface_hub.snapshot_download`: ``token``, ``cache_dir``, ….

    Raises
    ------
    InputFileError
        If there is neither folder nor repository or revision, it may not be read, or the network is
        down and there is no copy.
    MissingExtraError
        If there is no such folder, and huggingface_hub is not installed.
    """
    path = Path(path_or_repo)
    if path.exists():
        if revision is not None:
            message = (
                f"revision {revision!r}: {path} is a folder, and only repositories of the Hub have "
                "revisions; leave it out"
            )
            raise InputFileError(message)
        return path
    if not (isinstance(path_or_repo, str) and _REPOSITORY.fullmatch(path_or_repo)):
        message = f"{path_or_repo}: no such folder; expected one, or a repository as owner/name"
        raise InputFileError(message)
    hub, errors = _client()
    said = f"{path_or_repo}" + ("" if revision is None else f" at revision {revision}")
    options = {"allow_patterns": list(_FETCHED), **options}
    with _explained(said, InputFileError):
        try:
            # Asked for first: the download itself would take a copy without saying so.
            if not options.get("local_files_only", False):
                hub.HfApi(token=options.get("token")).repo_info(path_or_repo, revision=revision)
        except (*_unreachable(errors), errors.HfHubHTTPError) as error:
            if isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
                raise
            options["local_files_only"] = True
            copy = Path(hub.snapshot_download(path_or_repo, revision=revision, **options))
            _log.warning("%s: the Hub cannot be reached; taken from its cache, %s", said, copy)
            return copy
        return Path(hub.snapshot_download(path_or_repo, revision=revision, **options))


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a folder as a repository of the Hub, which is made if it is not there.

    Parameters
    ----------
    folder
        The folder; pickles in it are not uploaded.
    repo
        ``"owner/name"``; the token is the one of ``hf auth login`` or ``HF_TOKEN``.
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
    hub, _ = _client()
    with _explained(repo, OutputError):
        api = hub.HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(_FETCHED),
            commit_message="Upload of an AnalysisObjectTransformer",
        )
    return str(commit.commit_url)


def _client() -> tuple[Any, Any]:
    """The Hub's client, and its errors."""
    return require("huggingface_hub", EXTRA), require("huggingface_hub.errors", EXTRA)


def _unreachable(errors: Any) -> tuple[type[Exception], ...]:
    """What the client raises where there is no network."""
    # httpx2 is httpx in older versions of huggingface_hub; both name them alike.
    http = errors.HfHubHTTPError.__mro__[1].__module__.partition(".")[0]
    client = require(http, EXTRA)
    return (client.TransportError, ConnectionError, TimeoutError)


@contextmanager
def _explained(what: str, kind: type[InputFileError | OutputError]) -> Iterator[None]:
    """Say in a sentence what the Hub's client raises."""
    _, errors = _client()
    try:
        yield
    except errors.RevisionNotFoundError as error:
        message = f"{what}: the repository has no such revision; see its branches and tags"
        raise kind(message) from error
    except errors.GatedRepoError as error:
        message = f"{what}: may be read only after its owner has agreed; ask on its page of the Hub"
        raise kind(message) from error
    except errors.RepositoryNotFoundError as error:
        message = (
            f"{what}: no such folder, and no such repository on the Hub, or a private one: see "
            "its name, and log in with hf auth login"
        )
        raise kind(message) from error
    except errors.HFValidationError as error:
        message = f"{what}: no name of a repository, expected owner/name ({_line(error)})"
        raise kind(message) from error
    except (errors.LocalEntryNotFoundError, *_unreachable(errors)) as error:
        reading = kind is InputFileError
        here = "no such folder, and " if reading else ""
        copy = ", nor has its cache a whole copy" if reading else ""
        message = (
            f"{what}: {here}the Hugging Face Hub cannot be reached{copy}; try again with a network "
            "and without HF_HUB_OFFLINE"
        )
        raise kind(message) from error
    except errors.HfHubHTTPError as error:
        message = f"{what}: the Hub refuses ({_line(error)}); see the token of hf auth login"
        raise kind(message) from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
