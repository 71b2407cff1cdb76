"""Files that appear whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from particle_transformer.atomic import new_folder, replacing
from particle_transformer.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(
        OutputError, match=r"out\.txt: cannot be written \(No space left on device\)"
    ):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.txt"]
    assert path.read_text() == "old"


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"

    def fill(error: BaseException | None) -> None:
        with new_folder(path) as folder:
            (folder / "one").write_text("1")
            if error is not None:
                raise error

    with pytest.raises(OutputError, match=r"out: cannot be written \(No space left on device\)"):
        fill(OSError(28, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        fill(KeyboardInterrupt())
    assert list(path.parent.iterdir()) == []
    with new_folder(path) as folder:
        assert not path.exists()
        assert folder.parent.parent == path.parent  # on the same disk
    path.rmdir()
    fill(None)
    assert [file.name for file in path.iterdir()] == ["one"]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode == path.parent.stat().st_mode
    with pytest.raises(OutputError, match="out: cannot be written"):
        fill(None)  # there is something in its place now
    assert list(path.parent.iterdir()) == [path]
