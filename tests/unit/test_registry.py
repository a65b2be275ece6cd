"""Names to implementations: built in, or from another installed package."""

from __future__ import annotations

import importlib
import sys

import pyarrow as pa
import pytest

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.registry import ENCODINGS
from lance_like.errors import Unsupported
from lance_like.registry import Registry

PLUGIN = """
import numpy as np
import pyarrow as pa
from lance_like.encodings.base import Encoded
from lance_like.encodings.physical import flat_array


class Backwards:
    name = "backwards"

    def encode(self, array, hints):
        if array.type != pa.uint8() or array.null_count:
            return None
        return Encoded(self.name, len(array), buffers=(np.asarray(array)[::-1].copy(),))

    def read(self, node, kind, starts, ends):
        last = node.buffers[0][0] + node.num_rows
        (data,) = yield [(last - ends, last - starts)]
        return flat_array(kind, data[::-1].copy(), len(data))
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package that is installed beside this one and brings an encoding."""
    (tmp_path / "backwards_encoding.py").write_text(PLUGIN)
    metadata = tmp_path / "backwards_encoding-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: backwards-encoding\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[lance_like.encodings]\nbackwards = backwards_encoding:Backwards\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("backwards_encoding", None)


def test_an_installed_package_brings_an_encoding_that_is_loaded_when_its_name_is_met(plugin):
    registry = Registry("lance_like.encodings", {})
    assert "backwards_encoding" not in sys.modules
    assert "backwards" in registry.names()
    tree = registry.get("backwards").encode(pa.array([1, 2, 3], pa.uint8()), Hints())
    assert isinstance(tree, Encoded)
    assert tree.buffers[0].tolist() == [3, 2, 1]


def test_a_built_in_name_wins_over_a_package_of_the_same_name(plugin):
    registry = Registry("lance_like.encodings", {"backwards": "lance_like.encodings.plain:Plain"})
    assert registry.get("backwards").name == "plain"


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(Unsupported, match=r"no entry called 'future'.*plain"):
        ENCODINGS.get("future")


def test_every_built_in_encoding_has_its_name():
    for name in ("bitpack", "constant", "dictionary", "fixed_size_list", "list", "narrow", "plain", "struct", "zstd"):
        assert ENCODINGS.get(name).name == name
