"""Events that are there twice: found wherever they are, and never where none is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from helpers.files import analysis_content, make_analysis, make_sample, write_pair, write_root
from particle_transformer.data import Store, duplicates, prepare
from particle_transformer.data.duplicates import Duplicate, find_duplicate
from particle_transformer.errors import SampleError

IDENTITY = {"identity": ["run", "luminosityBlock", "event"]}

Parts = list[NDArray[np.int64]]


def find(parts: Parts) -> Duplicate | None:
    return find_duplicate([len(part) for part in parts], lambda part: parts[part])


def reference(parts: Parts) -> Duplicate | None:
    """One event after the other."""
    places: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        for row, identity in enumerate(part.tolist()):
            places.setdefault(tuple(identity), []).append((number, row))
    again = {identity: found for identity, found in places.items() if len(found) > 1}
    if not again:
        return None
    first = min(again, key=lambda identity: again[identity][0])
    counts = Counter(tuple(row) for part in parts for row in part.tolist())
    one, two = again[first][:2]
    return Duplicate(one, two, first, sum(count - 1 for count in counts.values()))


NUMBERS = st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1), st.just(-1))


@given(
    st.lists(
        st.integers(0, 12).flatmap(
            lambda rows: arrays(np.int64, (rows, 3), elements=NUMBERS, fill=st.nothing())
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 2, 3, 7, 1000]),
)
def test_the_same_as_counting(parts: Parts, at_once: int) -> None:
    usual, duplicates.EVENTS_AT_ONCE = duplicates.EVENTS_AT_ONCE, at_once
    try:
        assert find(parts) == reference(parts)
    finally:
        duplicates.EVENTS_AT_ONCE = usual


@pytest.mark.parametrize("at_once", [10**9, 100_000, 30_000])
def test_many_events_one_of_them_twice(monkeypatch, at_once):
    monkeypatch.setattr(duplicates, "EVENTS_AT_ONCE", at_once)
    numbers = np.arange(200_000)
    identity = np.stack([numbers % 5, numbers // 1000, numbers], axis=1)
    parts = [identity[:70_000], identity[70_000:150_000], identity[150_000:]]
    assert find(parts) is None
    parts[2] = np.concatenate([parts[2], identity[[80_001, 3]]])
    assert find(parts) == Duplicate((0, 3), (2, 50_001), (3, 0, 3), 2)


def test_equal_sums_are_no_duplicates(monkeypatch):
    monkeypatch.setattr(duplicates, "EVENTS_AT_ONCE", 2)
    assert find([np.array([[1, 2, 3], [3, 2, 1], [2, 2, 2], [6, 0, 0]])]) is None


# -- in a store ----------------------------------------------------------------------------------


def content(**changes: Any) -> dict[str, Any]:
    """No selection of events: every entry counts."""
    return {"source": IDENTITY, "event": {"features": ["MET_pt"]}, **changes}


@pytest.fixture(params=[7, 100_000], ids=["small chunks", "one chunk"])
def chunk(request, monkeypatch):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", request.param)


@pytest.mark.usefixtures("chunk")
def test_within_a_file(tmp_path):
    _, background = write_pair(tmp_path, events=30)
    write_root(tmp_path / "b.root", background.taken([*range(30), 4, 9]))
    message = (
        rf"^2 selected events are there twice; the first \(run 1, luminosityBlock 1, event 10005\) "
        rf"is entry 4 of {tmp_path}/b.root and entry 30 of {tmp_path}/b.root; remove one copy, or, "
        rf"if different events share numbers, leave out source.identity$"
    )
    with pytest.raises(SampleError, match=message):
        prepare(make_analysis(tmp_path, **content()), tmp_path / "out")


@pytest.mark.usefixtures("chunk")
def test_across_files_of_a_process(tmp_path):
    _, background = write_pair(tmp_path, events=30)
    write_root(tmp_path / "b2.root", make_sample(3, 20, first_event=20_001))
    write_root(tmp_path / "b3.root", background.taken([28]))
    processes = analysis_content()["processes"]
    processes["bkg"]["files"] = ["b*.root"]
    analysis = make_analysis(tmp_path, **content(processes=processes))
    message = (
        r"^1 selected events .* event 10029\) is entry 28 of .*/b.root and entry 0 of .*/b3.root;"
    )
    with pytest.raises(SampleError, match=message):
        prepare(analysis, tmp_path / "out")
    # What was read stays, and the one file left out mends it.
    assert any((tmp_path / "out" / "shards").iterdir())
    processes["bkg"]["exclude"] = ["b3.root"]
    out = prepare(make_analysis(tmp_path, **content(processes=processes)), tmp_path / "out")
    assert len(Store(out).events()) == 30 + 30 + 20


def test_a_copy_that_is_not_selected_does_no_harm(tmp_path):
    _, background = write_pair(tmp_path, events=30)
    met = background.flat["MET_pt"].copy()
    row = int(np.argmin(met))
    met[row] = 0
    write_root(tmp_path / "b.root", background.replaced(MET_pt=met).taken([*range(30), row]))
    event = {"select": "MET_pt > 0", "features": ["MET_pt"]}
    out = prepare(make_analysis(tmp_path, **content(event=event)), tmp_path / "out")
    assert len(Store(out).events()) == 30 + 29


def data(base, first: int, second: int, **eras: str) -> dict[str, Any]:
    """Two processes of data, 20 events each from these event numbers on."""
    write_pair(base, events=30)
    write_root(base / "d1.root", make_sample(3, 20, first_event=first))
    write_root(base / "d2.root", make_sample(4, 20, first_event=second))
    processes = analysis_content()["processes"]
    for number in (1, 2):
        files: Any = [f"d{number}.root"]
        processes[f"data{number}"] = {
            "class": "data",
            "files": {eras[f"era{number}"]: files} if eras else files,
        }
    if not eras:
        return content(processes=processes)
    for name in ("sig", "bkg"):
        processes[name]["files"] = {"early": processes[name]["files"]}
    found = {"early": {"luminosity": 5.0}, "late": {"luminosity": 6.0}}
    return content(processes=processes, eras=found, luminosity=None)


def aligned(base, same_section: bool) -> None:
    """The luminosity section, too, of the copy."""
    sample = make_sample(4, 20, first_event=511)
    section = np.full(20, 1 if same_section else 2, dtype=np.uint32)
    write_root(base / "d2.root", sample.replaced(luminosityBlock=section))


@pytest.mark.parametrize(
    "eras",
    [{}, {"era1": "early", "era2": "early"}, {"era1": "early", "era2": "late"}],
    ids=["one era", "the same era", "two eras"],
)
def test_across_primary_datasets_and_eras_of_data(tmp_path, eras):
    changes = data(tmp_path, 501, 511, **eras)
    aligned(tmp_path, same_section=True)
    message = r"^10 selected events .* event 511\) is entry 10 of .*d1.root and entry 0 of .*d2.ro"
    with pytest.raises(SampleError, match=message):
        prepare(make_analysis(tmp_path, **changes), tmp_path / "out")
    aligned(tmp_path, same_section=False)  # then they are other events
    prepare(make_analysis(tmp_path, **changes), tmp_path / "out")


def test_simulated_processes_and_eras_number_their_own_events(tmp_path):
    sample = make_sample(3, 30)
    for name in ("s.root", "b.root", "b_late.root"):
        write_root(tmp_path / name, sample)
    processes = analysis_content()["processes"]
    processes["sig"]["files"] = {"early": ["s.root"]}
    processes["bkg"]["files"] = {"early": ["b.root"], "late": ["b_late.root"]}
    # Run 1 of data is none of simulation's.
    write_root(tmp_path / "d.root", sample)
    processes["data"] = {"class": "data", "files": {"early": ["d.root"]}}
    eras = {"early": {"luminosity": 5.0}, "late": {"luminosity": 6.0}}
    changes = content(processes=processes, eras=eras, luminosity=None)
    out = prepare(make_analysis(tmp_path, **changes), tmp_path / "out")
    assert len(Store(out).events()) == 120


@pytest.mark.parametrize("source", [{"event_number": "event"}, {}], ids=["one number", "content"])
def test_one_number_is_not_taken_to_identify_an_event(tmp_path, source):
    _, background = write_pair(tmp_path, events=30)
    write_root(tmp_path / "b.root", background.taken([*range(30), 4]))
    out = prepare(make_analysis(tmp_path, **content(source=source)), tmp_path / "out")
    assert len(Store(out).events()) == 61
