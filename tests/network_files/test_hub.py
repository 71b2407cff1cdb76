"""Networks from and to the Hub, without network: its client is replaced, or its cache is filled."""

from __future__ import annotations

import json
import logging
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.errors import InputFileError, MissingExtraError, OutputError

huggingface_hub = pytest.importorskip("huggingface_hub")
import httpx2  # comes with it
from huggingface_hub import errors

if TYPE_CHECKING:
    from pathlib import Path

REPO = "physics/tth-invisible"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _model(seed: int = 0) -> AnalysisObjectTransformer:
    torch.manual_seed(seed)
    model = AnalysisObjectTransformer(2, 1, 8, 8, 8, 8, 8, 2, num_att_blocks=1, num_class_blocks=1)
    model.metadata = {"classes": ["signal", "top"]}
    return model.eval()


def _assert_same(model: AnalysisObjectTransformer, expected: AnalysisObjectTransformer) -> None:
    assert model.arguments == expected.arguments
    assert model.metadata == expected.metadata
    state = model.state_dict()
    for name, value in expected.state_dict().items():
        assert torch.equal(state[name], value), name


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub's client."""
    path = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(path))
    return path


def _fill(cache: Path, model: AnalysisObjectTransformer, revision: str = "main") -> Path:
    """What the client leaves when it has fetched a repository."""
    repository = cache / f"models--{REPO.replace('/', '--')}"
    model.save_pretrained(snapshot := repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / revision).write_text(COMMIT)
    (repository / "trees").mkdir()
    blob = {"size": 1, "blob_id": "0" * 40}
    blob |= {"lfs_sha256": None, "lfs_size": None, "xet_hash": None}
    entries = {file.name: blob for file in snapshot.iterdir()}
    (repository / "trees" / f"{COMMIT}.json").write_text(json.dumps(entries))
    return snapshot


def _down(*_: Any, **__: Any) -> Any:
    message = "Name or service not known"
    raise httpx2.ConnectError(message)


def _refusing(kind: Any, status: int) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        request = httpx2.Request("GET", "https://hub")
        message = "no"
        raise kind(message, response=httpx2.Response(status, request=request))

    return refuse


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", _down)


@pytest.mark.usefixtures("down")
@pytest.mark.parametrize("revision", [None, "v1.0"])
def test_without_network_it_is_the_cached_copy_and_that_is_said(
    cache: Path, caplog: pytest.LogCaptureFixture, revision: str | None
) -> None:
    snapshot = _fill(cache, _model(3), revision or "main")
    with caplog.at_level(logging.WARNING, "particle_transformer"):
        model = AnalysisObjectTransformer.from_pretrained(REPO, revision=revision)
    _assert_same(model, _model(3))
    assert f"the Hub cannot be reached; taken from its cache, {snapshot}" in caplog.text


@pytest.mark.usefixtures("down")
def test_without_network_and_copy_it_is_one_sentence(cache: Path) -> None:
    with pytest.raises(
        InputFileError,
        match=rf"{REPO}: no such folder, and the Hugging Face Hub cannot be reached, nor",
    ):
        AnalysisObjectTransformer.from_pretrained(REPO)
    _fill(cache, _model(), "main")
    with pytest.raises(
        InputFileError, match=rf"{REPO} at revision v2: no such folder, and the Hugging Face Hub"
    ):
        AnalysisObjectTransformer.from_pretrained(REPO, revision="v2")


def test_the_hubs_offline_mode(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputFileError, match=r"without HF_HUB_OFFLINE"):
        AnalysisObjectTransformer.from_pretrained(REPO)
    _fill(cache, _model(1))
    _assert_same(AnalysisObjectTransformer.from_pretrained(REPO), _model(1))


def test_a_hub_that_is_broken_is_one_that_is_down(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", _refusing(errors.HfHubHTTPError, 503))
    _fill(cache, _model(1))
    _assert_same(AnalysisObjectTransformer.from_pretrained(REPO), _model(1))


@pytest.mark.usefixtures("down")
def test_a_damaged_copy_is_not_taken(cache: Path) -> None:
    file = _fill(cache, _model()) / "config.json"
    file.write_text(file.read_text().replace('"top"', '"bottom"'))
    with pytest.raises(InputFileError, match=r"config\.json: sha256 of its content .* changed by"):
        AnalysisObjectTransformer.from_pretrained(REPO)


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        (errors.RepositoryNotFoundError, 404, "no such folder, and no such repository on the Hub"),
        (errors.GatedRepoError, 403, "only after its owner has agreed"),
        (errors.RevisionNotFoundError, 404, "no such revision"),
        (errors.HfHubHTTPError, 403, "the Hub refuses"),
    ],
)
def test_what_the_hub_refuses_is_explained(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, status: int, message: str
) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", _refusing(kind, status))
    with pytest.raises(InputFileError, match=message) as caught:
        AnalysisObjectTransformer.from_pretrained(REPO)
    assert "\n" not in str(caught.value)


def test_a_revision_is_asked_for_and_pickles_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _model(2).save_pretrained(tmp_path / "fetched")
    asked: list[tuple[str, dict[str, Any]]] = []

    def fetched(repo: str, **options: Any) -> str:
        asked.append((repo, options))
        return str(tmp_path / "fetched")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    _assert_same(AnalysisObjectTransformer.from_pretrained(REPO, revision="v1"), _model(2))
    ((repo, options),) = asked
    assert (repo, options["revision"]) == (REPO, "v1")
    names = ["config.json", "model.safetensors", "pytorch_model.bin", "x.pt", "x.pkl", "run.py"]
    kept = huggingface_hub.utils.filter_repo_objects(
        names, allow_patterns=options["allow_patterns"]
    )
    assert list(kept) == names[:2]


def test_pushing_uploads_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def upload(_: Any, *, repo_id: str, folder_path: Path, **options: Any) -> SimpleNamespace:
        shutil.copytree(folder_path, tmp_path / "pushed")
        calls.append(repo_id)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "create_repo",
        lambda _, repo, **options: calls.append((repo, options)),
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    address = _model(4).push_to_hub(REPO, private=True)
    assert address == f"https://hub/{REPO}/commit/1"
    assert calls == [(REPO, {"private": True, "exist_ok": True}), REPO]
    _assert_same(AnalysisObjectTransformer.from_pretrained(tmp_path / "pushed"), _model(4))


def test_pushing_without_network_or_right_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", _down)
    with pytest.raises(OutputError, match=rf"{REPO}: the Hugging Face Hub cannot be reached; try"):
        _model().push_to_hub(REPO)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", _refusing(errors.HfHubHTTPError, 401))
    with pytest.raises(OutputError, match="the Hub refuses"):
        _model().push_to_hub(REPO)


def test_folders_and_names_that_are_none(tmp_path: Path) -> None:
    for place in (tmp_path / "absent", f"{tmp_path}/absent", "a/b/c", "./absent", ""):
        with pytest.raises(InputFileError, match=r"no such folder|^\.: not a network"):
            AnalysisObjectTransformer.from_pretrained(place)
    _model().save_pretrained(tmp_path / "network")
    with pytest.raises(InputFileError, match=r"revision 'v1': .* only repositories of the Hub"):
        AnalysisObjectTransformer.from_pretrained(tmp_path / "network", revision="v1")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"analysis-object-transformer\[hub\]"):
        AnalysisObjectTransformer.from_pretrained(REPO)


def test_a_network_of_several_is_chosen_by_its_fold(tmp_path: Path) -> None:
    ensemble = tmp_path / "run" / "artefact"
    for fold in range(2):
        _model(fold).save_pretrained(ensemble / f"fold-{fold}" / "network-0")
    members = ["fold-0/network-0", "fold-1/network-0"]
    (ensemble / "config.json").write_text(json.dumps({"members": members}))
    for place in (tmp_path / "run", ensemble):
        _assert_same(AnalysisObjectTransformer.from_pretrained(place, fold=1), _model(1))
        with pytest.raises(InputFileError, match=r"several networks; say which, as in fold=0"):
            AnalysisObjectTransformer.from_pretrained(place)
        with pytest.raises(
            InputFileError, match=r"no fold-2/network-0; there: fold-0/network-0, f"
        ):
            AnalysisObjectTransformer.from_pretrained(place, fold=2)
    with pytest.raises(InputFileError, match=r"a single network; leave fold=0 out"):
        AnalysisObjectTransformer.from_pretrained(ensemble / members[0], fold=0)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (file := tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputFileError, match=r"model\.safetensors: is a file; expected the folder"):
        AnalysisObjectTransformer.from_pretrained(file)
