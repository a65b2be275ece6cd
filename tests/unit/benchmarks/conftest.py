"""Benchmarks collect garbage before each sample, which takes as long as there are objects of other tests in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def objects_of_other_tests_set_aside() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
