"""Files of one process that differ, and places that cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from helpers.files import make_analysis, make_sample, write_parquet, write_root, write_tree
from particle_transformer.data import Store, check_inputs, prepare
from particle_transformer.errors import InputFileError, OutputError


def two_files(**changes: Any) -> dict[str, Any]:
    return {
        "processes": {
            "sig": {"class": "signal", "cross_section": 1.0, "files": ["s*.*"]},
            "bkg": {"class": "background", "cross_section": 1.0, "files": ["b.root"]},
        },
        **changes,
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_root(tmp_path / "s1.root", make_sample(1, 40))
    write_root(tmp_path / "b.root", make_sample(2, 40, first_event=2000))
    return tmp_path


def without(branch: str) -> dict[str, Any]:
    sample = make_sample(3, 30, first_event=1000)
    array = sample.awkward()
    return {
        name: array[name] if array[name].ndim > 1 else np.asarray(array[name])
        for name in ak.fields(array)
        if name != branch
    }


@pytest.mark.parametrize(
    ("branch", "said"), [("Jet_eta", "field 'eta' of jets"), ("MET_pt", "'MET_pt'")]
)
def test_a_branch_missing_in_some_files_is_found_before_anything_is_read(base, branch, said):
    write_tree(base / "s2.root", without(branch))
    seen: list[object] = []
    for attempt in (
        lambda: prepare(
            make_analysis(base, **two_files()),
            base / "out",
            progress=lambda *call: seen.append(call),
        ),
        lambda: check_inputs(make_analysis(base, **two_files())),
    ):
        with pytest.raises(InputFileError) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith(f"{base}/s2.root: {said}")
        assert "neither in the file nor defined in the analysis file; nearest: " in message
        assert "\n" not in message
    assert seen == []
    assert not (base / "out").exists()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_files_with_other_number_types_give_the_same_events(base, dtype):
    """A jet pt in 16-bit integers is the same number in single or double precision."""
    sample = make_sample(3, 30, first_event=1000)
    rounded = {
        **sample.jagged,
        "Jet": {
            **sample.jagged["Jet"],
            "pt": ak.values_astype(sample.jagged["Jet"]["pt"], np.int16),
        },
    }
    for name, kind in (("s2.root", np.int16), ("t2.root", dtype)):
        jets = {**rounded["Jet"], "pt": ak.values_astype(rounded["Jet"]["pt"], kind)}
        write_root(base / name, type(sample)(sample.flat, {**rounded, "Jet": jets}))
    found = []
    for second in ("s2.root", "t2.root"):
        changes = two_files()
        changes["processes"]["sig"]["files"] = ["s1.root", second]
        found.append(
            Store(prepare(make_analysis(base, **changes), base / f"out-{second}")).events()
        )
    one, other = found
    assert len(one) == len(other) > 20
    np.testing.assert_array_equal(one.identity, other.identity)
    np.testing.assert_allclose(one.event, other.event, rtol=2e-7)
    objects, same = one.objects["jets"], other.objects["jets"]
    np.testing.assert_array_equal(objects.offsets, same.offsets)
    np.testing.assert_allclose(objects.values, same.values, rtol=2e-7)


def test_a_number_that_is_text_in_another_file(base):
    sample = make_sample(3, 30, first_event=1000)
    words = sample.replaced(MET_pt=np.array(["high"] * 30))
    write_parquet(base / "s2.parquet", words)
    with pytest.raises(InputFileError, match=r"s2.parquet: branch 'MET_pt' holds string; expected"):
        prepare(make_analysis(base, **two_files()), base / "out")


def test_a_read_only_disk(base, monkeypatch):
    out = base / "disk" / "out"
    analysis = make_analysis(base, **two_files())
    make_folder = os.mkdir

    def refuse(path: Any, *arguments: Any) -> None:
        if "disk" in Path(path).parts:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        make_folder(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        with pytest.raises(OutputError) as caught:
            prepare(analysis, out)
    assert str(caught.value) == f"{out}: cannot be written (Read-only file system)"
    assert not (base / "disk").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(base):
    locked = base / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(OutputError, match=r"out: cannot be written \(Permission denied\)"):
        prepare(make_analysis(base, **two_files()), locked / "out")
