"""What can be written: pylance's spellings, what pylance refuses, and errors that point at the place."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset, col, func
from lance_like.errors import InvalidInput, NotFound

ROWS = pa.table(
    {
        "row": [0, 1, 2, 3],
        "i": pa.array([1, 2, None, 4]),
        "s": ["abc", "Abd", None, "x'y"],
        "l": [[1, 2], [3], None, []],
        "day": pa.array([dt.date(2020, 2, 29), dt.date(2021, 1, 1), None, dt.date(1970, 1, 1)]),
        "ts": pa.array([0, 10**15, None, 5], pa.timestamp("us")),
        "tz": pa.array([0, 10**15, None, 5], pa.timestamp("us", "Europe/Paris")),
        "b": [b"\x05", b"a", None, b""],
        "st": [{"a": 1, "b c": "x"}, {"a": 2, "b c": "y"}, None, {"a": None, "b c": "z"}],
        "od d": [1, 2, 3, 4],
        "j": pa.ExtensionArray.from_storage(
            pa.json_(),
            pa.array(['{"a": {"b": 3}, "t": "x", "l": [1, 2], "f": 1.5, "q": true}', '{"l": ["x"]}', None, "[7]"]),
        ),
    }
)


@pytest.fixture(scope="module")
def ds(tmp_path_factory) -> LanceDataset:
    return lance_like.write_dataset(ROWS, tmp_path_factory.mktemp("dialect"), max_rows_per_file=3)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("`od d` = 2", [1]),
        ("`st`.`b c` = 'y' and s <> '`x`' -- `", [1]),
        ("regexp_like(s, '^a')", [0]),
        ("REGEXP_LIKE(s, '^a', 'i')", [0, 1]),
        ("regexp_match(s, '^a', 'i')", [0, 1]),
        ("not regexp_match(s, '^a')", [1, 2, 3]),
        ("regexp_match(s, 'b.')[1] = 'bc'", [0]),
        ("regexp_count(s, 'b') = 1", [0, 1]),
        ("json_get_string(j, 't') = 'x'", [0]),
        ("json_get_int(json_get(j, 'a'), 'b') = 3", [0]),
        ("json_get_int(j, '0') = 7", [3]),
        ("json_get_float(j, 'f') = 1.5", [0]),
        ("json_get_bool(j, 'q')", [0]),
        ("json_get_int(j, 't') is null", [0, 1, 2, 3]),
        ("json_extract(j, '$.a.b') = '3'", [0]),
        ("json_exists(j, '$.a.b')", [0]),
        ("json_array_contains(j, '$.l', 'x')", [1]),
        ("json_array_contains(j, '$.l', 2)", [0]),
        ("json_array_length(j, '$.l') = 2", [0]),
        ("array_has(l, 3)", [1]),
        ("array_has_any(l, make_array(1, 9))", [0]),
        ("array_has_all(l, [1, 2])", [0]),
        ("array_length(l) = 0", [3]),
        ("array_min(l) = 1 and array_max(l) = 2", [0]),
        ("get_field(st, 'a') = 1", [0]),
        ("nvl(i, 0) = 0", [2]),
        ("btrim(s) = 'abc'", [0]),
        ("date_part('year', ts) = 2001", [1]),
        ("date_bin(interval '1 day', ts) = timestamp '2001-09-09'", [1]),
        ("day < now() and day >= to_date('2021-01-01')", [1]),
        ("b = X'05'", [0]),
        ('day >= DATE "2021-01-01"', [1]),
        ('ts = timestamp \t "2001-09-09 01:46:40" and s <> \'date "x"\' and "S" <> \'\'', [1]),
    ],
)
def test_spellings_of_pylance_are_taken(ds, condition, rows):
    assert ds.to_table(["row"], filter=condition)["row"].to_pylist() == rows
    assert ds.count_rows(condition) == len(rows)


# What pylance 14 makes of the same.
@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("nvl2(i, 1, 2)", [1, 1, 2, 1]),
        ("nanvl(cast(i as double), 1.0)", [1.0, 2.0, None, 4.0]),
        ("nanvl(cast('nan' as double), 7.0)", [7.0] * 4),
        ("iszero(i - 2)", [False, True, None, False]),
        ("signum(i - 2)", [-1.0, 0.0, None, 1.0]),
        ("signum(cast('nan' as double)) = cast('nan' as double)", [True] * 4),
        ("find_in_set(s, 'x,Abd')", [0, 2, None, 0]),
        ("substr_index('a,b,c', ',', 2)", ["a,b"] * 4),
        ("substr_index('a,b,c', ',', -2)", ["b,c"] * 4),
        ("substr_index(s, '', 1)", ["", "", None, ""]),
        ("to_char(ts, '%Y-%m-%d %H:%M')", ["1970-01-01 00:00", "2001-09-09 01:46", None, "1970-01-01 00:00"]),
        ("date_format(day, '%d/%m')", ["29/02", "01/01", None, "01/01"]),
        ("to_unixtime(ts)", [0, 10**9, None, 0]),
        ("to_unixtime(timestamp '1969-12-31 23:59:59.5')", [-1] * 4),
        ("from_unixtime(10)", [dt.datetime(1970, 1, 1, 0, 0, 10)] * 4),
        ("to_timestamp_seconds(-1)", [dt.datetime(1969, 12, 31, 23, 59, 59)] * 4),
        ("to_timestamp_millis(1500)", [dt.datetime(1970, 1, 1, 0, 0, 1, 500000)] * 4),
        ("to_timestamp_micros(7)", [dt.datetime(1970, 1, 1, 0, 0, 0, 7)] * 4),
        ("array_element(l, -1)", [2, 3, None, None]),
        ("array_any_value([null, 5])", [5] * 4),
        ("array_positions([5, null, 5], 5)", [[1, 3]] * 4),
        ("array_positions(l, 2)", [[2], [], None, []]),
        ("array_remove_all([1, null, 2, 1], 1)", [[None, 2]] * 4),
        ("array_replace_all(l, 2, 9)", [[1, 9], [3], None, []]),
        ("array_repeat(i, 2)", [[1, 1], [2, 2], [None, None], [4, 4]]),
        ("list_to_string(l, '-')", ["1-2", "3", None, ""]),
        ("empty(l)", [False, False, None, True]),
        ("array_empty(l)", [False, False, None, True]),
    ],
)
def test_functions_of_pylance_have_its_values(ds, expression, values):
    assert ds.to_table({"value": expression})["value"].to_pylist() == values


@pytest.mark.parametrize(
    ("expression", "kind", "values"),
    [
        ("arrow_cast(i, 'Int8')", pa.int8(), [1, 2, None, 4]),
        ("arrow_cast(i, 'Float32') + arrow_cast('1', 'Float32')", pa.float32(), [2, 3, None, 5]),
        ("ARROW_CAST(i, ' LargeUtf8 ')", pa.string(), ["1", "2", None, "4"]),
        ("arrow_cast(arrow_cast(i, 'Utf8'), 'Decimal128(5, 1)') = 2.0", pa.bool_(), [False, True, None, False]),
        (
            "arrow_cast(ts, 'Date32')",
            pa.date32(),
            [dt.date(1970, 1, 1), dt.date(2001, 9, 9), None, dt.date(1970, 1, 1)],
        ),
        (
            "arrow_cast(ts, 'Timestamp(ms)') < arrow_cast(day, 'Timestamp(Second, None)')",
            pa.bool_(),
            [True, True, None, False],
        ),
        ("arrow_cast(l, 'List(nullable Int16)')", pa.list_(pa.int16()), [[1, 2], [3], None, []]),
        (
            "arrow_cast([i, 1], 'FixedSizeList(2, Float32)')",
            pa.list_(pa.float32(), 2),
            [[1, 1], [2, 1], [None, 1], [4, 1]],
        ),
        ("arrow_cast(null, 'FixedSizeList(2 x Float64)')", pa.list_(pa.float64(), 2), [None] * 4),
        ("arrow_cast(b, 'FixedSizeBinary(1)')", pa.binary(), [b"\x05", b"a", None, b""]),
        ("arrow_try_cast(s, 'Int64')", pa.int64(), [None] * 4),
    ],
)
def test_arrow_cast_is_a_cast(ds, expression, kind, values):
    found = ds.to_table({"value": expression})["value"]
    assert found.type == kind
    assert found.to_pylist() == values


@pytest.mark.parametrize("kind", ["'Float16'", "'Foo(1)'", "'List(Foo)'", "s", "5"])
def test_arrow_cast_to_what_duckdb_has_not_is_refused(ds, kind):
    with pytest.raises(InvalidInput, match="arrow_cast"):
        ds.count_rows(f"arrow_cast(i, {kind}) = 1")


def test_arrow_cast_is_read_in_conditions(ds):
    for number, rows in ((1, 1), (2, 1), (3, 0), (4, 1)):
        assert ds.count_rows(f"i = arrow_cast({number}, 'Int32')") == rows
        assert ds.count_rows(f"arrow_cast(i, 'Utf8') = arrow_cast({number}, 'Utf8')") == rows


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("case when i = 1 then true else s like 'x%' end", [0, 3]),
        ("extract(year from ts) = 2001", [1]),
        ("substr(s, 1, 2) = 'ab'", [0]),
        ("ts > timestamp '2001-09-10' - interval 2 day", [1]),
        ("s ~ 'a.c' or s similar to 'A%|A.*'", [0, 1]),
        ("day = '2020-02-29'", [0]),
        ('"od d" = 2 and "I" = 2', [1]),
        ("len(list_filter(l, lambda x: x > i)) > 0", [0, 1]),
        ("s collate nocase = 'ABC'", [0]),
        ("tz = timestamptz '2001-09-09 03:46:40+02'", [1]),
        ("hour(tz at time zone 'Europe/Paris') = 3", [1]),
        ("_rowid = 1 or _rowaddr = 0", [0, 1]),
        ("i in (select 1)", [0]),
        ("i = (select max(v) from unnest(l) x(v)) - 1", [0, 1]),
        ("exists (select 1 from (values (2), (4)) v(n) where n = i)", [1, 3]),
        ("i = any([2, 4])", [1, 3]),
        ("(i, s) = (1, 'abc')", [0]),
        ("i is not distinct from null", [2]),
        ("s in ('abc') is null", [2]),
        ("i between 0 and 2 and not i <= 1", [1]),
    ],
)
def test_what_pylance_refuses_works(ds, condition, rows):
    assert ds.to_table(["row"], filter=condition)["row"].to_pylist() == rows


@pytest.mark.parametrize(
    ("condition", "kind", "says", "at"),
    [
        ("i > 1 and nme = 'x'", NotFound, "no column 'nme'", "nme"),
        ("i > 1 and lower(st.q) = 'x'", NotFound, "no field 'q'", "st.q"),
        ("i > 1 and lowr(s) = 'x'", InvalidInput, 'Did you mean "lower"', "lowr"),
        ("i > 1 and s > 5", InvalidInput, "Cannot compare", "s > 5"),
        ("i > 1 and day = '2020-02-3x'", InvalidInput, "date", "'2020-02-3x'"),
        ("i > 1 an d", InvalidInput, "syntax error", "an"),
        ("i > 1 and sum(i) > 2", InvalidInput, "aggregate sum", "sum"),
        ("i = 1 or row_number() over () = 1", InvalidInput, "window", "row_number"),
        ("i in (select x from other)", InvalidInput, "table 'other'", "other"),
        ("i = $1", InvalidInput, "parameter", "$1"),
        ("i > 1 and\n  nme = 2", NotFound, "'nme'", "nme"),
        ("'é' = s and nme = 2", NotFound, "'nme'", "nme"),
    ],
)
def test_an_error_points_at_its_place(ds, condition, kind, says, at):
    with pytest.raises(kind, match=f"(?s){says}") as caught:
        ds.to_table(filter=condition)
    *_, line, caret = str(caught.value).splitlines()
    assert line[caret.index("^") :].replace('"', "").startswith(at), str(caught.value)


def test_spellings_serve_expressions_too(tmp_path):
    ds = lance_like.write_dataset(ROWS.select(["row", "s", "j"]), tmp_path)
    ds.add_columns({"t": "json_get_string(j, 't')", "n": func("nvl", col("row"), 0) + 1})
    ds.update({"t": "btrim(`s`)"}, where="regexp_like(s, '^A')")
    assert ds.to_table(["t", "n"]).to_pydict() == {"t": ["x", "Abd", None, None], "n": [1, 2, 3, 4]}
