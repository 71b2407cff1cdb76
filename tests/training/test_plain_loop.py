"""The model is a plain module: a hand-written loop trains it."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from particle_transformer import AnalysisObjectTransformer


def test_a_hand_written_loop_learns_from_padded_tensors() -> None:
    # Signal: the objects' first feature is higher; padded slots hold NaN.
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.integers(0, 2, 1600)).float()
    mask = torch.from_numpy(rng.random((1600, 4)) < 0.3)
    objects = torch.from_numpy(rng.normal(size=(1600, 4, 6))).float()
    objects[..., 0] += target[:, None]
    objects[mask] = torch.nan
    event = torch.randn(1600, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = AnalysisObjectTransformer(6, 2, 16, 16, 16, 16, 8, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    test = slice(1000, 1600)
    for step in range(120):
        batch = slice(50 * step % 1000, 50 * step % 1000 + 50)
        optimizer.zero_grad()
        logits = model(objects[batch], event[batch], mask[batch])
        loss = F.binary_cross_entropy_with_logits(logits[:, 0], target[batch])
        torch.autograd.backward(loss)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(objects[test], event[test], mask[test])[:, 0]
    # The best possible score is the sum of the first features: shift √n over noise 1, n ~ 2.8.
    best = torch.where(mask[test], 0.0, objects[test][..., 0].nan_to_num()) - 0.5 * ~mask[test]
    reachable = roc_auc_score(target[test], best.sum(1))
    assert reachable > 0.8
    assert roc_auc_score(target[test], scores) > reachable - 0.03
