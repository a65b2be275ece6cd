"""Other names, nullabilities and types of columns: what is written, what is refused, and beside other writers."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lance_like
from lance_like.dataset import alter
from lance_like.errors import IncompatibleChange, InvalidInput, NotFound
from lance_like.query.scan import Scan


def table_of(uri: str, *columns: tuple[pa.DataType, list], rows_per_file: int = 2) -> lance_like.LanceDataset:
    arrays = {name: pa.array(values, kind) for name, (kind, values) in zip("ab", columns, strict=False)}
    return lance_like.write_dataset(pa.table(arrays), uri, max_rows_per_file=rows_per_file)


CASTS = [
    (pa.int8(), pa.int64(), [1, None, -3]),
    (pa.int64(), pa.uint8(), [1, None, 255]),
    (pa.int64(), pa.float64(), [1, None, 2**53]),
    (pa.int32(), pa.decimal128(12, 2), [1, None, -3]),
    (pa.decimal128(5, 2), pa.decimal128(7, 3), [Decimal("1.25"), None, Decimal("-0.01")]),
    (pa.decimal128(5, 2), pa.decimal256(40, 2), [Decimal("1.25"), None, Decimal("-0.01")]),
    (pa.decimal128(5, 2), pa.int16(), [Decimal("1.00"), None, Decimal("-7.00")]),
    (pa.float32(), pa.float64(), [1.5, None, float("inf")]),
    (pa.string(), pa.large_string(), ["", None, "é"]),
    (pa.string(), pa.string_view(), ["", None, "é" * 20]),
    (pa.string(), pa.binary(), ["", None, "é"]),
    (pa.binary(), pa.string(), [b"", None, b"x"]),
    (pa.binary(), pa.binary(2), [b"ab", None, b"cd"]),
    (pa.string(), pa.dictionary(pa.int16(), pa.string()), ["x", None, "x"]),
    (pa.dictionary(pa.int8(), pa.string()), pa.string(), ["x", None, "y"]),
    (pa.int64(), pa.dictionary(pa.int8(), pa.int32()), [5, None, 5]),
    (pa.int64(), pa.run_end_encoded(pa.int32(), pa.int64()), [5, None, None]),
    (pa.timestamp("s"), pa.timestamp("ns"), [1, None, 2]),
    (pa.timestamp("us"), pa.timestamp("ms"), [1000, None, 2000]),
    (pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Tokyo"), [1, None, 2]),
    (pa.date32(), pa.timestamp("us"), [1, None, 2]),
    (pa.time32("s"), pa.time64("ns"), [1, None, 2]),
    (pa.duration("s"), pa.duration("us"), [1, None, 2]),
    (pa.list_(pa.int32()), pa.large_list(pa.int64()), [[1, None], None, []]),
    (pa.list_(pa.list_(pa.string())), pa.list_(pa.list_(pa.large_string())), [[["a"], None], None, []]),
    (pa.list_(pa.int32()), pa.list_view(pa.int64()), [[1, None], None, []]),
    (pa.list_(pa.float32(), 2), pa.list_(pa.float64(), 2), [[1, 2], None, [3, None]]),
    (pa.list_(pa.float32(), 2), pa.list_(pa.float16(), 2), [[1, 2], None, [3, None]]),
    (pa.list_(pa.float32()), pa.list_(pa.float32(), 1), [[1], None, [3]]),
    (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int64()), [[("k", 1)], None, []]),
    (pa.null(), pa.int32(), [None, None, None]),
]


@pytest.mark.parametrize(("old", "new", "values"), CASTS, ids=str)
def test_a_column_gets_another_type_with_the_same_values(tmp_path, old, new, values):
    ds = table_of(str(tmp_path), (old, values), (pa.int8(), [1, 2, 3]))
    before = set((tmp_path / "data").iterdir())
    ds.delete("b = 2" if values[1] is not None else "b = 9")
    ds.alter_columns({"path": "a", "data_type": new})
    assert ds.schema == pa.schema([("a", new), ("b", pa.int8())])
    expected = pa.array(values, old)
    found = ds.to_table(["a"])["a"].combine_chunks()
    if pa.types.is_temporal(old) or pa.types.is_string(old) or pa.types.is_binary(old):
        plain = found.dictionary_decode() if pa.types.is_dictionary(new) else found
        assert plain.cast(old).equals(expected)
    else:
        assert found.to_pylist() == expected.to_pylist()
    assert ds.take([2, 0], ["a"])["a"].to_pylist() == [found[2].as_py(), found[0].as_py()]
    assert ds.checkout_version(1).to_table(["a"])["a"].combine_chunks().equals(expected)
    assert len(set((tmp_path / "data").iterdir()) - before) == 2


REFUSED = [
    (pa.int64(), pa.int8(), [1, None, 300, 400], "the value 300 of row 2 does not fit the type int8"),
    (pa.int64(), pa.uint64(), [1, -1], "the value -1 of row 1"),
    (pa.int64(), pa.float64(), [1, 2**53 + 1], "the value 9007199254740993 of row 1"),
    (pa.int64(), pa.decimal128(3, 1), [99, 100], "the value 100 of row 1"),
    (pa.decimal128(5, 2), pa.int8(), [Decimal("1.00"), Decimal("1.50")], r"Decimal\('1.50'\) of row 1"),
    (pa.decimal128(5, 2), pa.decimal128(5, 1), [Decimal("1.00"), Decimal("1.25")], r"Decimal\('1.25'\) of row 1"),
    (pa.timestamp("ms"), pa.timestamp("s"), [1000, 1500], r"datetime\(1970, 1, 1, 0, 0, 1, 500000\).* of row 1"),
    (pa.binary(), pa.string(), [b"a", b"b", b"\xff"], r"b'\\xff' of row 2"),
    (pa.binary(), pa.binary(2), [b"ab", b"abc"], "b'abc' of row 1"),
    (pa.float64(), pa.float16(), [1.5, 1e6], "1000000.0 of row 1"),
    (pa.list_(pa.int32()), pa.list_(pa.int8()), [[1], [2, 300]], r"\[2, 300\] of row 1"),
    (pa.list_(pa.int32()), pa.list_(pa.int32(), 1), [[1], [2, 3]], r"\[2, 3\] of row 1"),
    (pa.int64(), pa.string(), [1], "cannot become string; compute another column"),
    (pa.string(), pa.int64(), ["1"], "cannot become int64"),
    (pa.float64(), pa.int64(), [1.0], "cannot become int64"),
    (pa.float64(), pa.decimal128(5, 2), [1.0], "cannot become decimal"),
    (pa.decimal128(5, 2), pa.float64(), [1], "cannot become double"),
    (pa.int64(), pa.bool_(), [1], "cannot become bool"),
    (pa.timestamp("us"), pa.int64(), [1], "cannot become int64"),
    (pa.timestamp("us"), pa.date32(), [1], "a part of each moment"),
    (pa.timestamp("us"), pa.timestamp("us", "UTC"), [1], "time zone"),
    (pa.list_(pa.int32()), pa.int32(), [[1]], "cannot become int32"),
    (pa.list_(pa.int32()), pa.list_(pa.string()), [[1]], "cannot become list"),
    (pa.int64(), pa.struct([("x", pa.int64())]), [1], "one by one"),
    (pa.struct([("x", pa.int8())]), pa.struct([("x", pa.int64())]), [{"x": 1}], "one by one"),
]


@pytest.mark.parametrize(("old", "new", "values", "says"), REFUSED, ids=str)
def test_a_type_that_does_not_fit_changes_nothing_and_names_the_value(uri, old, new, values, says):
    ds = table_of(uri, (old, values))
    with pytest.raises(InvalidInput, match=says):
        ds.alter_columns({"path": "a", "data_type": new})
    assert ds.latest_version == 1
    assert ds.schema.field("a").type == old


def test_fragments_are_read_together_and_written_one_by_one(tmp_path, monkeypatch):
    ds = lance_like.write_dataset(
        pa.table({"a": list(range(160)), "b": list(range(160))}), tmp_path, max_rows_per_file=4
    )
    ds.delete("b in (0, 5, 6, 7)")
    ds.add_columns(pa.field("later", pa.int64()))
    ds.insert([{"a": 160, "b": 160, "later": 1}])
    files = set((tmp_path / "data").iterdir())
    scans: list[Scan] = []
    real = alter.run_scan
    monkeypatch.setattr(alter, "run_scan", lambda s, m, scan: (scans.append(scan), real(s, m, scan))[1])
    ds.alter_columns({"path": "later", "data_type": pa.int32()})
    assert [len(scan.fragments or ()) for scan in scans] == [1]
    ds.alter_columns({"path": "a", "data_type": pa.int16()})
    assert [len(scan.fragments or ()) for scan in scans] == [1, 41]
    assert len(set((tmp_path / "data").iterdir()) - files) == 1 + 41
    expected = [i for i in range(161) if i not in (0, 5, 6, 7)]
    assert ds.to_table().to_pydict() == {"a": expected, "b": expected, "later": [None] * 156 + [1]}
    with pytest.raises(InvalidInput, match="the value 128 of row 124 does not fit the type int8"):
        ds.alter_columns({"path": "a", "data_type": pa.int8()})


def test_values_of_deleted_rows_need_not_fit(uri):
    ds = table_of(uri, (pa.int64(), [1, 300, 3, None]), (pa.int8(), [0, 1, 2, 3]))
    ds.delete("a = 300 or a is null")
    ds.alter_columns({"path": "a", "data_type": pa.int8(), "nullable": False, "name": "c"})
    assert ds.schema == pa.schema([pa.field("c", pa.int8(), False), ("b", pa.int8())])
    assert ds.to_table().to_pylist() == [{"c": 1, "b": 0}, {"c": 3, "b": 2}]
    with pytest.raises(InvalidInput, match="'c'"):
        ds.insert([{"b": 1}])
    ds.insert([{"c": 9, "b": 1}])
    assert ds.count_rows("c = 9") == 1


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), min_size=1, max_size=30),
    st.sampled_from([pa.int8(), pa.int32(), pa.uint16(), pa.float32(), pa.float64(), pa.decimal128(9, 1)]),
)
def test_a_cast_is_that_of_arrow_or_refused_with_it(values, kind):
    array = pa.array(values, pa.int64())
    ds = lance_like.write_dataset(pa.table({"a": array}), f"memory://{uuid.uuid4().hex}", max_rows_per_file=7)
    wide = array.cast(pa.decimal256(60, 1)) if pa.types.is_decimal(kind) else array
    try:
        expected = wide.cast(kind)
    except pa.ArrowException:
        with pytest.raises(InvalidInput, match=r"the value -?\d+ of row (\d+) does not fit") as caught:
            ds.alter_columns({"path": "a", "data_type": kind})
        row = int(str(caught.value).split("of row ")[1].split()[0].replace(",", ""))
        with pytest.raises(pa.ArrowException):
            wide[row].cast(kind)
        wide.slice(0, row).cast(kind)
    else:
        ds.alter_columns({"path": "a", "data_type": kind})
        assert ds.to_table()["a"].combine_chunks().equals(expected)


# Structs, names, nothing


NESTED = pa.table(
    {
        "s": pa.array(
            [None, {"x": 1, "`y.z": {"w": "a"}}, {"x": None, "`y.z": None}],
            pa.struct([("x", pa.int8()), ("`y.z", pa.struct([("w", pa.string())]))]),
        )
    }
)


def test_fields_of_structs_are_altered_by_their_paths(uri):
    ds = lance_like.write_dataset(NESTED, uri, max_rows_per_file=2)
    ds.alter_columns(
        {"path": "s.x", "data_type": pa.int64()},
        {"path": "s.```y.z`.w", "data_type": pa.large_string(), "name": "ключ"},
        {"path": "s.```y.z`", "name": "q"},
    )
    kind = pa.struct([("x", pa.int64()), ("q", pa.struct([("ключ", pa.large_string())]))])
    assert ds.schema.field("s").type == kind
    assert ds.to_table()["s"].to_pylist() == [None, {"x": 1, "q": {"ключ": "a"}}, {"x": None, "q": None}]
    assert ds.to_table(["s.q.ключ"], filter="s.x = 1").to_pylist() == [{"s.q.ключ": "a"}]
    ds.add_columns({"s.q.n": "s.x + 1"})
    assert ds.to_table()["s"].to_pylist()[1] == {"x": 1, "q": {"ключ": "a", "n": 2}}


def test_a_field_may_become_not_null_when_only_its_struct_is_null(uri):
    rows = pa.array([None, {"x": 1}, {"x": 2}], pa.struct([("x", pa.int8())]))
    ds = lance_like.write_dataset(pa.table({"s": rows}), uri)
    ds.alter_columns({"path": "s.x", "nullable": False, "data_type": pa.int32()})
    assert ds.schema.field("s").type.field("x") == pa.field("x", pa.int32(), False)
    assert ds.to_table()["s"].to_pylist() == rows.to_pylist()
    with pytest.raises(InvalidInput, match="'s' may not become not null: 1 rows are null"):
        ds.alter_columns({"path": "s", "nullable": False})
    ds.alter_columns({"path": "s.x", "nullable": True})
    ds.insert([{"s": {"x": None}}])
    with pytest.raises(InvalidInput, match=r"'s\.x' may not become not null: 1 rows"):
        ds.alter_columns({"path": "s.x", "nullable": False})
    ds.delete("s is not null and s.x is null")
    ds.alter_columns({"path": "s.x", "nullable": False})


def test_nullability_is_known_from_the_bounds_without_reading_a_row(tmp_path):
    ds = table_of(str(tmp_path), (pa.int64(), [1, 2, 3]))
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    ds.alter_columns({"path": "a", "nullable": False})
    assert not ds.schema.field("a").nullable


def test_columns_that_read_as_null_are_altered_without_a_file(tmp_path):
    ds = table_of(str(tmp_path), (pa.int64(), [1, 2, 3]))
    ds.add_columns(pa.schema([("n", pa.int8()), ("m", pa.int8())]))
    before = set((tmp_path / "data").iterdir())
    ds.alter_columns({"path": "n", "data_type": pa.int64()})
    assert set((tmp_path / "data").iterdir()) == before
    with pytest.raises(InvalidInput, match="3 rows are null"):
        ds.alter_columns({"path": "m", "nullable": False})
    ds.insert([{"n": 2**40}])
    assert ds.to_table(["n"])["n"].to_pylist() == [None] * 3 + [2**40]


def test_a_table_without_rows_takes_any_alteration(uri):
    ds = lance_like.write_dataset(NESTED.slice(0, 0), uri)
    ds.alter_columns({"path": "s", "nullable": False}, {"path": "s.x", "data_type": pa.int64(), "nullable": False})
    ds.insert(pa.table({"s": [{"x": 1, "`y.z": None}]}, schema=ds.schema))
    assert ds.to_table().to_pylist() == [{"s": {"x": 1, "`y.z": None}}]


@pytest.mark.parametrize(
    ("alterations", "kind", "says"),
    [
        ((), InvalidInput, "nothing to alter"),
        (({"path": "a"},), InvalidInput, "expected 'path'"),
        (({"path": "a", "nullable": 1},), InvalidInput, "True or False"),
        (({"path": "a", "data_type": "int64"},), InvalidInput, "a type of pyarrow"),
        (({"path": "zz", "name": "b"},), NotFound, "zz"),
        (({"path": "a", "name": "x"}, {"path": "`a`", "nullable": False}), InvalidInput, "altered twice"),
        (({"path": "a", "name": "b", "data_type": pa.int64()},), InvalidInput, "two columns 'b'"),
        (({"path": "a", "data_type": pa.sparse_union([])},), InvalidInput, "cannot become"),
    ],
    ids=str,
)
def test_an_alteration_that_cannot_be_changes_nothing(uri, alterations, kind, says):
    ds = table_of(uri, (pa.int8(), [1]), (pa.int8(), [1]))
    with pytest.raises(kind, match=says):
        ds.alter_columns(*alterations)
    assert ds.latest_version == 1


def test_a_column_among_a_thousand_is_altered_alone(tmp_path):
    table = pa.table({f"c{i}": np.full(100, i, np.int16) for i in range(1000)})
    ds = lance_like.write_dataset(table, tmp_path)
    before = sum(path.stat().st_size for path in Path(tmp_path / "data").iterdir())
    ds.alter_columns({"path": "c500", "data_type": pa.int64()}, {"path": "c501", "name": "x"})
    assert ds.schema.names == [*table.schema.names[:501], "x", *table.schema.names[502:]]
    assert sum(path.stat().st_size for path in Path(tmp_path / "data").iterdir()) - before < 4096
    assert ds.take([7], ["c499", "c500", "x"]).to_pylist() == [{"c499": 499, "c500": 500, "x": 501}]


# Other writers


def test_a_cast_follows_rows_that_others_bring_and_change(uri):
    ds = table_of(uri, (pa.int32(), [1, 2, 3, 4]), (pa.int32(), [0, 0, 0, 0]))
    other = lance_like.dataset(uri)
    other.insert([{"a": 5, "b": 5}])
    other.update({"a": "a + 100"}, where="a = 2")
    other.delete("a = 3")
    other.add_columns({"c": "a"})
    ds.alter_columns({"path": "a", "data_type": pa.int64()})
    assert sorted(ds.to_table(["a", "c"])["a"].to_pylist()) == [1, 4, 5, 102]
    assert ds.count_rows("a = c") == 4


def test_no_null_can_slip_in_beside_a_column_that_becomes_not_null(uri):
    ds, other = table_of(uri, (pa.int32(), [1, 2])), lance_like.dataset(uri)
    other.insert([{"a": None}])
    with pytest.raises(InvalidInput, match="1 rows are null"):
        ds.alter_columns({"path": "a", "nullable": False})
    other.delete("a is null")
    stale = lance_like.dataset(uri)
    lance_like.dataset(uri).alter_columns({"path": "a", "nullable": False})
    with pytest.raises(InvalidInput, match="may not be null"):
        stale.update({"a": "null"}, where="a = 1")
    stale.update({"a": "7"}, where="a = 1")
    assert stale.to_table()["a"].to_pylist() in ([7, 2], [2, 7])


def test_two_alterations_of_one_column_do_not_both_stand(uri):
    ds, other = table_of(uri, (pa.int32(), [1]), (pa.int32(), [1])), lance_like.dataset(uri)
    third = lance_like.dataset(uri)
    other.alter_columns({"path": "a", "data_type": pa.int64()})
    with pytest.raises(IncompatibleChange):
        ds.alter_columns({"path": "a", "name": "x"})
    third.alter_columns(
        {"path": "b", "data_type": pa.int64()},
    )
    assert third.schema == pa.schema([("a", pa.int64()), ("b", pa.int64())])


def test_values_of_every_moment_stay_the_same(uri):
    moments = [dt.datetime(1969, 12, 31, 23, 59, 59), None, dt.datetime(2200, 1, 1)]
    ds = table_of(uri, (pa.timestamp("s"), moments))
    ds.alter_columns({"path": "a", "data_type": pa.timestamp("us")})
    assert ds.to_table()["a"].to_pylist() == moments
