"""The role of an event is its own: it depends on nothing but its identity."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, kstest

from helpers.files import analysis_content, make_analysis, make_sample, write_parquet
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.data.tasks import in_order
from particle_transformer.events import fold_of, split_roles

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROLES = ("training", "validation", "test")
EVENTS = 60

# Events of one process: file by file, the events in each in some order, and how they are read.
LAYOUTS = st.tuples(
    st.permutations(range(EVENTS)),
    st.lists(st.integers(1, EVENTS - 1), max_size=3, unique=True).map(sorted),
    st.sampled_from([11, 30, 1000]),
    st.sampled_from(["in order", "backwards"]),
)

Layout = tuple[list[int], list[int], int, str]


def backwards(function: Any, tasks: Any) -> Any:
    """A cluster whose last task is done first."""
    for index in reversed(range(len(tasks))):
        yield index, function(tasks[index])


RUNNERS = {"in order": in_order, "backwards": backwards}


def roles_by_event(
    folder: Path, layout: Layout, source: dict[str, Any]
) -> dict[tuple[int, float], tuple[str, ...]]:
    """Prepare the sample in a layout; the role of each event for each of three networks.

    An event is known by its process and a feature that no other event has.
    """
    order, cuts, chunk, runner = layout
    sample = make_sample(7, EVENTS, first_event=1)
    for number, part in enumerate(np.split(np.array(order), cuts)):
        write_parquet(folder / f"b{number}.parquet", sample.taken(part))
    write_parquet(folder / "s.parquet", make_sample(8, EVENTS, first_event=1))
    processes = analysis_content()["processes"]
    processes["sig"]["files"] = ["s.parquet"]
    processes["bkg"]["files"] = ["b*.parquet"]
    analysis = make_analysis(
        folder, processes=processes, source=source, event={"features": ["MET_pt"]}
    )
    usual, prepare.__globals__["CHUNK_ENTRIES"] = prepare.__globals__["CHUNK_ENTRIES"], chunk
    try:
        store = Store(prepare(analysis, folder / "out", runner=RUNNERS[runner]))
    finally:
        prepare.__globals__["CHUNK_ENTRIES"] = usual
    events = StoreRows(store).take(np.arange(len(StoreRows(store))))
    found: defaultdict[tuple[int, float], list[str]] = defaultdict(list)
    names = list(zip(events.process.tolist(), events.event[:, 0].tolist(), strict=True))
    for fold in range(3):
        for role, rows in zip(ROLES, split_roles(events.identity, fold, 3), strict=True):
            for row in rows:
                found[names[row]].append(role)
    assert len(found) == 2 * EVENTS
    return {name: tuple(roles) for name, roles in found.items()}


PLAIN: Layout = (list(range(EVENTS)), [], 1000, "in order")
SOURCES = [{"event_number": "event"}, {"identity": ["run", "luminosityBlock", "event"]}, {}]


@pytest.fixture(scope="module", params=SOURCES, ids=["number", "three numbers", "content"])
def plain(request, tmp_path_factory) -> tuple[dict[str, Any], Any]:
    folder = tmp_path_factory.mktemp("plain")
    return request.param, roles_by_event(folder, PLAIN, request.param)


@settings(max_examples=5)
@given(layout=LAYOUTS)
def test_neither_files_nor_chunks_nor_workers_decide(plain, layout):
    source, expected = plain
    with TemporaryDirectory() as folder:
        assert roles_by_event(Path(folder), layout, source) == expected
    # One role per network, and tested by exactly one of them.
    assert all(len(roles) == 3 and roles.count("test") == 1 for roles in expected.values())


IDENTITIES = st.integers(1, 3).flatmap(
    lambda parts: arrays(
        np.int64,
        st.tuples(st.integers(0, 40), st.just(parts)),
        elements=st.integers(-(2**63), 2**63 - 1),
    )
)


@given(identity=IDENTITIES, folds=st.integers(2, 12), data=st.data())
def test_no_event_has_two_roles_not_even_its_copies(identity, folds, data):
    copies = np.concatenate([identity, identity[::-1]])
    fold = data.draw(st.integers(0, folds - 1))
    split = split_roles(copies, fold, folds)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(copies)))
    held = [{tuple(copies[row]) for row in rows} for rows in split]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]
    assert all((fold_of(copies[rows], folds) == fold).all() for rows in split[2:])
    assert all((fold_of(copies[rows], folds) != fold).all() for rows in split[:2])


def identity_sets(rng: np.random.Generator, folds: int) -> dict[str, NDArray[np.int64]]:
    """Sets of event numbers as samples have them; 4000 events each."""
    size = 4000
    start = int(rng.integers(0, 2**40))
    run = np.full(size, rng.integers(1, 400_000))
    counting = start + np.arange(size)
    return {
        "random": rng.integers(-(2**63), 2**63 - 1, size)[:, None],
        "consecutive": counting[:, None],
        "multiples of k": (folds * counting)[:, None],
        "every fifth": (5 * counting + 3)[:, None],
        "powers of two apart": (start + 2**16 * np.arange(size))[:, None],
        "of one run": np.stack([run, counting // 300, counting], axis=1),
        "of one section": np.stack([run, run, folds * counting], axis=1),
    }


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_sizes_of_folds_and_validation_sets_are_binomial(folds):
    # χ² of the fold sizes, and of training against validation, over many sets: were the events
    # dealt out independently, its probabilities would be uniform in (0, 1).
    rng = np.random.default_rng(folds)
    folds_p, validation_p = defaultdict(list), defaultdict(list)
    for _ in range(60):
        for name, identity in identity_sets(rng, folds).items():
            size = len(identity)
            counts = np.bincount(fold_of(identity, folds), minlength=folds)
            chi = ((counts - size / folds) ** 2 / (size / folds)).sum()
            folds_p[name].append(chi2.sf(chi, folds - 1))
            fold = int(rng.integers(folds))
            training, validation, _ = split_roles(identity, fold, folds)
            seen = len(training) + len(validation)
            pull = (len(validation) - 0.2 * seen) ** 2 / (seen * 0.2 * 0.8)
            validation_p[name].append(chi2.sf(pull, 1))
    for found in (folds_p, validation_p):
        for name, values in found.items():
            assert kstest(values, "uniform").pvalue > 1e-4, name
            assert min(values) > 1e-6, name
