"""What the suites that record operations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from operations import small_limits
from recordings import Recorder


@pytest.fixture(scope="session")
def recorder(tmp_path_factory) -> Iterator[Recorder]:
    """Each operation is recorded once a run. Ask for `small_tables` too."""
    yield Recorder(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def small_tables(monkeypatch) -> None:
    """A table of a few fragments and versions has parts and buckets as one of thousands."""
    small_limits(monkeypatch)
