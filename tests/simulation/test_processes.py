from __future__ import annotations

import itertools
from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.simulation.catalogue import PROCESSES, QCD_EDGES
from particle_transformer.simulation.generate import ChunkTask
from particle_transformer.simulation.processes import chunk_seeds
from particle_transformer.simulation.pythia import unseen_pt
from particle_transformer.simulation.samples import SAMPLES, find_sample


def test_an_unknown_process_names_the_nearest():
    with pytest.raises(
        SampleError, match="unknown process 'TTBar' of the sample ttH; nearest: TTbar"
    ):
        SAMPLES["ttH"].find(["TTBar"])
    with pytest.raises(SampleError, match="unknown process 'SingleTop' of the sample ttH; known"):
        SAMPLES["ttH"].find(["SingleTop"])
    with pytest.raises(SampleError, match="no process to simulate"):
        SAMPLES["ttH"].find([])


def test_an_unknown_sample_names_the_nearest():
    with pytest.raises(SampleError, match="unknown sample 'jetsmet'; nearest: jets-met"):
        find_sample("jetsmet")


def test_processes_keep_their_order_whatever_was_asked():
    sample = SAMPLES["ttH"]
    found = [process.name for process in sample.find(["WToLNu", "TTbar"])]
    assert found == ["TTbar", "WToLNu"]
    assert [process.name for process in sample.find(None)] == list(sample.processes)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_sample_has_what_its_analyses_name(sample):
    assert set(sample.processes) == {name for made in sample.analyses for name in made.processes}
    assert sample.analyses[0].file == "analysis.yaml"


def test_the_headline_is_one_signal_without_multijets():
    roles = [PROCESSES[name].role for name in SAMPLES["jets-met"].analyses[0].processes]
    assert sorted(set(roles)) == ["dibosons", "signal", "top", "w", "z"]
    assert roles.count("signal") == 1


def test_slices_meet_without_gap_or_overlap():
    slices = [process for process in PROCESSES.values() if process.role == "qcd"]
    lows, highs = (
        [
            float(line.rsplit("=", 1)[1])
            for process in slices
            for line in process.settings
            if line.startswith(f"PhaseSpace:pTHat{end} ")
        ]
        for end in ("Min", "Max")
    )
    assert lows == list(QCD_EDGES)
    assert highs == lows[1:]  # the last one is open


def test_a_share_of_the_events_is_never_nothing():
    sample = SAMPLES["jets-met"]
    assert [sample.wanted("QCD_PT170to300", events) for events in (3000, 1)] == [300, 1]
    assert [sample.wanted(name, 17) for name in ("TTbar", "ZToNuNu")] == [17, 34]
    assert SAMPLES["ttH"].wanted("ZToNuNu", 17) == 17


def test_samples_share_no_event():
    own, other = (ChunkTask("TTbar", 0, 10, 1, sample=name) for name in SAMPLES)
    assert own.label == "TTbar"
    assert chunk_seeds(1, own.label, 0)[0] != chunk_seeds(1, other.label, 0)[0]


def test_every_chunk_has_its_own_seeds():
    seeds = {key: chunk_seeds(*key) for key in itertools.product((0, 1, 2), PROCESSES, range(50))}
    pythia = [pythia for pythia, _ in seeds.values()]
    assert len(set(pythia)) == len(pythia)
    assert all(1 <= seed <= 900_000_000 for seed in pythia)
    first = {np.random.default_rng(detector).random() for _, detector in seeds.values()}
    assert len(first) == len(pythia)
    again = chunk_seeds(1, "TTbar", 7)
    assert again[0] == seeds[1, "TTbar", 7][0]


_vectors = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@given(st.lists(_vectors, max_size=3), st.lists(_vectors, max_size=2), st.floats(0, 1))
def test_no_unseen_part_of_a_tau_exceeds_unseen_pt(neutrinos, taus, part):
    most = unseen_pt(neutrinos, taus)
    px, py = (
        sum(v[axis] for v in neutrinos) + part * sum(v[axis] for v in taus) for axis in (0, 1)
    )
    assert hypot(px, py) <= most + 1e-9
    assert unseen_pt(neutrinos, []) <= most
