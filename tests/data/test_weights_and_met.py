"""What must not be counted twice, or left out of a denominator without a word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers.files import make_analysis, make_sample, write_pair, write_root
from particle_transformer.data import Store, check_inputs, prepare
from particle_transformer.data.chunk import ChunkReader
from particle_transformer.errors import AnalysisFileError, SampleError

if TYPE_CHECKING:
    from pathlib import Path

JETS = {"collection": "Jet", "select": "pt > 30", "features": ["pt"]}
UP = "pt * 1.1"


def met_up(base: Path, name: str, objects: dict[str, Any], fields: dict[str, str]) -> np.ndarray:
    variation = {"JES": {"up": fields, "propagate_to_met": True}}
    event = {
        "define": {"met.pt": "MET_pt", "met.phi": "MET_phi"},
        "features": ["met.pt", "met.phi"],
    }
    analysis = make_analysis(base, objects=objects, event=event, variations=variation)
    return Store(prepare(analysis, base / name)).events("JES.up").event


def test_two_views_of_the_same_jets_move_the_met_once(tmp_path):
    write_pair(tmp_path)
    tagged = {**JETS, "select": "btag > 0.5"}
    one = met_up(tmp_path, "one", {"jets": JETS}, {"jets.pt": UP})
    both = met_up(
        tmp_path, "both", {"jets": JETS, "bjets": tagged}, {"jets.pt": UP, "bjets.pt": UP}
    )
    np.testing.assert_array_equal(one, both)


def test_two_views_that_vary_differently_are_refused(tmp_path):
    write_pair(tmp_path)
    fields = {"jets.pt": UP, "bjets.pt": "pt * 1.2"}
    with pytest.raises(AnalysisFileError, match=r"bjets.pt: jets and bjets are the same objects"):
        met_up(tmp_path, "out", {"jets": JETS, "bjets": JETS}, fields)


def test_an_event_spoilt_by_another_weight_stays_in_the_denominator(tmp_path):
    signal, _ = write_pair(tmp_path)
    pileup = np.ones(len(signal), dtype=np.float32)
    pileup[::3] = np.nan
    write_root(tmp_path / "s.root", signal.replaced(PU=pileup))
    write_root(tmp_path / "b.root", make_sample(2, 60).replaced(PU=np.ones(60, dtype=np.float32)))
    analysis = make_analysis(
        tmp_path,
        source={"event_number": "event", "non_finite": "drop"},
        weights={"generator": "genWeight", "pileup": "PU"},
    )
    record, *_ = Store(prepare(analysis, tmp_path / "out")).manifest.inputs
    everything = signal.flat["genWeight"].sum(dtype=np.float64)
    assert record.sum_of_weights == pytest.approx(everything, rel=1e-12)
    assert not record.stated


def test_a_generator_weight_by_another_name_is_refused(tmp_path):
    write_pair(tmp_path)
    analysis = make_analysis(tmp_path, weights={"gen": "genWeight"})
    for attempt in (lambda: check_inputs(analysis), lambda: prepare(analysis, tmp_path / "out")):
        with pytest.raises(
            AnalysisFileError, match=r"weights.gen is genWeight, .* name it generator"
        ):
            attempt()


def test_weights_too_large_to_add_up(tmp_path):
    write_pair(tmp_path)
    analysis = make_analysis(tmp_path, weights={"generator": "genWeight", "huge": "1e170"})
    with pytest.raises(
        SampleError, match=r"process sig \(era all\): the weights of 'read' are too"
    ):
        prepare(analysis, tmp_path / "out")


def test_a_luminosity_mask_and_weights_shape_what_they_concern_alone(tmp_path, monkeypatch):
    write_pair(tmp_path)
    write_root(tmp_path / "d.root", make_sample(3, 40, first_event=90_000))
    mask = tmp_path / "golden.json"
    mask.write_text(json.dumps({"1": [[0, 10**6]]}))
    changes: dict[str, Any] = {
        "source": {"identity": ["run", "luminosityBlock", "event"]},
        "luminosity": None,
        "eras": {"all": {"luminosity": 1.0, "lumi_mask": "golden.json"}},
        "processes": {
            "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
            "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
            "met": {"class": "data", "files": ["d.root"]},
        },
    }
    prepare(make_analysis(tmp_path, **changes), tmp_path / "out")
    seen: list[str] = []
    read = ChunkReader.read

    def counted(self: ChunkReader, start: int, stop: int) -> Any:
        seen.append(self._file.process)
        return read(self, start, stop)

    monkeypatch.setattr(ChunkReader, "read", counted)
    scan = ["sig", "bkg", "met"]  # the first entries of each
    mask.write_text(json.dumps({"1": [[0, 10**5]]}))
    prepare(make_analysis(tmp_path, **changes), tmp_path / "out")
    assert seen == [*scan, "met"]
    seen.clear()
    changes["weights"] = {"generator": "genWeight", "flat": "2"}
    prepare(make_analysis(tmp_path, **changes), tmp_path / "out")
    assert seen == [*scan, "sig", "bkg"]
