from __future__ import annotations

import itertools
from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.errors import SampleError
from particle_transformer.simulation.processes import PROCESSES, chunk_seeds, find_processes
from particle_transformer.simulation.pythia import unseen_pt


def test_an_unknown_process_names_the_nearest():
    with pytest.raises(SampleError, match="unknown process 'TTBar'; nearest: TTbar"):
        find_processes(["TTBar"])
    with pytest.raises(SampleError, match="no process to simulate"):
        find_processes([])


def test_processes_keep_their_order_whatever_was_asked():
    assert [process.name for process in find_processes(["WToLNu", "TTbar"])] == ["TTbar", "WToLNu"]
    assert find_processes(None) == list(PROCESSES.values())


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
