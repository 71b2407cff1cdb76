"""What names mean, and that a wrong one is an error that names the right one."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from helpers.files import make_analysis, write_tree
from particle_transformer.data import Store, check_inputs, prepare
from particle_transformer.data.names import Branch, Definition, Field, Names, Whole
from particle_transformer.errors import AnalysisFileError, ExpressionError, InputFileError


def jagged(*events: list[float]) -> ak.Array:
    return ak.values_astype(ak.Array(list(events)), np.float32)


PT = jagged([20.0, 50.0, 40.0], [], [35.0], [10.0])
ETA = jagged([0.1, 0.2, 0.3], [], [0.4], [0.5])
CONTENT = {
    "event": np.arange(4, dtype=np.int64),
    "genWeight": np.ones(4, dtype=np.float32),
    "MET_pt": np.array([10, 20, 30, 40], dtype=np.float32),
    "PV_n": np.array([1, 2, 3, 4], dtype=np.int32),
    "Jet": ak.zip({"pt": PT, "eta": ETA}),
    "Muon": ak.zip({"pt": jagged([5.0], [6.0, 7.0], [], [])}),
}


def analysis(base, **changes):
    settings = {
        "objects": {"jets": {"collection": "Jet", "features": ["pt"]}},
        "event": {"features": ["MET_pt"]},
        **changes,
    }
    return make_analysis(base, **settings)


def signal(base, content=CONTENT, **changes):
    """The prepared signal events of `content`."""
    write_tree(base / "s.root", content)
    write_tree(base / "b.root", content)
    events = Store(prepare(analysis(base, **changes), base / "out")).events()
    return events.take(np.flatnonzero(events.process == 0))


def jet_lists(events, column=0):
    jets = events.objects["jets"]
    return ak.unflatten(jets.values[:, column], jets.counts).tolist()


def approx(*values: float):
    return pytest.approx(list(values), rel=1e-6)


# -- resolution --------------------------------------------------------------------------------


def resolver(tmp_path, available, *, aliases=None, **changes):
    settings = analysis(
        tmp_path,
        luminosity=None,
        eras={"X": {"luminosity": 1.0, "aliases": aliases or {}}},
        **changes,
    )
    return Names(settings, "X", available, "f.root")


OBJECTS = {
    "jets": {"collection": "Jet", "fields": {"pt": "pt * 2", "e": "pt + mass"}, "features": ["pt"]},
    "muons": {"collection": "Muon", "features": ["pt"]},
}
EVENT = {"define": {"met.pt": "MET_pt", "ht": "sum(jets.pt)", "eta": "1"}, "features": ["ht"]}
AVAILABLE = ["Jet_pt", "Jet_eta", "Muon_pt", "MET_pt", "rho", "pt", "muons"]


@pytest.mark.parametrize(
    ("name", "collection", "meaning"),
    [
        ("pt", "jets", Field("jets", "pt")),  # a defined field before the branch Jet_pt
        ("eta", "jets", Branch("Jet_eta")),  # the collection's branch before event.define
        ("eta", "muons", Definition("eta")),
        ("eta", None, Definition("eta")),
        ("pt", "muons", Branch("Muon_pt")),  # before the plain branch pt
        ("pt", None, Branch("pt")),
        ("rho", "jets", Branch("rho")),
        ("rho", None, Branch("rho")),
        ("met.pt", "jets", Definition("met.pt")),
        ("met.pt", None, Definition("met.pt")),
        ("ht", "jets", Definition("ht")),
        ("jets.pt", None, Field("jets", "pt")),
        ("jets.e", "muons", Field("jets", "e")),
        ("jets.eta", "jets", Field("jets", "eta")),
        ("jets", None, Whole("jets")),
        ("jets", "muons", Whole("jets")),
        ("muons", None, Whole("muons")),  # a collection before a branch of its name
    ],
)
def test_resolution(tmp_path, name, collection, meaning):
    names = resolver(tmp_path, AVAILABLE, objects=OBJECTS, event=EVENT)
    assert names.resolve(name, collection) == meaning


def test_in_its_own_definition_a_name_is_the_branch(tmp_path):
    event = {"define": {"MET_pt": "MET_pt * 2"}, "features": ["MET_pt"]}
    names = resolver(tmp_path, AVAILABLE, objects=OBJECTS, event=event)
    assert names.resolve("pt", "jets", defining="pt") == Branch("Jet_pt")
    assert names.resolve("MET_pt", None, defining="MET_pt") == Branch("MET_pt")
    assert names.resolve("MET_pt", None) == Definition("MET_pt")


def test_aliases_hold_for_branches_and_fields(tmp_path):
    available = ["Jet_oldTag", "Jet_tag", "PFMET_pt", "MET_pt"]
    aliases = {"tag": "oldTag", "MET_pt": "PFMET_pt"}
    objects = {"jets": {"collection": "Jet", "features": ["tag"]}}
    names = resolver(tmp_path, available, aliases=aliases, objects=objects)
    assert names.resolve("tag", "jets") == Branch("Jet_oldTag")
    assert names.resolve("MET_pt", None) == Branch("PFMET_pt")


def test_redefinitions_scale_the_branch_once(tmp_path):
    events = signal(
        tmp_path,
        objects={"jets": {"collection": "Jet", "fields": {"pt": "pt * 2"}, "features": ["pt"]}},
        event={"define": {"MET_pt": "MET_pt * 3"}, "features": ["MET_pt", "sum(jets.pt)"]},
    )
    assert jet_lists(events) == [[40, 100, 80], [], [70], [20]]
    assert events.event[:, 0].tolist() == [30, 60, 90, 120]
    assert events.event[:, 1].tolist() == [220, 0, 70, 20]


def test_a_definition_does_not_take_the_place_of_a_field(tmp_path):
    event = {"define": {"pt": "MET_pt"}, "features": ["pt"]}
    events = signal(tmp_path, event=event)
    assert jet_lists(events) == [[20, 50, 40], [], [35], [10]]
    assert events.event[:, 0].tolist() == [10, 20, 30, 40]


# -- unknown names -----------------------------------------------------------------------------


def refused(tmp_path, content, **changes):
    """The message about a name, which check_inputs and prepare must give alike."""
    write_tree(tmp_path / "s.root", content)
    write_tree(tmp_path / "b.root", content)
    with pytest.raises(InputFileError) as checked:
        check_inputs(analysis(tmp_path, **changes))
    with pytest.raises(InputFileError) as prepared:
        prepare(analysis(tmp_path, **changes), tmp_path / "out")
    assert str(checked.value) == str(prepared.value)
    assert "\n" not in str(checked.value)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == []
    return str(checked.value)


def test_unknown_branch_names_those_that_end_alike(tmp_path):
    content = {name: values for name, values in CONTENT.items() if name != "MET_pt"}
    content |= {"PuppiMET_pt": CONTENT["MET_pt"], "PFMET_pt": CONTENT["MET_pt"]}
    message = refused(tmp_path, content)
    assert message.startswith(f"{tmp_path}/s.root: 'MET_pt' is neither in the file nor defined")
    nearest = message.partition("nearest: ")[2].split(", ")
    assert {"PuppiMET_pt", "PFMET_pt"} <= set(nearest)


def test_unknown_field_names_the_branch_that_was_looked_for(tmp_path):
    message = refused(
        tmp_path, CONTENT, objects={"jets": {"collection": "Jet", "features": ["Pt"]}}
    )
    assert "field 'Pt' of jets (branch 'Jet_Pt') is neither" in message
    assert "pt" in message.partition("nearest: ")[2].split(", ")


def test_unknown_field_seen_from_outside(tmp_path):
    message = refused(tmp_path, CONTENT, event={"features": ["sum(jets.ptt)"]})
    assert (
        "field 'ptt' of jets (branch 'Jet_ptt'), in expression 'sum(jets.ptt)', is neither"
        in message
    )
    assert "pt" in message.partition("nearest: ")[2].split(", ")


def test_unknown_event_quantity_in_a_collection_is_not_called_a_field(tmp_path):
    message = refused(
        tmp_path,
        CONTENT,
        objects={"jets": {"collection": "Jet", "features": ["pt / mett.pt"]}},
        event={"define": {"met.pt": "MET_pt"}, "features": ["met.pt"]},
    )
    assert "s.root: 'mett.pt', in expression 'pt / mett.pt', is neither" in message
    assert "met.pt" in message.partition("nearest: ")[2].split(", ")


def test_unknown_flat_branch_in_a_collection_finds_flat_branches(tmp_path):
    message = refused(
        tmp_path, CONTENT, objects={"jets": {"collection": "Jet", "features": ["pt / METpt"]}}
    )
    assert "MET_pt" in message.partition("nearest: ")[2].split(", ")


def test_missing_target_of_an_alias_is_named(tmp_path):
    message = refused(
        tmp_path,
        CONTENT,
        luminosity=None,
        eras={"X": {"luminosity": 1.0, "aliases": {"met": "MET_ptt"}}},
        event={"features": ["met"]},
    )
    assert "'met' (branch 'MET_ptt') is neither" in message
    assert "MET_pt" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": {"generator": "genWeigth"}},
        {"source": {"event_number": "evnt"}},
        {"event": {"select": "MET_ptt > 5", "features": ["MET_pt"]}},
        {"objects": {"jets": {"collection": "Jet", "select": "ptt > 5", "features": ["pt"]}}},
        {"objects": {"jets": {"collection": "Jet", "sort_by": "ptt", "features": ["pt"]}}},
        {"model": {"pair_bias": True}},
    ],
    ids=["weight", "identity", "selection", "object selection", "sort_by", "no phi, no mass"],
)
def test_every_place_that_names_branches_is_checked_before_reading(tmp_path, changes):
    assert "is neither in the file nor defined" in refused(tmp_path, CONTENT, **changes)


def test_check_inputs_counts_entries(tmp_path):
    write_tree(tmp_path / "s.root", CONTENT)
    write_tree(tmp_path / "b.root", CONTENT)
    found = check_inputs(analysis(tmp_path))
    assert [(file.process, entries) for file, entries in found] == [("sig", 4), ("bkg", 4)]


# -- wrong kinds -------------------------------------------------------------------------------


def failure(tmp_path, kind, content=CONTENT, **changes):
    with pytest.raises(kind) as caught:
        signal(tmp_path, content, **changes)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "circle"),
    [
        (
            {
                "objects": {
                    "jets": {"collection": "Jet", "select": "pt > ht / 10", "features": ["pt"]}
                },
                "event": {"define": {"ht": "sum(jets.pt)"}, "features": ["ht"]},
            },
            "objects.jets → event.define.ht → objects.jets",
        ),
        (
            {
                "objects": {
                    "jets": {
                        "collection": "Jet",
                        "fields": {"a": "b + 1", "b": "a - 1"},
                        "features": ["pt", "a"],
                    }
                }
            },
            "objects.jets.fields.a → objects.jets.fields.b → objects.jets.fields.a",
        ),
        (
            {
                "objects": {
                    "jets": {
                        "collection": "Jet",
                        "select": "pt > count(muons)",
                        "features": ["pt"],
                    },
                    "muons": {
                        "collection": "Muon",
                        "select": "pt > count(jets)",
                        "features": ["pt"],
                    },
                }
            },
            "objects.jets → objects.muons → objects.jets",
        ),
    ],
    ids=["through ht", "two fields", "two selections"],
)
def test_circles(tmp_path, changes, circle):
    message = failure(tmp_path, AnalysisFileError, **changes)
    found = message.partition("by itself: ")[2].partition(" (in")[0].split(" → ")
    # A circle has no beginning.
    wanted = circle.split(" → ")
    turned = [[*wanted[i:-1], *wanted[:i], wanted[i]] for i in range(len(wanted) - 1)]
    assert found in turned, message


def test_jagged_branch_as_an_event_quantity(tmp_path):
    message = failure(tmp_path, InputFileError, event={"features": ["Jet_pt"]})
    assert "branch 'Jet_pt' holds a list per event where one number per event is" in message


def test_collection_field_as_an_event_quantity(tmp_path):
    message = failure(tmp_path, ExpressionError, event={"features": ["jets.pt"]})
    assert "one per object of jets; use sum(...)" in message


def test_objects_of_two_collections_do_not_combine(tmp_path):
    objects = {
        "jets": {"collection": "Jet", "features": ["pt - muons.pt"]},
        "muons": {"collection": "Muon", "features": ["pt"]},
    }
    assert "objects of jets and muons cannot" in failure(tmp_path, ExpressionError, objects=objects)


def test_flat_branches_are_no_collection(tmp_path):
    message = failure(
        tmp_path, InputFileError, objects={"jets": {"collection": "PV", "features": ["n"]}}
    )
    assert "objects.jets: none of its branches (PV_n) holds a list per event" in message


def test_flat_quantities_are_repeated_for_each_object(tmp_path):
    events = signal(
        tmp_path, objects={"jets": {"collection": "Jet", "features": ["pt", "MET_pt", "PV_n"]}}
    )
    assert jet_lists(events, 1) == [[10, 10, 10], [], [30], [40]]
    assert jet_lists(events, 2) == [[1, 1, 1], [], [3], [4]]


@pytest.mark.parametrize("entries", [100, 3])
def test_disagreeing_counters_name_branch_and_entry(tmp_path, monkeypatch, entries):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", entries)
    content = {name: values for name, values in CONTENT.items() if name != "Jet"}
    # Entries 0 to 4 agree, and there are as many values in all.
    content = {
        name: (ak.concatenate([v, v]) if isinstance(v, ak.Array) else np.concatenate([v, v]))
        for name, v in content.items()
    }
    content["Jet_pt"] = ak.concatenate([PT, PT])
    content["Jet_eta"] = jagged(
        [0.1, 0.2, 0.3], [], [0.4], [0.5], [1.0, 2.0, 3.0], [4.0], [], [5.0]
    )
    objects = {"jets": {"collection": "Jet", "features": ["pt", "eta"]}}
    message = failure(tmp_path, InputFileError, content, objects=objects)
    assert "in entry 5 where the other branches of objects.jets have" in message
    assert "branch 'Jet_eta' has 1 objects" in message or "branch 'Jet_pt' has 0 objects" in message


def test_a_branch_of_another_collection_is_not_mixed_in(tmp_path):
    objects = {"jets": {"collection": "Jet", "features": ["pt", "Muon_pt"]}}
    message = failure(tmp_path, InputFileError, objects=objects)
    assert "in entry 0" in message
    assert "all branches of a collection must agree" in message


# -- selection and order -----------------------------------------------------------------------


def sorting_content(keys: ak.Array) -> dict[str, object]:
    number = ak.values_astype(ak.local_index(keys), np.float32)
    size = len(keys)
    return {
        "event": np.arange(size, dtype=np.int64),
        "genWeight": np.ones(size, dtype=np.float32),
        "MET_pt": np.ones(size, dtype=np.float32),
        "Jet": ak.zip({"key": ak.values_astype(keys, np.float32), "number": number}),
    }


def test_sorting_is_descending_stable_and_per_event(tmp_path):
    keys = ak.Array([[], [1, 2, 1, 2, 2], [5, 4, 4, 3], [], [7], [1, 9], []])
    objects = {"jets": {"collection": "Jet", "sort_by": "key", "features": ["number"]}}
    events = signal(tmp_path, sorting_content(keys), objects=objects)
    assert jet_lists(events) == [[], [1, 3, 4, 0, 2], [0, 1, 2, 3], [], [0], [1, 0], []]


def test_unsorted_file_order_is_kept_without_sort_by(tmp_path):
    keys = ak.Array([[1, 2, 1], [], [3, 9]])
    objects = {"jets": {"collection": "Jet", "features": ["key"]}}
    assert jet_lists(signal(tmp_path, sorting_content(keys), objects=objects)) == keys.tolist()


@pytest.mark.parametrize("entries", [100, 1])
def test_objects_without_a_key_go_last_whatever_the_chunk(tmp_path, monkeypatch, entries):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", entries)
    nan = float("nan")
    keys = ak.Array([[3, nan, 5], [nan, 1], [2, nan, 1], [4, 2]])
    objects = {"jets": {"collection": "Jet", "sort_by": "key", "features": ["number"]}}
    events = signal(tmp_path, sorting_content(keys), objects=objects)
    assert jet_lists(events) == [[2, 0, 1], [1, 0], [0, 2, 1], [0, 1]]


def test_features_of_a_collection_see_its_selected_objects(tmp_path):
    events = signal(
        tmp_path,
        objects={
            "jets": {
                "collection": "Jet",
                "select": "pt > 15",
                "sort_by": "pt",
                "max": 2,
                "features": [
                    "pt", "count(jets)", "sum(jets.pt)", "sum(pt)", "pt - leading(jets.pt, 0)",
                    "count(pt > 30)",
                ],
            }
        },
    )  # fmt: skip
    # Selected and sorted: 50, 40, 20; the network sees two of them, sums see all three.
    assert jet_lists(events, 0) == [[50, 40], [], [35], []]
    assert jet_lists(events, 1) == [[3, 3], [], [1], []]
    assert jet_lists(events, 2) == [[110, 110], [], [35], []]
    assert jet_lists(events, 3) == [[110, 110], [], [35], []]
    assert jet_lists(events, 4) == [[0, -10], [], [0], []]
    assert jet_lists(events, 5) == [[2, 2], [], [1], []]


def test_fields_of_another_collection_are_selected_and_sorted(tmp_path):
    events = signal(
        tmp_path,
        objects={
            "jets": {"collection": "Jet", "select": "pt > 15", "sort_by": "pt",
                     "features": ["pt / leading(muons.pt, 1)"]},
            "muons": {"collection": "Muon", "select": "pt > 5.5", "sort_by": "pt",
                      "features": ["pt / leading(jets.pt, 1)"]},
        },
        event={"features": ["leading(jets.pt, -1)", "subleading(jets.eta, -1)", "count(muons)"]},
    )  # fmt: skip
    assert jet_lists(events) == [approx(50, 40, 20), [], approx(35), []]
    muons = events.objects["muons"]
    assert muons.values[:, 0].tolist() == [7, 6]
    assert events.event[:, 0].tolist() == [50, -1, 35, -1]
    assert events.event[:, 1].tolist() == approx(0.3, -1, -1, -1)
    assert events.event[:, 2].tolist() == [0, 2, 0, 0]
