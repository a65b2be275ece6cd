"""Every kind of data that write_dataset accepts, and what it says to the others."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from dataset_values import assert_same, people

import lance_like
from lance_like.errors import InvalidInput, Unsupported

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
SCHEMA = TABLE.schema


class StreamOnly:
    """An object of another library: all it has is Arrow's stream export."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TABLE.__arrow_c_stream__(requested_schema)


def duckdb_relation() -> object:
    import duckdb

    return duckdb.sql("select * from (values (1::bigint, 'x'), (2, null), (3, 'z')) t(a, b)")


def pydantic_models() -> list[object]:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Row", a=(int | None, ...), b=(str | None, None))
    return [model(a=1, b="x"), model(a=2), model(a=3, b="z")]


INPUTS = {
    "table": lambda: TABLE,
    "chunked table": lambda: pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 0), TABLE.slice(1)]),
    "sliced batch": lambda: pa.concat_tables([TABLE, TABLE]).combine_chunks().to_batches()[0].slice(3, 3),
    "reader": lambda: TABLE.to_reader(max_chunksize=2),
    "generator of batches": lambda: (batch for batch in TABLE.to_batches(max_chunksize=1)),
    "list of tables": lambda: [TABLE.slice(0, 1), TABLE.slice(1)],
    "dict of lists": lambda: {"a": [1, 2, 3], "b": ["x", None, "z"]},
    "dict of arrays": lambda: {"a": np.arange(1, 4), "b": pa.array(["x", None, "z"])},
    "list of dicts": lambda: [{"a": 1, "b": "x"}, {"a": 2, "b": None}, {"b": "z", "a": 3}],
    "list of pydantic models": lambda: pydantic_models(),
    "list of dicts, not all with all": lambda: [{"a": 1, "b": "x"}, {"a": 2}, {"b": "z", "a": 3}],
    "stream export": StreamOnly,
    "dataset of pyarrow": lambda: pads.dataset(TABLE),
    "scanner of pyarrow": lambda: pads.dataset(TABLE).scanner(),
    "our dataset": lambda: lance_like.write_dataset(TABLE, "memory://inputs-ours", mode="overwrite"),
    "our scanner": lambda: lance_like.write_dataset(TABLE, "memory://inputs-ours", mode="overwrite").scanner(),
    "duckdb relation": duckdb_relation,
}


@pytest.mark.parametrize("kind", INPUTS)
def test_every_kind_of_data_is_written_as_it_is(kind, uri):
    assert_same(lance_like.write_dataset(INPUTS[kind](), uri).to_table(), TABLE)


def test_pandas_frames_keep_types_and_their_metadata_and_lose_an_index_without_a_name(uri):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "when": pd.to_datetime(["2020-01-01", "2021-02-03"])}, index=["p", "q"])
    ds = lance_like.write_dataset(frame, uri)
    assert ds.schema.names == ["a", "when"]
    assert ds.to_table().to_pandas().to_dict("list") == frame.to_dict("list")
    assert b"pandas" in ds.schema.metadata


@pytest.mark.parametrize(
    ("names", "columns"),
    [(["k", "l"], ["a", "k", "l"]), ([None, "l"], ["a", "l"]), (["k", "a"], ["a", "k"]), (["k", "k"], ["a", "k"])],
)
def test_an_index_of_pandas_that_has_a_name_is_a_column(uri, names, columns):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(3, 4), (5, 6)], names=names))
    ds = lance_like.write_dataset(frame, uri)
    cells = {"a": [1, 2], "k": [3, 5], "l": [4, 6]}
    assert ds.to_table().to_pydict() == {name: cells[name] for name in columns}
    assert [name for name in ds.to_table().to_pandas().index.names if name] == columns[1:]
    assert frame.index.names == names


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 1)])
def test_an_array_of_numpy_of_two_dimensions_is_a_column_of_vectors(uri, shape):
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape, order="F")
    ds = lance_like.write_dataset({"v": values}, uri)
    assert ds.schema == pa.schema({"v": pa.list_(pa.float32(), shape[1])})
    assert ds.to_table()["v"].to_pylist() == values.tolist()
    halves = pa.schema({"v": pa.list_(pa.float16(), shape[1])})
    assert lance_like.write_dataset({"v": values}, uri, schema=halves, mode="overwrite").schema == halves


@pytest.mark.parametrize("data", [{"a": [1], "b": ["x", 2]}, [{"a": 1, "b": "x"}, {"a": 2, "b": 2}]])
def test_the_column_whose_values_have_no_common_type_is_named(data, uri):
    with pytest.raises(InvalidInput, match="does not make a table: the column 'b': "):
        lance_like.write_dataset(data, uri)


def test_polars_frames_that_arrow_cannot_hold_are_refused(uri):
    pl = pytest.importorskip("polars")
    with pytest.raises(InvalidInput, match="does not make a table"):
        lance_like.write_dataset(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), uri)


@pytest.mark.parametrize("cells", [{"a": [1, "x"]}, {"a": [object()]}], ids=["mixed", "objects"])
def test_pandas_frames_that_fit_no_type_are_refused(cells, uri):
    pd = pytest.importorskip("pandas")
    with pytest.raises(InvalidInput, match="does not make a table"):
        lance_like.write_dataset(pd.DataFrame(cells), uri)


def test_pandas_series_are_refused(uri):
    pd = pytest.importorskip("pandas")
    with pytest.raises(InvalidInput, match=r"Series|iterable of int"):  # pandas 3 makes a stream of it
        lance_like.write_dataset(pd.Series([1, 2], name="a"), uri)


def test_polars_frames_keep_their_types(uri):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {"a": [1, None], "t": ["x", "né"], "l": [[1.5], []], "d": [dt.date(2020, 1, 1), None], "s": [{"q": 1}, None]}
    )
    ds = lance_like.write_dataset(frame, uri)
    assert pl.from_arrow(ds.to_table()).equals(frame)
    assert ds.schema.field("t").type == pa.large_string()


def test_unknown_kinds_of_data_are_refused_with_the_known_ones(uri):
    for data in ("text", 5, None, b"bytes", [1, 2], iter(["x"]), np.zeros((2, 2))):
        with pytest.raises(InvalidInput, match="cannot be written: expected a table"):
            lance_like.write_dataset(data, uri)


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1, 2], "b": [1]},
        {"a": [1, "x"]},
        {"a": np.zeros((2, 2, 2))},
        {"a": np.zeros((2, 0))},
        [{"a": 1}, {"a": "x"}],
        [{"a": 1}, 5],
        [{"a": 1}, "xy"],
        [{}, {}],
        [{1: 2}],
    ],
    ids=[
        "ragged",
        "mixed",
        "three dimensions",
        "no numbers",
        "mixed rows",
        "a number",
        "a text",
        "no columns",
        "a number as name",
    ],
)
def test_python_values_that_make_no_table_are_refused(data, uri):
    with pytest.raises(InvalidInput, match="does not make a table"):
        lance_like.write_dataset(data, uri)


def test_an_empty_iterable_needs_a_schema(uri):
    with pytest.raises(InvalidInput, match="pass schema="):
        lance_like.write_dataset([], uri)
    assert_same(lance_like.write_dataset([], uri, schema=SCHEMA).to_table(), SCHEMA.empty_table())


def test_a_key_that_only_later_rows_have_is_a_column_too(uri):
    ds = lance_like.write_dataset([{"a": 1}, {"b": 2}], uri)
    assert ds.to_table().to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_batches_of_another_schema_than_the_first_are_refused(uri):
    one, other = pa.record_batch({"a": [1], "b": [2]}), pa.record_batch({"b": [1], "a": [2]})
    for second in (other, other.select(["a"]), pa.record_batch({"a": [1], "b": ["x"]})):
        with pytest.raises(InvalidInput, match="the first one had"):
            lance_like.write_dataset(iter([one, second]), uri)
    with pytest.raises(InvalidInput, match="a batch is a int"):
        lance_like.write_dataset(iter([one, 5]), uri)


def test_a_generator_that_fails_leaves_nothing_that_can_be_opened(tmp_path):
    def batches():
        yield pa.record_batch({"a": [1]})
        raise KeyError("the source broke")

    with pytest.raises(KeyError, match="the source broke"):
        lance_like.write_dataset(batches(), tmp_path / "t")
    with pytest.raises(lance_like.errors.NotFound):
        lance_like.dataset(tmp_path / "t")
    assert not [path for path in (tmp_path / "t").rglob("*") if path.is_file()]


def test_a_generator_that_fails_leaves_the_version_that_was_there(tmp_path):
    def batches():
        yield pa.record_batch({"a": [1]})
        raise OSError("the source broke")

    ds = lance_like.write_dataset({"a": [7]}, tmp_path / "t")
    with pytest.raises(OSError, match="the source broke"):
        lance_like.write_dataset(batches(), tmp_path / "t", mode="overwrite")
    assert ds.latest_version == 1
    assert lance_like.dataset(tmp_path / "t").to_table().to_pydict() == {"a": [7]}


# With a schema


def test_a_schema_gives_types_order_and_nullability(uri):
    wanted = pa.schema([pa.field("b", pa.large_string()), pa.field("a", pa.int8(), nullable=False)])
    ds = lance_like.write_dataset(TABLE, uri, schema=wanted)
    assert_same(ds.to_table(), pa.table([["x", None, "z"], [1, 2, 3]], schema=wanted))


@pytest.mark.parametrize("kind", ["table", "generator of batches", "dict of lists", "list of dicts", "reader"])
def test_columns_that_the_data_lacks_are_null(kind, uri):
    wanted = pa.schema([*SCHEMA, pa.field("more", pa.list_(pa.int8()))])
    ds = lance_like.write_dataset(INPUTS[kind](), uri, schema=wanted)
    assert ds.schema == wanted
    assert ds.to_table()["more"].to_pylist() == [None] * 3


def test_a_pandas_frame_is_cast_to_a_schema(uri):
    pd = pytest.importorskip("pandas")
    wanted = pa.schema([("a", pa.int16()), ("b", pa.string()), ("c", pa.float32())])
    ds = lance_like.write_dataset(pd.DataFrame({"b": ["x"], "a": [1]}), uri, schema=wanted)
    assert ds.to_table().to_pylist() == [{"a": 1, "b": "x", "c": None}]
    assert ds.schema.equals(wanted)


def test_data_that_does_not_fit_the_schema_is_refused_with_the_column(uri):
    for data, wanted in (
        ({"a": ["x"]}, pa.int64()),
        ({"a": [300]}, pa.int8()),
        ({"a": [1.5]}, pa.int64()),
        ({"a": [[1]]}, pa.int64()),
    ):
        with pytest.raises(InvalidInput, match="'a'"):
            lance_like.write_dataset(pa.table(data), uri, schema=pa.schema([("a", wanted)]))


@pytest.mark.parametrize("kind", INPUTS)
def test_columns_that_the_schema_lacks_are_refused(kind, uri):
    with pytest.raises(InvalidInput, match="'b'"):
        lance_like.write_dataset(INPUTS[kind](), uri, schema=pa.schema([("a", pa.int64())]))


def test_a_schema_of_another_kind_is_refused(uri):
    with pytest.raises(InvalidInput, match=r"expected a pyarrow\.Schema"):
        lance_like.write_dataset(TABLE, uri, schema={"a": "int64"})


# Names


@pytest.mark.parametrize(
    "name", ["", "a.b", ".", "c d", "né 😀", 'q"q', "`q`", "x`y", "\n", "'", "Select", "%", "\\", "/"]
)
def test_any_name_can_be_written_read_taken_and_filtered(name, uri):
    ds = lance_like.write_dataset(pa.table([[1, 2], [3, 4]], names=[name, "other"]), uri)
    ds = ds.checkout_version(1)
    assert ds.to_table([name]).to_pydict() == {name: [1, 2]}
    assert ds.take([1], [name]).to_pydict() == {name: [2]}
    if name:
        quoted = '"' + name.replace('"', '""') + '"'
        assert ds.to_table(["other"], filter=f"{quoted} = 2").to_pydict() == {"other": [4]}


def test_names_that_differ_only_in_case_are_two_columns(uri):
    ds = lance_like.write_dataset(pa.table([[1], [2]], names=["a", "A"]), uri)
    assert ds.to_table(["A", "a"]).to_pydict() == {"A": [2], "a": [1]}


def test_names_inside_a_struct_may_hold_dots_and_be_empty(uri):
    ds = lance_like.write_dataset([{"s": {"a.b": 1, "": 2}}], uri)
    assert ds.to_table(["s.`a.b`"]).to_pydict() == {"s.`a.b`": [1]}
    assert ds.to_table(["s.``"]).to_pydict() == {"s.``": [2]}


@pytest.mark.parametrize("schema", [None, pa.schema([("a", pa.int64())])], ids=["as it is", "with a schema"])
def test_a_name_that_is_there_twice_is_refused(schema, uri):
    with pytest.raises(InvalidInput, match="two columns 'a'"):
        lance_like.write_dataset(pa.table([[1], [2]], names=["a", "a"]), uri, schema=schema)


def test_a_name_that_is_twice_in_a_struct_is_refused(uri):
    twice = pa.struct([("x", pa.int64()), ("x", pa.int64())])
    column = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], fields=list(twice))
    with pytest.raises(InvalidInput, match=r"s\.x"):
        lance_like.write_dataset(pa.table({"s": column}), uri)


@pytest.mark.parametrize("name", ["_rowid", "_rowaddr", "_rowoffset", "_distance", "_score"])
def test_reserved_names_are_refused_at_the_top_only(name, uri):
    with pytest.raises(InvalidInput, match=f"'{name}' is reserved"):
        lance_like.write_dataset({name: [1]}, uri)
    ds = lance_like.write_dataset([{"s": {name: 1}}], uri)
    assert ds.to_table().to_pylist() == [{"s": {name: 1}}]


# Emptiness and nulls


def test_a_table_without_rows_keeps_its_schema(uri):
    ds = lance_like.write_dataset(people(0), uri)
    assert_same(ds.to_table(), people(0))
    assert (ds.count_rows(), ds.head(3).num_rows, ds.take([]).num_rows, ds.get_fragments()) == (0, 0, 0, [])
    assert ds.to_table(filter="i > 3 or t is null").num_rows == 0


def test_a_table_without_columns_is_a_table(uri):
    ds = lance_like.write_dataset(pa.table({}), uri)
    assert (ds.schema, ds.count_rows(), ds.to_table().num_rows) == (pa.schema([]), 0, 0)
    ds.add_columns(pa.field("a", pa.int8()))
    ds.insert({"a": [1]})
    assert ds.to_table().to_pydict() == {"a": [1]}


def test_rows_without_any_column_are_refused(uri):
    with pytest.raises(InvalidInput, match="without any column"):
        lance_like.write_dataset(TABLE.select([]), uri)


def test_empty_structs_and_nulls_everywhere_come_back(uri):
    table = pa.table(
        {
            "e": pa.array([{}, None, {}], pa.struct([])),
            "n": pa.nulls(3),
            "l": pa.array([None, [], [None]], pa.list_(pa.string())),
            "s": pa.array(
                [None, {"l": None}, {"l": [{"q": None}]}], pa.struct([("l", pa.list_(pa.struct([("q", pa.int8())])))])
            ),
        }
    )
    assert_same(lance_like.write_dataset(table, uri).to_table(), table)


NOT_NULL = {
    "top": (pa.field("a", pa.int64(), False), [1, None], "'a'"),
    "struct": (pa.field("a", pa.struct([pa.field("x", pa.int8(), False)])), [{"x": 1}, {"x": None}], r"a\.x"),
    "list": (pa.field("a", pa.list_(pa.field("item", pa.int8(), False))), [[1], [None]], r"a\[\]"),
    "fixed list": (pa.field("a", pa.list_(pa.field("item", pa.int8(), False), 1)), [[1], [None]], r"a\[\]"),
    "list of struct": (
        pa.field("a", pa.list_(pa.struct([pa.field("x", pa.int8(), False)]))),
        [[{"x": 1}], [{"x": None}]],
        r"a\[\]\.x",
    ),
}


@pytest.mark.parametrize("kind", NOT_NULL)
def test_a_null_where_none_may_be_is_refused_and_nothing_is_written(kind, uri):
    field, values, place = NOT_NULL[kind]
    table = pa.table([pa.array(values, field.type)], schema=pa.schema([field]))
    with pytest.raises(InvalidInput, match=f"{place}.*may not be null"):
        lance_like.write_dataset(table, uri)
    with pytest.raises(lance_like.errors.NotFound):
        lance_like.dataset(uri)


def test_nulls_under_a_null_parent_are_no_violation(uri):
    schema = pa.schema([pa.field("s", pa.struct([pa.field("x", pa.int8(), False)])), pa.field("i", pa.int8(), False)])
    table = pa.table([pa.array([{"x": 1}, None], schema.field("s").type), pa.array([1, 2], pa.int8())], schema=schema)
    ds = lance_like.write_dataset(table, uri)
    assert_same(ds.to_table(), table)
    assert ds.take([1, 0]).to_pylist() == table.to_pylist()[::-1]


def test_types_that_cannot_be_stored_are_named_and_nothing_is_written(tmp_path):
    kind = pa.dense_union([pa.field("x", pa.int8())], [-1])
    with pytest.raises(Unsupported, match="dense_union"):
        lance_like.write_dataset(pa.table({"a": pa.chunked_array([], kind)}), tmp_path / "t")
    assert not (tmp_path / "t" / "data").exists()


def test_schema_and_field_metadata_come_back(uri):
    field = pa.field("a", pa.int8(), metadata={"unit": "kg", b"\xff": b"\x00"})
    table = pa.table([[1, 2]], schema=pa.schema([field], metadata={"whole": "yes"}))
    assert_same(lance_like.write_dataset(table, uri).to_table(), table)


# Places


def test_a_path_object_and_a_file_uri_are_places(tmp_path: Path):
    lance_like.write_dataset(TABLE, tmp_path / "né dir" / "t")
    assert_same(lance_like.dataset((tmp_path / "né dir" / "t").as_uri()).to_table(), TABLE)


@pytest.mark.parametrize(
    ("place", "kind"), [("", InvalidInput), ("foo://bucket/t", Unsupported), ("file://host/t", InvalidInput)]
)
def test_places_that_cannot_be_are_refused(place, kind):
    with pytest.raises(kind):
        lance_like.write_dataset(TABLE, place)
    with pytest.raises(kind):
        lance_like.dataset(place)


def test_decimals_become_the_half_floats_that_are_nearest():
    # Halfway between two of them, but for a little that a single float has no bits for.
    near = [Decimal("2049.00001"), Decimal("2048.99999"), Decimal("2049"), Decimal("2051")]
    ds = lance_like.write_dataset(pa.table({"h": pa.array([], pa.float16())}), "memory://")
    ds.insert(pa.table({"h": pa.array(near, pa.decimal128(20, 5))}))
    assert ds.to_table()["h"].to_pylist() == [2050, 2048, 2048, 2052]


def test_decimals_become_half_floats_alone_in_lists_and_in_structs():
    kinds = {"h": pa.float16(), "v": pa.list_(pa.float16(), 2), "s": pa.struct([("a", pa.float16())])}
    ds = lance_like.write_dataset(
        pa.table({"h": [1.0], "v": [[1.0, 2.0]], "s": [{"a": 1.0}]}, pa.schema(kinds)), "memory://"
    )
    ds.update({"h": "2.5", "v": "[1.25, 3.5]", "s": "{'a': 0.5}"})
    assert ds.to_table().to_pylist() == [{"h": 2.5, "v": [1.25, 3.5], "s": {"a": 0.5}}]
    assert ds.schema.types == list(kinds.values())


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["a", None], [], None, ["é"]], pa.list_view(pa.string_view())),
        pa.array([[dt.date(2020, 1, 2)], [], None, []], pa.large_list_view(pa.date32())),
        pa.array([[[1], None], [], None, [[]]], pa.list_(pa.list_view(pa.int8()))),
        pa.array([{"a": [0.5]}, {"a": None}, None, {"a": []}], pa.struct([("a", pa.list_view(pa.float32()))])),
        pa.RunEndEncodedArray.from_arrays(pa.array([2, 4], pa.int32()), pa.array(["a", None])),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0], pa.int8()), pa.array([0.5, 2.0])),
    ],
    ids=lambda values: str(values.type),
)
def test_types_that_arrow_does_not_cast_to_are_updated_and_filled_with_nulls(values):
    ds = lance_like.write_dataset(pa.table({"id": range(4), "v": values}), "memory://")
    before = ds.to_table()["v"].to_pylist()
    ds.update({"v": "v"}, where="id < 3")
    after = ds.to_table()
    assert [after["v"].to_pylist()[after["id"].to_pylist().index(row)] for row in range(4)] == before
    ds.update({"v": "NULL"})
    ds.insert(pa.table({"id": [4], "v": pa.nulls(1)}))
    assert ds.to_table()["v"].to_pylist() == [None] * 5
    assert ds.schema.field("v").type == values.type


def test_a_float_that_does_not_fit_the_items_of_a_view_is_refused():
    ds = lance_like.write_dataset(pa.table({"v": pa.array([[1.0]], pa.list_view(pa.float32()))}), "memory://")
    with pytest.raises(InvalidInput):
        ds.insert(pa.table({"v": pa.array([[1e300]], pa.list_view(pa.float64()))}))
    ds.insert(pa.table({"v": pa.array([[2.5]], pa.list_view(pa.float64()))}))
    assert ds.to_table()["v"].to_pylist() == [[1.0], [2.5]]


def test_nested_pydantic_models_are_structs() -> None:
    pydantic = pytest.importorskip("pydantic")
    inner = pydantic.create_model("Inner", x=(int, ...))
    outer = pydantic.create_model("Outer", s=(inner, ...), many=(list[inner], ...))
    ds = lance_like.write_dataset([outer(s=inner(x=1), many=[inner(x=2)])], "memory://")
    assert ds.to_table().to_pylist() == [{"s": {"x": 1}, "many": [{"x": 2}]}]
    with pytest.raises(InvalidInput, match="a row is of type int"):
        lance_like.write_dataset([{"a": 1}, 2], "memory://")


@pytest.mark.parametrize("form", [lambda values: [{"h": one} for one in values], lambda values: {"h": values}])
def test_integers_of_64_bits_without_a_sign_are_written(form):
    ds = lance_like.write_dataset(form([2**64 - 1, 0, None]), "memory://")
    ds.insert(form([2**63]))
    ds.insert(form([5]))
    assert ds.to_table() == pa.table({"h": pa.array([2**64 - 1, 0, None, 2**63, 5], pa.uint64())})
    for wrong in ([2**64], [2**63, -1]):
        with pytest.raises(InvalidInput, match="'h'"):
            ds.insert(form(wrong))


def wrong_text() -> pa.Array:
    """Three cells, one null, the last of which is no UTF-8."""
    offsets = np.array([0, 1, 1, 3], np.int32)
    valid = pa.array([True, False, True]).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 3, [valid, pa.py_buffer(offsets), pa.py_buffer(b"a\xff\xfe")])


@pytest.mark.parametrize(
    "make",
    [
        lambda text: text,
        lambda text: pa.StructArray.from_arrays([text], ["x"]),
        lambda text: pa.ListArray.from_arrays(pa.array([0, 3], pa.int32()), text),
        lambda text: pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), text.slice(2), pa.array([1])),
    ],
    ids=["text", "struct", "list", "keys"],
)
def test_text_that_is_not_utf8_is_refused_when_it_is_written(make, uri):
    ds = lance_like.write_dataset(pa.table({"t": make(pa.array(["a", None, "b"]))}), uri)
    cells = make(wrong_text())
    with pytest.raises(InvalidInput, match="UTF8"):
        ds.insert(pa.table({"t": cells}))
    with pytest.raises(InvalidInput, match="UTF8"):
        ds.add_columns(pa.table({"new": pa.concat_arrays([cells] * (len(ds) // len(cells)))}).to_reader())
    assert ds.version == 1
    # Where it is not read it is nothing.
    ds.insert(pa.table({"t": cells.slice(0, 0)}))


def test_cells_that_end_before_they_begin_are_refused(uri):
    for kind in (pa.binary(), pa.string()):
        offsets = pa.py_buffer(np.array([0, 5, 2], np.int32))
        cells = pa.Array.from_buffers(kind, 2, [None, offsets, pa.py_buffer(b"abcde")])
        with pytest.raises(InvalidInput, match="offset"):
            lance_like.write_dataset(pa.table({"t": cells}), uri)


def test_codes_without_a_value_are_refused_when_they_are_written(uri):
    for codes in ([0, 7], [0, -1]):
        cells = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(["a"]), safe=False)
        with pytest.raises(InvalidInput, match="codes of values that its dictionary of 1 has not"):
            lance_like.write_dataset(pa.table({"t": cells}), uri)
