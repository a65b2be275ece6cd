"""A kind of index that another package brings is found by its entry point and passes the shipped suite."""

import importlib
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from lance_like.errors import Unsupported
from lance_like.index.registry import INDEXES
from lance_like.registry import Registry
from lance_like.testing.indexes import IndexTests

SAMPLE = Path(__file__).parents[2] / "plugin_sample"


@pytest.fixture(scope="class", autouse=True)
def installed():
    """The sample on the path, as pip would put it there: its module and what says of its entry points."""
    sys.path.insert(0, str(SAMPLE))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(SAMPLE))
        sys.modules.pop("sample_index", None)
        importlib.invalidate_caches()


class _Lazy:
    """The plug-in, once something asks for it."""

    def __get__(self, instance, owner):
        return Registry("lance_like.indexes", {}).get("TEXT_LENGTH")


class TestSample(IndexTests):
    plugin = _Lazy()
    types = (pa.string(),)
    refused = (pa.int64(),)

    def test_it_is_found_by_its_name(self):
        assert type(INDEXES.get("TEXT_LENGTH")).__module__ == "sample_index"
        assert "TEXT_LENGTH" in INDEXES.names()


class TestNames:
    def test_a_name_that_no_package_brings_is_unsupported(self):
        with pytest.raises(Unsupported, match="BTREE"):
            INDEXES.get("NO_SUCH_INDEX")

    def test_all_that_are_built_in_are_called_as_they_are_registered(self):
        for name in INDEXES.names():
            assert INDEXES.get(name).name == name
