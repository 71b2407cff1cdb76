"""A cluster of two processes for the tests that do it no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from particle_transformer.distributed import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    pytest.importorskip("distributed")
    with connect("local[2]") as client:
        yield client
