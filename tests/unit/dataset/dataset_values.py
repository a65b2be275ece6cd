"""Small datasets that the tests of handles share."""

from __future__ import annotations

import pyarrow as pa

import lance_like
from lance_like import LanceDataset


def people(rows: int = 10) -> pa.Table:
    """Numbers, nested structs and texts of which every third is null; each cell follows from its row."""
    return pa.table(
        {
            "i": pa.array(range(rows), pa.int64()),
            "s": pa.array(
                [{"x": j, "y": {"z": str(j)}} for j in range(rows)],
                pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))]),
            ),
            "t": pa.array([None if j % 3 == 0 else f"t{j}" for j in range(rows)], pa.string()),
        }
    )


def three_fragments(uri: str) -> LanceDataset:
    """`people(10)` in fragments of 4, 4 and 2 rows."""
    return lance_like.write_dataset(people(10), uri, max_rows_per_file=4)


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Equal schemas, metadata included, and equal values; chunks may differ."""
    assert found.schema.equals(expected.schema, check_metadata=True), f"{found.schema}\n{expected.schema}"
    assert found.num_rows == expected.num_rows
    assert found.equals(expected)
    found.validate(full=True)
