"""Overlap removal against brute force and against the vector library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pytest
import vector
from hypothesis import given
from hypothesis import strategies as st

from helpers.files import analysis_content, make_sample, write_root
from particle_transformer.config import parse_analysis
from particle_transformer.data import Store, prepare
from particle_transformer.data.overlap import overlapping
from particle_transformer.errors import InputFileError

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.floats(0.1, 3))
def test_overlaps_equal_brute_force(seed: int, events: int, dr: float) -> None:
    random = np.random.default_rng(seed)
    counts, others = random.integers(0, 4, events), random.integers(0, 3, events)
    eta, phi = random.normal(0, 2, (2, counts.sum()))
    other_eta, other_phi = random.normal(0, 2, (2, others.sum()))
    owner = np.repeat(np.arange(events), counts)
    offsets = np.concatenate([[0], np.cumsum(others)])
    expected = [
        any(
            np.hypot(eta[i] - other_eta[j], (phi[i] - other_phi[j] + np.pi) % (2 * np.pi) - np.pi)
            < dr
            for j in range(offsets[owner[i]], offsets[owner[i] + 1])
        )
        for i in range(len(eta))
    ]
    found = overlapping(eta, phi, owner, other_eta, other_phi, offsets, dr)
    assert found.tolist() == expected


def test_jets_near_a_selected_muon_are_removed(tmp_path: Path) -> None:
    content = analysis_content()
    content["objects"]["muons"] = {
        "collection": "Muon",
        "select": "pt > 25",
        "features": ["log(pt)"],
    }
    content["objects"]["jets"]["clean"] = {"against": ["muons"], "dr": 1.0}
    content["event"] = {"features": ["count(jets)", "sum(jets.pt)"]}
    samples = {name: make_sample(seed, 400) for seed, name in enumerate(("s", "b"))}
    for name, sample in samples.items():
        write_root(tmp_path / f"{name}.root", sample)
    prepare(parse_analysis(content, base=tmp_path), tmp_path / "store")
    jets = Store(tmp_path / "store").events().objects["jets"]

    vector.register_awkward()
    expected, removed = [], 0
    for sample in samples.values():
        events = sample.awkward()

        def four_vectors(name: str, events: ak.Array = events) -> ak.Array:
            fields = {field: events[f"{name}_{field}"] for field in ("pt", "eta", "phi", "mass")}
            return ak.zip(fields, with_name="Momentum4D")

        jet, muon = four_vectors("Jet"), four_vectors("Muon")
        jet = jet[(jet.pt > 30) & (abs(jet.eta) < 2.5)]
        muon = muon[muon.pt > 25]
        pairs = ak.cartesian({"jet": jet, "muon": muon}, nested=True)
        clean = ~ak.any(pairs.jet.deltaR(pairs.muon) < 1.0, axis=2)
        removed += int(ak.sum(~clean))
        jet = jet[clean]
        expected.append(jet[ak.argsort(jet.pt, ascending=False, stable=True)])
    joined = ak.concatenate(expected)
    assert removed > 20
    np.testing.assert_array_equal(jets.counts, ak.num(joined))
    np.testing.assert_allclose(jets.values[:, 1], ak.flatten(joined.eta), rtol=1e-6)
    counted = Store(tmp_path / "store").events().event
    np.testing.assert_array_equal(counted[:, 0], ak.num(joined))
    np.testing.assert_allclose(counted[:, 1], ak.sum(joined.pt, axis=1), rtol=1e-5)


def test_a_collection_without_phi_is_named(tmp_path: Path) -> None:
    content = analysis_content()
    content["objects"]["hits"] = {"collection": "Hit", "features": ["pt"]}
    content["objects"]["jets"]["clean"] = {"against": ["hits"], "dr": 0.4}
    for seed, name in enumerate(("s", "b")):
        sample = make_sample(seed, 50)
        sample.jagged["Hit"] = {field: sample.jagged["Muon"][field] for field in ("pt", "eta")}
        write_root(tmp_path / f"{name}.root", sample)
    with pytest.raises(InputFileError, match="field 'phi' of hits"):
        prepare(parse_analysis(content, base=tmp_path), tmp_path / "store")
