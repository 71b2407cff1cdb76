"""The identity that folds are hashed from: event numbers, or the content of the columns."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.files import make_analysis, make_sample, write_root
from particle_transformer.data import Store, prepare
from particle_transformer.data.identity import content_identity, numbered_identity
from particle_transformer.data.readers import Column
from particle_transformer.errors import AnalysisFileError, InputFileError


def test_unsigned_numbers_keep_their_bits():
    values = np.array([0, 1, 2**63 - 1, 2**63, 2**63 + 5, 2**64 - 1], dtype=np.uint64)
    identity = numbered_identity({"event": Column(values)}, ["event"], "f.root")
    assert identity.dtype == np.int64
    assert identity[:, 0].tolist() == [0, 1, 2**63 - 1, -(2**63), -(2**63) + 5, -1]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i4", "i8"])
def test_narrow_integers_keep_their_value(dtype):
    values = np.array([0, 1, 100], dtype=dtype)
    identity = numbered_identity({"event": Column(values)}, ["event"], "f.root")
    assert identity[:, 0].tolist() == [0, 1, 100]


def test_large_event_numbers_of_a_root_file_reach_the_store(tmp_path):
    numbers = np.array([2**63 + 7, 3, 2**64 - 1, 2**31], dtype=np.uint64)
    sample = make_sample(1, 4).replaced(event=numbers, MET_pt=np.full(4, 99, dtype=np.float32))
    write_root(tmp_path / "s.root", sample.replaced(genWeight=np.ones(4, dtype=np.float32)))
    write_root(tmp_path / "b.root", make_sample(2, 30))
    events = Store(prepare(make_analysis(tmp_path), tmp_path / "out")).events()
    stored = events.identity[events.process == 0][:, 0]
    assert stored.view(np.uint64).tolist() == numbers.tolist()


def test_run_section_and_event_are_stored_in_the_order_of_the_file(tmp_path):
    sample = make_sample(1, 30)
    write_root(tmp_path / "s.root", sample)
    write_root(tmp_path / "b.root", make_sample(2, 30))
    names = ["luminosityBlock", "event", "run"]
    analysis = make_analysis(tmp_path, source={"identity": names})
    store = Store(prepare(analysis, tmp_path / "out"))
    events = store.events()
    _, entry = store.origin()
    chosen = events.process == 0
    expected = np.stack([sample.flat[name][entry[chosen]] for name in names], axis=1)
    np.testing.assert_array_equal(events.identity[chosen], expected)


@pytest.mark.parametrize(("name", "found"), [("MET_pt", "float32"), ("Jet_pt", "a list per event")])
def test_identity_must_be_one_integer_per_event(tmp_path, name, found):
    write_root(tmp_path / "s.root", make_sample(1, 10))
    write_root(tmp_path / "b.root", make_sample(2, 10))
    analysis = make_analysis(tmp_path, source={"event_number": name})
    message = rf"s.root: branch '{name}' of source.identity holds {found}; expected one integer"
    with pytest.raises(InputFileError, match=message):
        prepare(analysis, tmp_path / "out")


def test_a_definition_is_no_identity_and_never_silently_left_out(tmp_path):
    write_root(tmp_path / "s.root", make_sample(1, 10))
    write_root(tmp_path / "b.root", make_sample(2, 10))
    event = {"define": {"event": "MET_pt * 1"}, "features": ["MET_pt"]}
    with pytest.raises(AnalysisFileError, match=r"^source.identity: 'event' is defined in the"):
        prepare(make_analysis(tmp_path, event=event), tmp_path / "out")


# -- content hash ------------------------------------------------------------------------------

Content = dict[str, Column]


def jagged(lists: list[list[float]]) -> Column:
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Column(np.array([x for part in lists for x in part], dtype=np.float32), offsets)


def columns(met: list[float], jets: list[list[float]]) -> Content:
    return {"MET_pt": Column(np.array(met, dtype=np.float32)), "Jet_pt": jagged(jets)}


def hashes(met: list[float], jets: list[list[float]]) -> list[int]:
    found = content_identity(columns(met, jets), len(met))
    assert found.shape == (len(met), 1)
    assert found.dtype == np.int64
    return list(found[:, 0].tolist())


number = st.floats(-1000, 1000, width=32)
event = st.tuples(number, st.lists(number, max_size=4))


@given(st.lists(event, min_size=1, max_size=8))
def test_an_event_hashes_alike_alone_and_among_others(events):
    together = hashes([met for met, _ in events], [jets for _, jets in events])
    assert together == [hashes([met], [jets])[0] for met, jets in events]


@given(event, st.data())
def test_any_changed_value_changes_the_hash(drawn, data):
    met, jets = drawn
    before = hashes([met], [jets])
    if jets and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(jets) - 1))
        changed = [*jets]
        changed[place] = float(np.nextafter(np.float32(jets[place]), np.float32(np.inf)))
        assert hashes([met], [changed]) != before
    else:
        assert hashes([float(np.nextafter(np.float32(met), np.float32(np.inf)))], [jets]) != before


@given(st.lists(number, min_size=2, max_size=5, unique=True))
def test_the_order_of_objects_matters(jets):
    assert hashes([1.0], [jets]) != hashes([1.0], [jets[::-1]])


@given(st.lists(number, min_size=1, max_size=4))
def test_an_object_more_matters_even_a_zero(jets):
    assert hashes([1.0], [jets]) != hashes([1.0], [[*jets, 0.0]])
    assert hashes([1.0], [[]]) != hashes([1.0], [[0.0]])


def test_the_split_between_events_matters():
    assert set(hashes([1, 1], [[1, 2], [3]])).isdisjoint(hashes([1, 1], [[1], [2, 3]]))
    assert hashes([1, 1], [[1, 2], []]) != hashes([1, 1], [[], [1, 2]])


def test_two_columns_do_not_cancel_or_commute():
    lists = jagged([[1.0, 2.0]]), jagged([[3.0, 4.0]])
    one = content_identity({"a": lists[0], "b": lists[1]}, 1)
    other = content_identity({"a": lists[1], "b": lists[0]}, 1)
    same = content_identity({"a": lists[0], "b": lists[0]}, 1)
    shifted = content_identity({"a": lists[1], "b": lists[1]}, 1)
    assert len({int(found[0, 0]) for found in (one, other, same, shifted)}) == 4
    # The order in which a file lists its branches does not matter.
    assert content_identity({"b": lists[1], "a": lists[0]}, 1) == one


def test_empty_events_hash_by_what_they_have():
    assert len(set(hashes([1, 2, 3], [[], [], []]))) == 3
    assert len(set(hashes([1, 1], [[], []]))) == 1
    assert hashes([], []) == []


def test_no_collisions_in_1e5_events():
    sample = make_sample(9, 100_000)
    jets = sample.jagged["Jet"]["pt"]
    counts = ak.to_numpy(ak.num(jets))
    content = {
        "MET_pt": Column(sample.flat["MET_pt"]),
        "Jet_pt": Column(
            ak.to_numpy(ak.flatten(jets)), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        ),
    }
    # Two empty events may well have the same MET: then, and only then, they hash alike.
    different = set(zip(sample.flat["MET_pt"].tolist(), map(tuple, jets.tolist()), strict=True))
    assert len(different) > 99_990
    assert len(np.unique(content_identity(content, len(sample)))) == len(different)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "f4", "f8", "u8"])
def test_every_kind_of_number_is_hashed(dtype):
    found = content_identity({"x": Column(np.array([0, 1, 0]).astype(dtype))}, 3)[:, 0]
    assert found[0] == found[2] != found[1]


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(24)))
def test_stored_hashes_do_not_depend_on_chunks_or_order(tmp_path_factory, order):
    """Prepared from shuffled events, in chunks of 5, the same events keep their identity."""
    folder = tmp_path_factory.mktemp("identity")
    sample = make_sample(3, 24)
    write_root(folder / "b.root", make_sample(4, 24))
    found = []
    for name, used, entries in (("plain", sample, 100), ("mixed", sample.taken(order), 5)):
        write_root(folder / name / "s.root", used)
        analysis = make_analysis(
            folder,
            source={},
            processes={
                "sig": {"class": "signal", "cross_section": 1.0, "files": f"{name}/s.root"},
                "bkg": {"class": "background", "cross_section": 1.0, "files": "b.root"},
            },
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(prepare.__globals__, "CHUNK_ENTRIES", entries)
            store = Store(prepare(analysis, folder / name / "out"))
        events = store.events()
        _, entry = store.origin()
        chosen = events.process == 0
        number = used.flat["event"][entry[chosen]]
        found.append(dict(zip(number.tolist(), events.identity[chosen, 0].tolist(), strict=True)))
    assert found[0] == found[1]
    assert len(set(found[0].values())) == len(found[0])


def test_weights_and_numbers_are_not_hashed(tmp_path):
    """A new pile-up weight must not move an event to another fold."""
    sample = make_sample(3, 24)
    write_root(tmp_path / "b.root", make_sample(4, 24))
    found = []
    for name, used in (
        ("one", sample),
        ("two", sample.replaced(puWeight=sample.flat["puWeight"] * 2)),
    ):
        write_root(tmp_path / name / "s.root", used)
        analysis = make_analysis(
            tmp_path,
            source={},
            weights={"generator": "genWeight", "pileup": "puWeight"},
            processes={
                "sig": {"class": "signal", "cross_section": 1.0, "files": f"{name}/s.root"},
                "bkg": {"class": "background", "cross_section": 1.0, "files": "b.root"},
            },
        )
        found.append(Store(prepare(analysis, tmp_path / name / "out")).events().identity)
    np.testing.assert_array_equal(found[0], found[1])
