"""Means, probabilities and folds in torch against those of numpy."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from particle_transformer.events import fold_of as fold_by_numpy
from particle_transformer.export.outputs import fold_of, mean_logits, of_fold, probabilities
from particle_transformer.inference import score

LOGITS = st.floats(-30, 30)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)), elements=LOGITS),
    st.booleans(),
)  # fmt: skip
def test_means_and_probabilities_are_those_of_inference(
    members: np.ndarray, two_scores: bool
) -> None:
    two_scores = two_scores and members.shape[2] == 2
    expected = score.mean_logits(list(members), two_scores=two_scores)
    found = mean_logits(list(torch.from_numpy(members)), two_scores=two_scores)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    probability = probabilities(found, two_scores=two_scores).numpy()
    np.testing.assert_allclose(
        probability[:, 0], score.signal_probability(expected, two_scores=two_scores), rtol=1e-9
    )
    np.testing.assert_allclose(probability.sum(1), 1.0, rtol=1e-9)


@given(
    st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 3), min_size=1, max_size=5),
    st.integers(2, 7),
)
@example([(0, -1, 2**60 + 1), (-(2**63), 2**63 - 1, -5)], 5)
def test_folds_are_those_of_numpy(identity: list[tuple[int, int, int]], folds: int) -> None:
    numbers = np.array(identity, dtype=np.int64)
    found = fold_of(list(torch.from_numpy(numbers.T.copy())), folds)
    np.testing.assert_array_equal(found.numpy(), fold_by_numpy(numbers, folds))


def test_every_event_gets_the_row_of_its_own_fold() -> None:
    values = [torch.tensor([[10.0 * fold], [10.0 * fold + 1]]) for fold in range(3)]
    assert of_fold(values, torch.tensor([2, 0])).tolist() == [[20.0], [1.0]]
