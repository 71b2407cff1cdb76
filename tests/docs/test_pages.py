"""The Python of the pages runs as it stands; what cannot is marked as skipped, with the reason."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    page
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    if "```python" in page.read_text("utf-8")
]
MOST_SKIPPED = 14
"""Blocks that need a cluster, a hub or minutes; a page is an example, not a promise."""

sybil = Sybil([SkipParser(), PythonCodeBlockParser()], path=str(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """All blocks of a page in their order, in one namespace, as a reader would run them."""
    monkeypatch.chdir(tmp_path)
    for example in sybil.parse(page):
        with suppress(SkipTest):
            example.evaluate()


def test_few_blocks_are_skipped_each_with_its_reason() -> None:
    marks = [
        mark
        for page in PAGES
        for mark in re.findall(r"<!-- skip:(.*?)-->", page.read_text("utf-8"))
    ]
    assert all(re.fullmatch(r' next "[^"]+" ', mark) for mark in marks), marks
    assert len(marks) <= MOST_SKIPPED
