"""Physics weights against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest

from helpers.files import Sample, make_analysis, write_parquet, write_tree
from particle_transformer.data import Store, prepare
from particle_transformer.errors import InputFileError, SampleError

JETS = ak.Array([[40.0], [50.0, 30.0], [], [60.0]])


def content(weights: list[float], first: int = 1) -> dict[str, Any]:
    """Four events: MET 100, 10, 200, 300, of which 10 fails the selection."""
    return {
        "event": np.arange(first, first + 4, dtype=np.int64),
        "genWeight": np.array(weights, dtype=np.float32),
        "puWeight": np.array([1.0, 1.0, 0.5, 2.0], dtype=np.float32),
        "MET_pt": np.array([100.0, 10.0, 200.0, 300.0], dtype=np.float32),
        "Jet": ak.zip({"pt": ak.values_astype(JETS, np.float32)}),
    }


def runs(count: list[int], sumw: list[float], suffix: str = "") -> dict[str, np.ndarray]:
    return {
        f"genEventCount{suffix}": np.array(count, dtype=np.int64),
        f"genEventSumw{suffix}": np.array(sumw, dtype=np.float64),
    }


def analysis(base, files="s*.root", **changes):
    settings = {
        "luminosity": 2.0,  # fb⁻¹
        "processes": {
            "sig": {"class": "signal", "cross_section": 3.0, "files": files},  # pb
            "bkg": {"class": "background", "cross_section": 1.0, "files": ["b.root"]},
        },
        "objects": {"jets": {"collection": "Jet", "features": ["pt"]}},
        "event": {"select": "MET_pt > 50", "features": ["MET_pt"]},
        **changes,
    }
    return make_analysis(base, **settings)


@pytest.fixture(autouse=True)
def background(tmp_path):
    write_tree(tmp_path / "b.root", content([1, 1, 1, 1], first=100))


def signal_store(tmp_path, **changes):
    """The store, and the weights of the signal in it."""
    store = Store(prepare(analysis(tmp_path, **changes), tmp_path / "out"))
    events = store.events()
    return store, events.weight[events.process == 0]


def test_cross_section_times_luminosity_over_the_sum_before_selection(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 2, 3, 4]))
    store, weight = signal_store(tmp_path)
    # 3 pb × 2 fb⁻¹ = 6000 events over Σ = 10, which includes the event that fails: 600 each.
    assert weight.tolist() == [600.0, 1800.0, 2400.0]
    yields = {row.cut: (row.events, row.yield_) for row in store.manifest.cutflow
              if row.process == "sig"}  # fmt: skip
    assert yields == {
        "read": (4, 6000.0), "signal: MET_pt > 50": (3, 4800.0), "kept": (3, 4800.0),
    }  # fmt: skip
    errors = [row.yield_error for row in store.manifest.cutflow if row.process == "sig"]
    assert errors[0] == pytest.approx(600 * np.sqrt(1 + 4 + 9 + 16), rel=1e-12)
    assert errors[1] == pytest.approx(600 * np.sqrt(1 + 9 + 16), rel=1e-12)


def test_other_weights_multiply_and_do_not_enter_the_sum(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 2, 3, 4]))
    weights = {"generator": "genWeight", "pileup": "puWeight", "constant": "2"}
    _, weight = signal_store(tmp_path, weights=weights)
    assert weight.tolist() == [600.0 * 2, 1800.0 * 0.5 * 2, 2400.0 * 2 * 2]


def test_negative_generator_weights_keep_their_sign_and_lower_the_sum(tmp_path):
    write_tree(tmp_path / "s.root", content([2, 2, -2, 2]))
    store, weight = signal_store(tmp_path)
    assert weight.tolist() == [3000.0, -3000.0, 3000.0]  # Σ = 4
    kept = next(row for row in store.manifest.cutflow if row.cut == "kept")
    assert (kept.yield_, kept.yield_error) == pytest.approx((3000.0, 3000 * np.sqrt(3)))


def test_files_of_a_process_share_one_normalisation(tmp_path):
    write_tree(tmp_path / "s1.root", content([1, 1, 1, 1]))
    write_tree(tmp_path / "s2.root", content([10, 20, 30, 36], first=5))
    store, weight = signal_store(tmp_path)
    # Σ = 4 + 96 = 100 over both files: 60 per unit of generator weight.
    assert weight.tolist() == [60.0, 60.0, 60.0, 600.0, 1800.0, 2160.0]
    assert store.manifest.normalisation["sig"] == {"all": pytest.approx(60.0)}


def test_each_era_has_its_own_sum(tmp_path):
    write_tree(tmp_path / "s1.root", content([1, 1, 1, 1]))
    write_tree(tmp_path / "s2.root", content([2, 2, 2, 2], first=5))
    _, weight = signal_store(
        tmp_path,
        luminosity=None,
        eras={"A": {"luminosity": 1.0}, "B": {"luminosity": 10.0}},
        processes={
            "sig": {"class": "signal", "cross_section": 3.0,
                    "files": {"A": ["s1.root"], "B": ["s2.root"]}},
            "bkg": {"class": "background", "cross_section": 1.0, "files": {"A": ["b.root"]}},
        },
    )  # fmt: skip
    assert weight.tolist() == [750.0] * 3 + [7500.0] * 3


@pytest.mark.parametrize("suffix", ["", "_"], ids=["v8 and later", "v6 and v7"])
def test_runs_tree_states_the_sum_of_a_skim(tmp_path, suffix):
    # Two runs in one file, one in the other; the entries' own sum (8) is not what was generated.
    write_tree(tmp_path / "s1.root", content([1, 1, 1, 1]), runs=runs([40, 20], [50, 30], suffix))
    write_tree(tmp_path / "s2.root", content([1, 1, 1, 1], first=5), runs=runs([30], [40], suffix))
    store, weight = signal_store(tmp_path)
    assert weight.tolist() == [50.0] * 6  # 6000 / 120
    assert [record.sum_of_weights for record in store.manifest.inputs[:2]] == [80.0, 40.0]
    assert [record.generated for record in store.manifest.inputs[:2]] == [60.0, 30.0]


@pytest.mark.parametrize("generator", ["where(genWeight > 0, 1, -1)", "sign"])
def test_a_stated_sum_is_that_of_a_branch_and_not_of_what_is_made_of_it(tmp_path, generator):
    # Σ genWeight = 150 says nothing about Σ sign(genWeight): the yield would be wrong by 50.
    write_tree(tmp_path / "s.root", content([50, 50, 50, 50]), runs=runs([3], [150]))
    changes = {
        "weights": {"generator": generator},
        "event": {"define": {"sign": "where(genWeight > 0, 1, -1)"}, "features": ["MET_pt"]},
    }
    message = r"s.root: weights.generator is '.*', but the file states .* name that branch \(genW"
    with pytest.raises(InputFileError, match=message):
        signal_store(tmp_path, **changes)
    assert not (tmp_path / "out").exists()
    # Where the files state nothing, the sum is that of the expression.
    write_tree(tmp_path / "s.root", content([50, 50, -50, 50]))
    _, weight = signal_store(tmp_path, **changes)
    assert weight.tolist() == [3000.0, 3000.0, -3000.0, 3000.0]


def test_without_a_generator_weight_the_generated_events_count(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 2, 3, 4]), runs=runs([60], [1e9]))
    _, weight = signal_store(tmp_path, weights={"pileup": "puWeight"})
    assert weight.tolist() == [100.0, 50.0, 200.0]  # 6000 / 60 × pileup


def test_without_any_statement_or_weight_the_entries_count(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 2, 3, 4]))
    _, weight = signal_store(tmp_path, weights=None)
    assert weight.tolist() == [1500.0] * 3


def test_only_some_files_with_a_sum_is_an_error(tmp_path):
    write_tree(tmp_path / "s1.root", content([1, 1, 1, 1]), runs=runs([40], [50]))
    write_tree(tmp_path / "s2.root", content([1, 1, 1, 1], first=5))
    write_tree(tmp_path / "s3.root", content([1, 1, 1, 1], first=9), runs=runs([40], [50]))
    message = r"^processes.sig \(era all\): 2 of 3 files state .*s2.root does not; all files"
    with pytest.raises(InputFileError, match=message):
        signal_store(tmp_path)
    assert not (tmp_path / "out").exists()


def test_runs_tree_with_a_sum_but_no_count_is_an_error(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 1, 1, 1]), runs={"genEventSumw": np.array([50.0])})
    message = r"s.root: its Runs tree has genEventSumw but no genEventCount; expected both$"
    with pytest.raises(InputFileError, match=message):
        signal_store(tmp_path)


def test_runs_tree_of_something_else_states_nothing(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 2, 3, 4]), runs={"run": np.array([1])})
    _, weight = signal_store(tmp_path)
    assert weight.tolist() == [600.0, 1800.0, 2400.0]


def parquet(path, metadata):
    flat = {name: values for name, values in content([1, 2, 3, 4]).items() if name != "Jet"}
    sample = Sample(flat, {"Jet": {"pt": ak.values_astype(JETS, np.float32)}})
    write_parquet(path, sample, metadata=metadata)


def test_parquet_metadata_states_the_sum(tmp_path):
    parquet(tmp_path / "s.parquet", {"genEventSumw": "120.0", "genEventCount": "60"})
    _, weight = signal_store(tmp_path, files="s.parquet")
    assert weight.tolist() == [50.0, 150.0, 200.0]
    (tmp_path / "again").mkdir()
    settings = analysis(tmp_path, files="s.parquet", weights=None)
    events = Store(prepare(settings, tmp_path / "again")).events()
    assert events.weight[events.process == 0].tolist() == [100.0] * 3


@pytest.mark.parametrize(
    "metadata",
    [{"genEventSumw": "120"}, {"genEventSumw": "many", "genEventCount": "60"}],
    ids=["no count", "no number"],
)
def test_unreadable_parquet_metadata_is_an_error(tmp_path, metadata):
    parquet(tmp_path / "s.parquet", metadata)
    with pytest.raises(InputFileError, match=r"s.parquet: its metadata gives genEventSumw but no"):
        signal_store(tmp_path, files="s.parquet")


@pytest.mark.parametrize("weights", [[1, -1, 1, -1], [1, 1, -3, -3]], ids=["zero", "negative"])
def test_a_sum_that_cannot_be_divided_by_is_an_error(tmp_path, weights):
    write_tree(tmp_path / "s.root", content(weights))
    message = r"^processes.sig \(era all\): the sum of generator weights is (0|-4); expected a pos"
    with pytest.raises(SampleError, match=message):
        signal_store(tmp_path)


def test_ready_weights_are_taken_as_they_are(tmp_path):
    write_tree(tmp_path / "s.root", content([0.25, 9, -0.125, 2]), runs=runs([60], [1e9]))
    _, weight = signal_store(
        tmp_path,
        luminosity=None,
        weights=None,
        processes={
            "sig": {"class": "signal", "files": ["s.root"]},
            "bkg": {"class": "background", "files": ["b.root"]},
        },
        event={"select": "MET_pt > 50", "features": ["MET_pt"], "weight": "genWeight * 2"},
    )
    assert weight.tolist() == [0.5, -0.25, 4.0]


def test_data_weighs_one_and_needs_no_weight_branches(tmp_path):
    write_tree(tmp_path / "s.root", content([1, 2, 3, 4]))
    recorded = {name: values for name, values in content([1] * 4, 50).items()
                if name not in ("genWeight", "puWeight")}  # fmt: skip
    write_tree(tmp_path / "d.root", recorded)
    store = Store(prepare(analysis(
        tmp_path,
        weights={"generator": "genWeight", "pileup": "puWeight"},
        processes={
            "sig": {"class": "signal", "cross_section": 3.0, "files": ["s.root"]},
            "bkg": {"class": "background", "cross_section": 1.0, "files": ["b.root"]},
            "met": {"class": "data", "files": ["d.root"]},
        },
    ), tmp_path / "out"))  # fmt: skip
    events = store.events()
    assert events.weight[events.process == 2].tolist() == [1.0] * 3
    assert store.manifest.normalisation["met"] == {"all": 1.0}
