"""Write the table of this release that all later ones must read: `python tests/compat/make_table.py NAME`.

A table that is here is never written again; a new feature of the format gets a new name.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

import lance_like
from lance_like import LanceDataset

HERE = Path(__file__).parent


def rows(first: int, count: int) -> pa.Table:
    """Every kind of column, some cells null."""
    n = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(n, pa.int64()),
            "text": pa.array([None if i % 7 == 3 else f"row {i} äß" for i in n], pa.string()),
            "word": pa.array([f"w{i % 3}" for i in n]).dictionary_encode(),
            "real": pa.array([float("nan") if i % 11 == 5 else i / 4 for i in n], pa.float64()),
            "list": pa.array([None if i % 5 == 2 else list(range(i % 4)) for i in n], pa.list_(pa.int16())),
            "vector": pa.array([[i, i / 2] for i in n], pa.list_(pa.float32(), 2)),
            "s": pa.array([None if i % 6 == 1 else {"x": i, "y": str(i)} for i in n]),
            "moment": pa.array([i * 1_000_000 for i in n], pa.timestamp("us", "UTC")),
            "bytes": pa.array([bytes([i % 256]) * (i % 9) for i in n], pa.binary()),
        }
    )


def make(folder: Path) -> None:
    """A history in which every kind of change and every kind of object stands."""
    ds = lance_like.write_dataset(rows(0, 40), folder, max_rows_per_file=20, commit_message="first")
    ds.insert(rows(40, 900), transaction_properties={"by": "make_table"})
    ds.tags.create("two")
    ds.delete("id % 10 = 4")
    ds.update({"text": "'changed'"}, where="id % 3 = 0")
    ds.update({"s.x": "id * 2"}, where="id < 5")
    ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows(930, 20))
    ds.add_columns({"twice": "id * 2"})
    ds.add_columns(pa.field("empty", pa.int8()))
    ds.alter_columns({"path": "real", "name": "renamed"}, {"path": "twice", "data_type": pa.float64()})
    ds.drop_columns(["moment", "s.y"])
    ds.update_metadata({"of": "the table"})
    ds.update_config({"kept": "as it is"})
    for number in range(20):
        ds.insert({"id": [2_000 + number]})
    branch = ds.create_branch("beside", 4)
    branch.insert({"id": [7_777]})
    branch.tags.create("on the branch".replace(" ", "-"), ("beside", None))
    ds.optimize.compact_files(target_rows_per_fragment=500)
    ds.checkout_version(3).restore()
    ds.checkout_latest()
    ds.delete("id >= 900")


def told(folder: Path) -> dict[str, Any]:
    """What the table says, as JSON."""
    ds = lance_like.dataset(folder)
    lines = {"main": None, **{name: name for name in ds.branches.list()}}
    return {
        "tags": {name: [tag["branch"], tag["version"]] for name, tag in ds.tags.list().items()},
        "lines": {key: _line(ds.checkout_version((name, None))) for key, name in lines.items()},
    }


def _line(newest: LanceDataset) -> dict[str, Any]:
    numbers = [version["version"] for version in newest.versions()]
    return {str(number): _version(newest.checkout_version((newest.branch, number))) for number in numbers}


def _version(ds: LanceDataset) -> dict[str, Any]:
    columns = [*ds.schema.names, "_rowid", "_row_created_at_version", "_row_last_updated_at_version"]
    table = ds.to_table(columns)
    return {
        "schema": ds.schema.to_string(),
        "metadata": ds.metadata,
        "config": ds.config(),
        "rows": table.num_rows,
        "first": json.loads(json.dumps(table.slice(0, 3).to_pylist(), default=str)),
        "sums": {name: sum_of(table[name]) for name in columns},
    }


def sum_of(column: pa.ChunkedArray) -> str:
    """A text for all values of a column: its digest does not depend on how they lie in memory."""
    return f"{xxhash.xxh3_64_intdigest(repr(column.to_pylist()).encode()):016x}"


if __name__ == "__main__":
    place = HERE / sys.argv[1]
    make(place / "table")
    lance_like.dataset(place / "table").cleanup_old_versions(timedelta(days=1), delete_unverified=True)
    (place / "expected.json").write_text(json.dumps(told(place / "table"), indent=1, ensure_ascii=False) + "\n")
