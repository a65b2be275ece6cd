"""Changes of columns beside other writers: each cell through handles, and by processes at once."""

from __future__ import annotations

from collections.abc import Callable

import column_processes as processes
import pyarrow as pa
import pytest
from writer_processes import append, race

import lance_like
from lance_like import LanceDataset, LanceOperation
from lance_like.errors import IncompatibleChange, InvalidInput

TABLE = pa.table(
    {
        "n": [1, 2, 3, 4],
        "m": [10, 20, 30, 40],
        "t": ["a", "b", "c", "d"],
        "s": pa.array([None, {"a": 1}, {"a": 2}, {"a": None}], pa.struct([("a", pa.int64())])),
    }
)


def begun(uri: str) -> LanceDataset:
    return lance_like.write_dataset(TABLE, uri, max_rows_per_file=2)


def upsert(ds: LanceDataset) -> None:
    rows = {"n": [1, 9], "t": ["q", "z"]}
    ds.merge_insert("n").when_matched_update_all().when_not_matched_insert_all().execute(rows)


def replace(ds: LanceDataset) -> None:
    group = ds.get_fragment(0).replace_columns({"t": ["x", "y"]})
    LanceDataset.commit(ds, LanceOperation.DataReplacement([group]), read_version=ds.version)


THEIRS: dict[str, Callable[[LanceDataset], object]] = {
    "append": lambda ds: ds.insert([{"n": 9, "m": 9, "t": "z", "s": {"a": 5}}]),
    "nulls": lambda ds: ds.insert([{"n": 9}]),
    "delete": lambda ds: ds.delete("n <= 2"),
    "update t": lambda ds: ds.update({"t": "'u'"}, where="n = 1"),
    "update m": lambda ds: ds.update({"m": "m + 1"}),
    "upsert": upsert,
    "struct": lambda ds: ds.update({"s": "null"}, where="n = 3"),
    "add": lambda ds: ds.add_columns({"x": "n"}),
    "drop m": lambda ds: ds.drop_columns(["m"]),
    "rename m": lambda ds: ds.alter_columns({"path": "m", "name": "k"}),
    "cast m": lambda ds: ds.alter_columns({"path": "m", "data_type": pa.int32()}),
    "strict m": lambda ds: ds.alter_columns({"path": "m", "nullable": False}),
    "replace t": replace,
    "compact": lambda ds: ds.optimize.compact_files(),
    "restore": lambda ds: ds.restore(),
    "overwrite": lambda ds: ds.insert({"q": [1]}, mode="overwrite"),
}
MINE: dict[str, Callable[[LanceDataset], object]] = {
    "cast t": lambda ds: ds.alter_columns({"path": "t", "data_type": pa.large_string()}),
    "cast m": lambda ds: ds.alter_columns({"path": "m", "data_type": pa.float64(), "name": "float"}),
    "strict t": lambda ds: ds.alter_columns({"path": "t", "nullable": False}),
    "strict m": lambda ds: ds.alter_columns({"path": "m", "nullable": False}),
    "merge": lambda ds: ds.merge({"n": [1, 9, 4], "y": ["one", "nine", "four"]}, "n"),
    "add s.b": lambda ds: ds.add_columns({"s.b": "m + 1"}),
    "add s.z": lambda ds: ds.add_columns(pa.field("s.z", pa.int8())),
    "function": lambda ds: ds.add_columns(lambda batch: {"f": batch["n"]}, read_columns=["n"]),
}
# C: it is done, as if after theirs. X: it is refused for good. N: there is a null now.
# fmt: off
TABLE_OF_VERDICTS = {
    #            app  nulls del  up-t up-m ups  str  add  drop ren  cast stri repl comp rest over
    "cast t":   ["C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "X", "X"],
    "cast m":   ["C", "C", "C", "C", "C", "C", "C", "C", "X", "X", "X", "X", "C", "C", "X", "X"],
    "strict t": ["C", "N", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "X", "X"],
    "strict m": ["C", "N", "C", "C", "C", "N", "C", "C", "X", "X", "X", "X", "C", "C", "X", "X"],
    "merge":    ["C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "X", "X"],
    "add s.b":  ["C", "C", "C", "C", "C", "C", "C", "C", "X", "C", "X", "C", "C", "C", "X", "X"],
    "add s.z":  ["C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "X", "X"],
    "function": ["C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "C", "X", "X"],
}
# fmt: on


@pytest.mark.parametrize("theirs", THEIRS)
@pytest.mark.parametrize("mine", MINE)
def test_a_change_of_columns_ends_as_if_it_had_come_after_theirs(mine, theirs, tmp_path):
    uri, serial = str(tmp_path / "t"), str(tmp_path / "serial")
    ds = begun(uri)
    THEIRS[theirs](lance_like.dataset(uri))
    verdict = TABLE_OF_VERDICTS[mine][list(THEIRS).index(theirs)]
    if verdict == "C":
        MINE[mine](ds)
        begun(serial)
        THEIRS[theirs](lance_like.dataset(serial))
        before = lance_like.dataset(serial)
        if (mine, theirs) == ("add s.b", "rename m"):
            before.add_columns({"s.b": "k + 1"})
        else:
            MINE[mine](before)
        after = lance_like.dataset(uri)
        assert after.schema == before.schema
        assert after.to_table().equals(before.to_table())
        assert ds.version == after.version == 3
        return
    with pytest.raises(
        IncompatibleChange if verdict == "X" else InvalidInput, match="null" if verdict == "N" else None
    ):
        MINE[mine](ds)
    assert (ds.version, lance_like.dataset(uri).version) == (1, 2)


ROWS = pa.table({"n": range(100), "u": [0] * 100, "v": range(100), "w": pa.array(range(100), pa.int32())})


@pytest.mark.parametrize("seed", range(3))
def test_columns_are_added_and_altered_beside_changing_rows_and_no_value_is_wrong(tmp_path, seed):
    uri = str(tmp_path / "t")
    rows = ROWS.append_column("s", pa.array([None if n % 7 == 0 else {"a": n} for n in range(100)]))
    lance_like.write_dataset(rows, uri, max_rows_per_file=30)
    factors = [2, 3, 5]
    race(
        [(processes.add_columns, (uri, prefix, factors, seed + i)) for i, prefix in enumerate("abcd")]
        + [(processes.alter_columns, (uri, 4)), (processes.change_rows, (uri, seed, 8))]
    )
    ds = lance_like.dataset(uri)
    below = ds.schema.field("s").type
    added = {*ds.schema.names, *(field.name for field in below)} - {*ROWS.schema.names, "s", "a"}
    assert added == {f"{prefix}{factor}" for prefix in "abcd" for factor in factors}
    assert (ds.schema.field("w").type, ds.schema.field("w").nullable) == (pa.int32(), True)
    for row in ds.to_table().to_pylist():
        assert row["v"] == row["w"] == row["n"]
        assert (row["s"] is None) == (row["n"] % 7 == 0)
        values = {**row, **(row["s"] or {})}
        assert all(values[name] == row["n"] * int(name[1:]) for name in added & values.keys())


def test_columns_added_beside_appends_compute_each_row_once(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [0], "s": [{"a": 1}]}, uri)
    *_, computed = race(
        [(append, (uri, 100 * k, 10)) for k in (1, 2)] + [(processes.add_columns, (uri, "f", list(range(1, 9)), 1))]
    )
    ds = lance_like.dataset(uri)
    assert ds.count_rows() == 21
    functions = [name for name in ds.schema.names if name.startswith("f")]
    assert computed <= 21 * len(functions)
