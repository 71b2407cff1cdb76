"""Files that cannot be read to their end: the rest is kept, and nobody uses it by mistake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from helpers.baskets import damage_baskets, write_baskets
from helpers.files import analysis_content, make_analysis, make_sample
from helpers.runs import small_analysis
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, prepare, read_manifest
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.errors import InputFileError
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.training.run import train

ENTRIES = 240
CHUNK = 40


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", CHUNK)


@pytest.fixture
def reads(monkeypatch) -> list[tuple[str, int]]:
    """File and first entry of the chunks that are read; the scan reads more at once."""
    seen: list[tuple[str, int]] = []
    read = ChunkReader.read

    def counted(self: ChunkReader, start: int, stop: int) -> Chunk:
        if stop - start <= CHUNK:
            seen.append((Path(self._file.path).name, start))
        return read(self, start, stop)

    monkeypatch.setattr(ChunkReader, "read", counted)
    return seen


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for number, name in enumerate(("s.root", "b1.root", "b2.root")):
        sample = make_sample(number, ENTRIES, first_event=1000 * number)
        write_baskets(tmp_path / name, sample, CHUNK)
    return tmp_path


def changes(**background: Any) -> dict[str, Any]:
    processes = analysis_content()["processes"]
    processes["bkg"] |= {"files": ["b1.root", "b2.root"], **background}
    return {"processes": processes}


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def check_refused(out: Path, reason: str) -> None:
    with pytest.raises(InputFileError, match=reason):
        Store(out)


def test_all_others_are_kept_and_the_error_says_what_to_do(base, reads):
    damage_baskets(base / "b2.root", 3, 5)
    with pytest.raises(InputFileError) as caught:
        prepare(make_analysis(base, **changes()), base / "out")
    message = str(caught.value)
    assert message.startswith(f"{base}/b2.root: ")
    assert message.endswith(
        f" [entries 120 to 160; 2 of 18 chunks could not be read, the others are kept in "
        f"{base}/out, which is marked incomplete; mend the file and prepare again, or leave it "
        f"out with exclude under its process]"
    )
    assert "\n" not in message
    manifest = read_manifest(base / "out")
    assert not manifest.complete
    assert [(chunk.path, chunk.start, chunk.stop) for chunk in manifest.failed] == [
        (f"{base}/b2.root", 120, 160),
        (f"{base}/b2.root", 200, 240),
    ]
    assert len(content(base / "out")) == 1 + 16
    # No yield of a part of the events, anywhere.
    assert manifest.cutflow == []
    assert manifest.normalisation == {}
    check_refused(
        base / "out",
        rf"out: the store is marked incomplete, 2 chunks are missing \(the first is {base}/b2.root,"
        rf" entries 120 to 160: .*\); mend the file and run aot prepare again, or leave the file ou",
    )


def test_once_the_file_is_mended_it_alone_is_read(base, reads):
    healthy = damage_baskets(base / "b2.root", 3)
    analysis = make_analysis(base, **changes())
    for _ in range(2):  # again in vain: only what failed is tried again
        reads.clear()
        with pytest.raises(InputFileError):
            prepare(analysis, base / "out")
    assert reads == [("b2.root", 120)]
    (base / "b2.root").write_bytes(healthy)
    reads.clear()
    prepare(analysis, base / "out")
    assert reads == [("b2.root", start) for start in range(0, ENTRIES, CHUNK)]
    assert content(base / "out") == content(prepare(analysis, base / "clean"))


def test_once_the_storage_answers_again_what_failed_alone_is_read(base, reads):
    before = (base / "b2.root").stat()
    healthy = damage_baskets(base / "b2.root", 3)
    os.utime(base / "b2.root", ns=(before.st_atime_ns, before.st_mtime_ns))
    analysis = make_analysis(base, **changes())
    with pytest.raises(InputFileError):
        prepare(analysis, base / "out")
    (base / "b2.root").write_bytes(healthy)
    os.utime(base / "b2.root", ns=(before.st_atime_ns, before.st_mtime_ns))
    reads.clear()
    prepare(analysis, base / "out")
    assert reads == [("b2.root", 120)]
    assert content(base / "out") == content(prepare(analysis, base / "clean"))


def test_an_excluded_file_takes_its_sum_of_weights_along(base, reads):
    damage_baskets(base / "b2.root", 3)
    with pytest.raises(InputFileError):
        prepare(make_analysis(base, **changes()), base / "out")
    reads.clear()
    without = make_analysis(base, **changes(exclude=["b2.root"]))
    prepare(without, base / "out")
    assert reads == []
    sample = make_sample(1, ENTRIES, first_event=1000).flat
    kept = sample["MET_pt"] > 20
    weight = sample["genWeight"].astype(np.float64)
    # 20 pb × 1000 fb/pb × 10 fb⁻¹ / Σ over all events of b1.root alone
    expected = (weight * (20 * 1000 * 10 / weight.sum()))[kept]
    events = Store(base / "out").events()
    np.testing.assert_allclose(events.weight[events.process == 1], expected, rtol=1e-13)
    assert content(base / "out") == content(prepare(without, base / "clean"))


def test_an_incomplete_store_replaces_the_older_one(base):
    # Else its figures would be taken for those of the analysis file as it is now.
    out = prepare(make_analysis(base, **changes()), base / "out")
    damage_baskets(base / "b1.root", 4)
    with pytest.raises(InputFileError, match=r"entries 160 to 200; 1 of 18 chunks"):
        prepare(make_analysis(base, **changes()), out)
    check_refused(out, "marked incomplete, 1 chunk is missing")


def test_damage_within_the_first_entries_shows_before_reading(base, reads):
    damage_baskets(base / "b2.root", 1)
    with pytest.raises(InputFileError, match=rf"^{base}/b2.root: "):
        prepare(make_analysis(base, **changes()), base / "out")
    assert reads == []
    assert not (base / "out").exists()


# -- who opens a store ---------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", 100)
    file = small_analysis(tmp_path, epochs=1)
    return RunFolder(train(load_analysis(file), tmp_path / "run", store=tmp_path / "store"))


def flip(store: Path) -> Path:
    entry = read_manifest(store).shards[3]
    weight = Store(store)._batch(entry).column("event_weight").to_numpy()[:2].tobytes()
    path = store / "shards" / entry.name
    data = bytearray(path.read_bytes())
    data[data.index(weight)] ^= 1
    path.write_bytes(data)
    return path


def test_training_and_evaluation_find_altered_bytes(run, tmp_path):
    path = flip(tmp_path / "store")
    message = rf"{path.name}: its content has changed since it was prepared .* delete it and run"
    analysis = load_analysis(tmp_path / "analysis.yaml")
    with pytest.raises(InputFileError, match=message):
        evaluate_run(run)
    with pytest.raises(InputFileError, match=message):
        train(analysis, tmp_path / "second", store=tmp_path / "store")
    assert not (tmp_path / "second").exists()
    path.unlink()
    prepare(analysis, tmp_path / "store")
    metrics, _ = evaluate_run(run)
    assert 0 < metrics["auc"]["value"] < 1


def test_training_and_evaluation_refuse_an_incomplete_store(run, tmp_path, monkeypatch):
    read = ChunkReader.read

    def failing(self: ChunkReader, start: int, stop: int) -> Chunk:
        if start == 200:
            message = f"{self._file.path}: storage does not answer"
            raise InputFileError(message)
        return read(self, start, stop)

    file = tmp_path / "analysis.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["event"]["select"] = "met.pt > 120"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    monkeypatch.setattr(ChunkReader, "read", failing)
    message = r"signal.parquet: storage does not answer .*3 of 12 chunks could not be read"
    with pytest.raises(InputFileError, match=message):
        train(load_analysis(file), tmp_path / "second", store=tmp_path / "store")
    assert not (tmp_path / "second").exists()
    with pytest.raises(InputFileError, match=r"store: the store is marked incomplete, 3 chunks"):
        evaluate_run(run)
