"""What a file is that the user names: by the analysis file, or by the options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helpers.files import make_analysis
from particle_transformer.data.belonging import Belonging
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from pathlib import Path

ERAS = {
    "2017": {"luminosity": 41.0, "aliases": {"btag": "btagB"}},
    "2018": {"luminosity": 59.0},
}


def touch(base: Path, *names: str) -> None:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def analysis(base: Path, *, data: bool = True, eras: Any = ERAS) -> Any:
    def files(name: str) -> dict[str, list[str]]:
        return {era: [f"{era}/{name}*.root"] for era in eras}

    processes: dict[str, Any] = {
        "sig": {"class": "signal", "cross_section": 1.0, "files": files("sig")},
        "bkg": {"class": "background", "cross_section": 1.0, "files": files("bkg")},
    }
    if data:
        processes["met"] = {"class": "data", "files": files("met")}
    return make_analysis(base, luminosity=None, eras=dict(eras), processes=processes)


def test_by_path_and_by_name(tmp_path):
    touch(tmp_path, "2017/sig_1.root", "2018/bkg_2.root", "2018/met.root", "skim/bkg_2.root")
    belonging = Belonging(analysis(tmp_path), None, None)
    found = belonging(str(tmp_path / "2017" / "sig_1.root"))
    assert (found.process, found.era, found.tree) == ("sig", "2017", "Events")
    assert found.path == str((tmp_path / "2017/sig_1.root").resolve())
    assert found.size == 1
    copied = belonging(str(tmp_path / "skim" / "bkg_2.root"))
    assert (copied.process, copied.era) == ("bkg", "2018")


def test_a_name_that_two_have_needs_the_option(tmp_path):
    touch(tmp_path, "2017/sig.root", "2018/sig.root", "copy/sig.root")
    message = (
        r"copy/sig.root: the analysis file has it in processes.sig \(era 2017\), .*2018\); say"
    )
    with pytest.raises(InputFileError, match=message):
        Belonging(analysis(tmp_path), None, None)(str(tmp_path / "copy/sig.root"))
    found = Belonging(analysis(tmp_path), None, "2018")(str(tmp_path / "copy/sig.root"))
    assert found.era == "2018"


def test_an_unknown_file_names_the_options_that_matter(tmp_path):
    touch(tmp_path, "new.root")
    new = str(tmp_path / "new.root")
    with pytest.raises(
        InputFileError, match=r"say --process \(sig, bkg, met\) and --era \(2017, 2018\)$"
    ):
        Belonging(analysis(tmp_path), None, None)(new)
    with pytest.raises(InputFileError, match=r"depends on what it is; say --era \(2017, 2018\)$"):
        Belonging(analysis(tmp_path), "sig", None)(new)
    with pytest.raises(InputFileError, match=r"say --process \(sig, bkg, met\)$"):
        Belonging(analysis(tmp_path), None, "2017")(new)
    found = Belonging(analysis(tmp_path), "met", "2018")(new)
    assert (found.process, found.era, found.variation) == ("met", "2018", "")


def test_what_changes_nothing_is_not_asked(tmp_path):
    touch(tmp_path, "new.root")
    eras = {"2018": {"luminosity": 59.0}}
    simulation = analysis(tmp_path, data=False, eras=eras)
    assert Belonging(simulation, None, None)(str(tmp_path / "new.root")).process in ("sig", "bkg")


def test_options_that_contradict_or_are_unknown(tmp_path):
    touch(tmp_path, "2018/sig.root")
    with pytest.raises(InputFileError, match=r"--process sgi: not in the .*nearest: sig"):
        Belonging(analysis(tmp_path), "sgi", None)
    with pytest.raises(InputFileError, match=r"--era 2016: not in the analysis file"):
        Belonging(analysis(tmp_path), None, "2016")
    with pytest.raises(InputFileError, match=r"belongs to processes.sig \(era 2018\) .*leave"):
        Belonging(analysis(tmp_path), "met", "2018")(str(tmp_path / "2018" / "sig.root"))
    with pytest.raises(InputFileError, match=r"2018: is a folder; expected files, as in"):
        Belonging(analysis(tmp_path), "met", "2018")(str(tmp_path / "2018"))
