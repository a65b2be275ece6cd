"""Statistics of a version, and the check of all but its pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from dataset_values import people

import lance_like
from lance_like.errors import Corrupt
from lance_like.table.parts import Tree


def test_rows_fragments_and_small_ones_are_counted(uri):
    ds = lance_like.write_dataset(people(10), uri, max_rows_per_file=4)
    ds.delete("i in (1, 2, 9)")
    assert ds.stats.dataset_stats() == {"num_deleted_rows": 3, "num_fragments": 3, "num_small_files": 3}
    assert ds.stats.dataset_stats(max_rows_per_group=4)["num_small_files"] == 1


def test_the_stored_bytes_of_every_field_are_told(tmp_path):
    random = np.random.default_rng(0)
    table = pa.table({"n": random.integers(0, 1 << 62, 5000), "s": [{"x": i, "y": "c"} for i in range(5000)]})
    ds = lance_like.write_dataset(table, tmp_path, max_rows_per_file=2000)
    ds.add_columns(pa.field("empty", pa.int8()))
    found = {ds._manifest.schema.path(f.id): f.bytes_on_disk for f in ds.stats.data_stats().fields}
    assert list(found) == [("n",), ("s",), ("s", "x"), ("s", "y"), ("empty",)]
    assert 38_000 < found["n",] < 41_000
    assert found["empty",] == found["s", "y"] == 0
    files = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert sum(found.values()) < files


def test_a_sound_version_is_valid(uri):
    ds = lance_like.write_dataset(people(10), uri, max_rows_per_file=4)
    ds.delete("i = 2")
    ds.add_columns({"n": "i + 1"})
    ds.validate()


@pytest.mark.parametrize("damage", ["missing", "longer", "shorter", "other", "tail"])
def test_a_damaged_file_is_not(damage, tmp_path):
    ds = lance_like.write_dataset(people(10), tmp_path, max_rows_per_file=4)
    first, second = sorted((tmp_path / "data").iterdir())[:2]
    data = first.read_bytes()
    changed = {
        "longer": data + b"\0",
        "shorter": data[:-1],
        "other": second.read_bytes(),
        "tail": data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
    }
    if damage == "missing":
        first.unlink()
    else:
        first.write_bytes(changed[damage])
    for handle in (ds, lance_like.dataset(tmp_path)):
        with pytest.raises(Corrupt):
            handle.validate()


def test_rows_with_one_id_are_not_valid(uri):
    ds = lance_like.write_dataset(people(10), uri, max_rows_per_file=4)
    first, second, _ = ds._manifest.fragments
    ds._manifest = replace(ds._manifest, tree=Tree((), (first, second, replace(second, id=7))))
    with pytest.raises(Corrupt, match="used twice"):
        ds.validate()
