from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.simulation.catalogue import PROCESSES
from particle_transformer.simulation.plan import Plan
from particle_transformer.simulation.samples import SAMPLES
from particle_transformer.simulation.summary import ChunkSummary, ProcessSummary


def summary(process, chunk, kept, tried=100, section=1.0, error=0.1):
    return ChunkSummary(
        process, chunk, Path(f"{chunk}.npz"), kept, 10, 10.0, tried, 20, section, error
    )


@given(
    kept=st.lists(st.integers(0, 10), min_size=40, max_size=40),
    events=st.integers(1, 60),
    workers=st.integers(1, 5),
    there=st.sets(st.integers(0, 49)),
    choices=st.randoms(use_true_random=False),
)
def test_the_sample_does_not_depend_on_workers_order_or_earlier_chunks(
    kept, events, workers, there, choices
):
    kept = [*kept, *([10] * 10)]
    plan = Plan(SAMPLES["ttH"], [PROCESSES["TTbar"]], events, 10, 1)
    for chunk in there:  # of a run that was killed: any chunks, with gaps
        plan.add(summary("TTbar", chunk, kept[chunk]))
    running: list[int] = []
    while True:
        while len(running) < workers and (task := plan.next_task()) is not None:
            assert task.chunk not in there | {*running}  # nothing is made twice
            running.append(task.chunk)
        if not running:
            break
        chunk = running.pop(choices.randrange(len(running)))
        plan.add(summary("TTbar", chunk, kept[chunk]))
        there.add(chunk)
    shortest = next(n for n in range(1, 51) if sum(kept[:n]) >= events)
    used = plan.summaries()["TTbar"]
    assert [part.chunk for part in used.chunks] == list(range(shortest))
    assert plan.kept("TTbar") == used.kept == sum(kept[:shortest])
    assert used.generated == 10 * shortest


def test_work_goes_on_to_the_next_process_while_the_last_chunk_runs():
    plan = Plan(SAMPLES["ttH"], [PROCESSES["TTbar"], PROCESSES["WToLNu"]], 3, 10, 1)
    first, second = plan.next_task(), plan.next_task()
    assert first is not None
    assert second is not None
    assert (first.process, second.process) == ("TTbar", "WToLNu")


def test_a_task_is_what_its_process_and_sample_say():
    plan = Plan(SAMPLES["jets-met"], [PROCESSES["QCD_PT170to300"]], 100, 10, 1)
    task = plan.next_task()
    assert task is not None
    assert plan.wanted("QCD_PT170to300") == 10
    assert task.generator_filter is None
    assert (task.sample, task.detector.tail_fraction) == ("jets-met", 0.01)


def test_cross_sections_combine_by_points_tried():
    combined = ProcessSummary(
        [summary("TTbar", 0, 1, 100, 2.0, 0.3), summary("TTbar", 1, 1, 300, 4.0, 0.2)]
    )
    assert combined.cross_section == pytest.approx((100 * 2 + 300 * 4) / 400)
    assert combined.cross_section_error == pytest.approx((30**2 + 60**2) ** 0.5 / 400)
