"""Fixtures of the model's tests."""

from __future__ import annotations

import pytest

from particle_transformer.model import kernels


@pytest.fixture(params=[True, False], ids=["kernels", "grid"])
def usable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the compiled kernels are used, or PyTorch's own operations on a grid."""
    if not request.param:
        monkeypatch.setattr(kernels, "usable", lambda x: False)
    return bool(request.param)
